"""A directory that looks like /sys/class/hwmon."""

from pathlib import Path


class Meter:
    """A power meter: what it is of, watts, and over how many milliseconds; None where it does not say that."""

    def __init__(self, root: Path, name: str, said: str, watts: float, interval_ms: int | None = 1000) -> None:
        self.path = root / name
        self.path.mkdir(parents=True)
        (self.path / "power1_oem_info").write_text(f"{said}\n")
        if interval_ms is not None:
            (self.path / "power1_average_interval").write_text(f"{interval_ms}\n")
        self.show(watts)

    def show(self, watts: float) -> None:
        """Let it say so much from now on."""
        self.say(str(round(watts * 1e6)))

    def say(self, text: str) -> None:
        """Let it say this."""
        (self.path / "power1_average").write_text(f"{text}\n")
