"""A directory that looks like /sys/class/powercap."""

from pathlib import Path

RANGE_UJ = 262_143_328_850


class Zone:
    """One counter, in microjoules."""

    def __init__(self, root: Path, path: str, name: str, energy_uj: int = 5_000_000, range_uj: int = RANGE_UJ) -> None:
        self.path = root / path
        self.path.mkdir()
        (self.path / "name").write_text(f"{name}\n")
        (self.path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        self.energy_uj = energy_uj
        self.range_uj = range_uj
        self.use(0)

    def limit(self, watts: float, constraint: int = 0) -> None:
        """Set the power limit of a constraint."""
        (self.path / f"constraint_{constraint}_power_limit_uw").write_text(f"{round(watts * 1e6)}\n")

    def say(self, text: str) -> None:
        """Let the counter's file say this."""
        (self.path / "energy_uj").write_text(f"{text}\n")

    def use(self, joules: float) -> None:
        self.energy_uj = (self.energy_uj + round(joules * 1e6)) % self.range_uj
        (self.path / "energy_uj").write_text(f"{self.energy_uj}\n")
