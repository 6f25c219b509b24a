"""CPU energy from the RAPL counters that Linux shows under /sys/class/powercap."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llenergymeasure.core.energy_backends.base import (
    SensorBase,
    no_energy,
)
from llenergymeasure.domain.metrics import (
    SCOPE_OF_KIND,
    DeviceEnergy,
    DeviceKind,
    EnergyMeasurement,
    combined_uncertainty_j,
    headline_energy_j,
)

_ROOT = Path("/sys/class/powercap")
# RAPL counters are refreshed about once a millisecond (Intel SDM vol. 3B, 16.10).
_UPDATE_PERIOD_S = 0.001
# The smallest common range, 262 kJ, lasts four minutes at 1 kW: this finds every wrap.
_WRAP_CHECK_S = 20.0
# Two counters read one after the other are one counter when they differ by less than this: a joule, what
# a socket takes in some milliseconds, of a range of 262 kJ.
_SAME_COUNTER_UJ = 1_000_000


@dataclass(frozen=True)
class _Zone:
    path: Path
    label: str
    kind: DeviceKind
    range_uj: int

    def read_uj(self) -> int:
        return int((self.path / "energy_uj").read_text())


class _Accumulator(threading.Thread):
    """Adds up counter differences often enough that no wrap is missed."""

    def __init__(self, zones: Sequence[_Zone]) -> None:
        super().__init__(name="rapl", daemon=True)
        self.zones = zones
        self.total_uj = dict.fromkeys(zones, 0)
        self.error: str | None = None
        self.reads = 0
        self._last = {zone: zone.read_uj() for zone in zones}
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.wait(_WRAP_CHECK_S):
            self.update()

    def update(self) -> None:
        try:
            for zone in self.zones:
                now = zone.read_uj()
                difference = now - self._last[zone]
                self.total_uj[zone] += difference if difference >= 0 else difference + zone.range_uj
                self._last[zone] = now
        except (OSError, ValueError) as error:
            self.error = str(error)
        self.reads += 1

    def stop(self) -> None:
        self._stopping.set()

    def finish(self) -> None:
        self.stop()
        self.join()
        self.update()


@dataclass(frozen=True)
class _Window:
    start_s: float
    counters: _Accumulator | None
    error: str | None = None
    end_s: float | None = None


class RAPLBackend(SensorBase):
    """Reads CPU packages and their memory; ``psys``, which contains both, is left out."""

    name = "rapl"
    scope = "package"
    remedy = "make the counters readable with 'sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj'"

    def __init__(
        self,
        root: Path = _ROOT,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the zones under ``root``."""
        self._root = root
        self._clock = clock

    def problem(self) -> str | None:
        """Why no package can be read; None when all were."""
        zones = self._zones()
        if not any(zone.kind == "cpu" for zone in zones):
            return f"there are no CPU package counters under {self._root}"
        try:
            for zone in zones:
                zone.read_uj()
        except PermissionError:
            return f"{zone.path / 'energy_uj'} may not be read by this user; {self.remedy}"
        except (OSError, ValueError) as error:
            return f"{zone.path / 'energy_uj'} cannot be read ({error})"
        return None

    def start_tracking(self) -> _Window:
        """Read all zones and begin to watch for wraps."""
        try:
            counters = _Accumulator(self._zones())
        except (OSError, ValueError) as error:
            return _Window(self._clock(), None, str(error))
        counters.start()
        return _Window(self._clock(), counters)

    def begin_now(self, tracker: _Window) -> _Window:
        """The same zones, read anew."""
        if tracker.counters is None:
            return tracker
        tracker.counters.stop()
        try:
            counters = _Accumulator(tracker.counters.zones)
        except (OSError, ValueError) as error:
            return _Window(self._clock(), None, str(error))
        start_s = self._clock()
        counters.start()
        return _Window(start_s, counters)

    def end_now(self, tracker: _Window) -> _Window:
        """The same window, with its last reading."""
        if tracker.counters is not None:
            tracker.counters.finish()
        return replace(tracker, end_s=self._clock())

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """Read all zones again; packages make the total. A counter that stood still is not believed."""
        tracker = tracker if tracker.end_s is not None else self.end_now(tracker)
        duration = (tracker.end_s or tracker.start_s) - tracker.start_s
        if tracker.counters is None:
            return no_energy(f"RAPL could not be read: {tracker.error}", duration)
        if tracker.counters.error is not None:
            return no_energy(f"RAPL was lost: {tracker.counters.error}", duration)
        rows = tuple(
            DeviceEnergy(
                device=zone.label,
                kind=zone.kind,
                energy_j=microjoules / 1e6 if microjoules > 0 else None,
                source="counter",
                uncertainty_j=_edges_j(microjoules, duration),
                update_period_s=_UPDATE_PERIOD_S,
                field=str(zone.path / "energy_uj"),
                sensor=self.name,
                scope=SCOPE_OF_KIND[zone.kind],
            )
            for zone, microjoules in tracker.counters.total_uj.items()
        )
        total = headline_energy_j(rows)
        if total is None:
            return no_energy("a RAPL package counter is missing or stood still", duration, 0, rows)
        return EnergyMeasurement(
            total, duration, tracker.counters.reads, devices=rows, uncertainty_j=combined_uncertainty_j(rows)
        )

    def _zones(self) -> list[_Zone]:
        found: list[_Zone] = []
        # The MMIO interface shows the same packages a second time; readable zones and the MSR ones go first.
        for path in sorted(self._root.glob("intel-rapl*:*"), key=lambda p: (not _readable(p), "mmio" in p.name, p)):
            zone = _zone(path)
            if zone is not None and zone.label not in {z.label for z in found} and not _mirrors_one_of(zone, found):
                found.append(zone)
        return found


def _edges_j(microjoules: int, duration_s: float) -> float | None:
    """What two reads that are each up to one refresh old leave open, at mean power."""
    if microjoules <= 0 or duration_s <= 0:
        return None
    return 2 * _UPDATE_PERIOD_S * microjoules / 1e6 / duration_s


def _zone(path: Path) -> _Zone | None:
    """The package or memory at this path; None for what is neither, such as psys, cores and graphics."""
    try:
        name = (path / "name").read_text().strip()
        range_uj = int((path / "max_energy_range_uj").read_text())
    except (OSError, ValueError):
        return None
    if name.startswith("package"):
        return _Zone(path, name, "cpu", range_uj)
    if name == "dram":
        return _Zone(path, f"dram-{path.name.split(':')[1]}", "dram", range_uj)
    return None


def _readable(path: Path) -> bool:
    try:
        int((path / "energy_uj").read_text())
    except (OSError, ValueError):
        return False
    return True


def _mirrors_one_of(zone: _Zone, found: Sequence[_Zone]) -> bool:
    """Whether a die shows the counter of another die of its socket, which would count it twice.

    Seen on multi-die parts (CodeCarbon issue 1274): one counter behind ``package-0-die-0`` and ``-die-1``.
    """
    socket = zone.label.split("-die-")[0]
    siblings = [z for z in found if "-die-" in zone.label and z.label.split("-die-")[0] == socket]
    try:
        value = zone.read_uj()
        return any(value > 0 and abs(value - z.read_uj()) <= _SAME_COUNTER_UJ for z in siblings)
    except (OSError, ValueError):
        return False
