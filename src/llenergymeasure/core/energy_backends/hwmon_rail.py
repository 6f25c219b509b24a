"""Power meters of Grace sockets and modules under /sys/class/hwmon, and what a course of their readings comes to."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from llenergymeasure.domain.telemetry import integrate_power_j, integration_uncertainty_j
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings

# As firmware names a meter in ``power1_oem_info``. A Grace rail is that of cores and SysIO together, a module's that of
# Grace and the GPU beside it.
_RAIL = re.compile(r"(Module|Grace|CPU|SysIO) Power Socket (\d+)", re.IGNORECASE)
# What no module takes: the largest, with two GPUs, are specified at 2700 W.
_MOST_W = 5000.0
# Where the meter does not say over what it averages: as often as power of GPUs is read.
_UNKNOWN_INTERVAL_S = 0.1
# Meters are read no more often than they can be without a share in the figure.
_LEAST_INTERVAL_S = 0.02
# ACPI meters count in milliwatts (ACPI 6.5, 10.4.1).
_RESOLUTION_W = 0.001
# So many equal readings in a row, over so long, are rather of a meter that does not move than of a steady socket.
_STUCK_READINGS, _STUCK_S = 20, 10.0


@dataclass(frozen=True)
class Rail:
    """A meter: of a socket (``Grace``, or ``CPU`` where there is none) or of a ``Module``.

    ``interval_s`` is what a reading is the average of, None where the meter does not say.
    """

    average: Path
    said: str
    what: str
    socket: int
    interval_s: float | None

    @property
    def is_module(self) -> bool:
        """Whether the GPU is in it."""
        return self.what == "module"

    @property
    def device(self) -> str:
        """Its name among the devices."""
        return f"{self.what}-{self.socket}"

    @property
    def every_s(self) -> float:
        """How often it is read: so that one average begins where the last one ended."""
        return max(self.interval_s or _UNKNOWN_INTERVAL_S, _LEAST_INTERVAL_S)

    def read_w(self) -> float:
        """Mean power over the interval before now, in watts.

        Raises:
            OSError: it cannot be read.
            ValueError: it says no number, or one that nothing can take.
        """
        watts = int(self.average.read_text()) / 1e6
        if not 0 < watts <= _MOST_W:
            raise RefusedReadingError(f"it says {watts:g} W")
        return watts


class RefusedReadingError(ValueError):
    """The meter answered, with a power that cannot be."""


class RailCourse:
    """Readings of one rail, each at the middle of what it is the average of."""

    def __init__(self, rail: Rail, clock: Callable[[], float]) -> None:
        """Nothing is read yet."""
        self.rail = rail
        self._clock = clock
        self._time_s: list[float] = []
        self._power_w: list[float | None] = []
        self._error = ""
        self._answers = False

    def __len__(self) -> int:
        """Readings that there are."""
        return len(self._time_s)

    @property
    def problem(self) -> str:
        """Why there is no energy."""
        return f"it was not read often enough{self._error}"

    def look(self) -> None:
        """Take a reading; what cannot be is none."""
        try:
            watts: float | None = self.rail.read_w()
        except (OSError, ValueError) as error:
            watts, self._error = None, f": {error}"
            self._answers = isinstance(error, RefusedReadingError)
        else:
            self._answers = True
        now = self._clock() - (self.rail.interval_s or 0.0) / 2
        if not self._time_s or now > self._time_s[-1]:
            self._time_s.append(now)
            self._power_w.append(watts)

    def trace(self, sensor: str, start_s: float, end_s: float) -> DeviceTrace:
        """Every reading, for a window between two moments."""
        reads = tuple(Reading(*read) for read in zip(self._time_s, self._power_w, strict=True))
        return DeviceTrace(
            device=self.rail.device,
            sensor=sensor,
            start_s=start_s,
            end_s=end_s,
            # Readings are stamped with the middle of what they are the mean of.
            facts={"power_averaged_s": self.rail.interval_s or 0.0, "power_polled_s": self.rail.every_s},
            readings=(Readings(kind="power", reads=reads),),
        )

    def energy_j(self, start_s: float, end_s: float) -> float | None:
        """Power between two times, held from the first and last readings to them; None where a gap is too long."""
        # One that did not answer when the window ended was lost, for whatever time before.
        if not self._answers:
            return None
        # An edge lies up to half an average from the middle of the reading next to it.
        period_s = self.rail.every_s
        return integrate_power_j(self._time_s, self._power_w, start_s=start_s, end_s=end_s, period_s=period_s)

    def bound_j(self, start_s: float, end_s: float) -> float | None:
        """What steps between readings leave open, and what an edge reading is of on the other side of the edge.

        To it come the meter's resolution, what was taken while readings were refused, at the higher power beside them,
        and of a meter that may be stuck an interval's energy at either edge.
        """
        lag_s = self.rail.every_s + (self.rail.interval_s or self.rail.every_s) / 2
        steps_j = integration_uncertainty_j(self._time_s, self._power_w, start_s=start_s, end_s=end_s, lag_s=lag_s)
        if steps_j is None:
            return None
        stuck_j = 2 * self.rail.every_s * (self.stuck_w(start_s, end_s) or 0.0)
        return steps_j + _RESOLUTION_W * (end_s - start_s) + self._refused_j(start_s, end_s) + stuck_j

    def stuck_w(self, start_s: float, end_s: float) -> float | None:
        """The highest power in watts at which the meter may have stuck between two times; None where it has not."""
        half_s = self.rail.every_s / 2
        usable = [
            (time_s, watts)
            for time_s, watts in zip(self._time_s, self._power_w, strict=True)
            if watts is not None and start_s - half_s <= time_s <= end_s + half_s
        ]
        stuck_w: float | None = None
        for watts, equal in groupby(usable, key=lambda reading: reading[1]):
            times_s = [time_s for time_s, _ in equal]
            # Each reading is of an interval around it.
            long = times_s[-1] - times_s[0] + self.rail.every_s >= _STUCK_S * (1 - 1e-6)
            if long and len(times_s) >= _STUCK_READINGS:
                stuck_w = max(stuck_w or 0.0, watts)
        return stuck_w

    def _refused_j(self, start_s: float, end_s: float) -> float:
        """Joules between two times that no reading covers because some were refused, at the higher power beside."""
        usable = [place for place, watts in enumerate(self._power_w) if watts is not None]
        covered_s = (self.rail.interval_s or 0.0) / 2
        joules = 0.0
        for before, after in pairwise([None, *usable, None]):
            first = 0 if before is None else before + 1
            last = len(self._power_w) if after is None else after
            if first == last:
                continue
            since_s = start_s if before is None else max(start_s, self._time_s[before] + covered_s)
            until_s = end_s if after is None else min(end_s, self._time_s[after] - covered_s)
            beside_w = max(self._power_w[place] or 0.0 for place in (before, after) if place is not None)
            joules += beside_w * max(until_s - since_s, 0.0)
        return joules


def rails(root: Path) -> list[Rail]:
    """The meters of each socket and module under ``root``: of a socket one, for its rails are parts of each other."""
    found: dict[tuple[str, int], Rail] = {}
    for path in sorted(root.glob("hwmon*/power*_oem_info")) + sorted(root.glob("hwmon*/device/power*_oem_info")):
        rail = _rail(path)
        if rail is not None:
            found.setdefault((rail.what, rail.socket), rail)
    of_sockets = {socket: found.get(("grace", socket)) or found.get(("cpu", socket)) for _, socket in found}
    modules = [rail for (what, _), rail in found.items() if what == "module"]
    chosen = [*(rail for rail in of_sockets.values() if rail is not None), *modules]
    return sorted(chosen, key=lambda rail: (rail.is_module, rail.socket))


def _rail(info: Path) -> Rail | None:
    """The meter whose name is in this file; None for another one's."""
    try:
        said = info.read_text().strip()
    except (OSError, ValueError):
        return None
    named = _RAIL.fullmatch(said)
    average = info.with_name(info.name.replace("_oem_info", "_average"))
    if named is None or not average.exists():
        return None
    try:
        interval_ms = int(info.with_name(info.name.replace("_oem_info", "_average_interval")).read_text())
    except (OSError, ValueError):
        interval_ms = 0
    interval_s = interval_ms / 1000 if interval_ms > 0 else None
    return Rail(average, said, named[1].lower(), int(named[2]), interval_s)
