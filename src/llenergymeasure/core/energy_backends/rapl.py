"""CPU energy from the RAPL counters that Linux shows under /sys/class/powercap."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.core.energy_backends.powercap import ROOT, Zone, zones
from llenergymeasure.core.energy_backends.powercap_course import UPDATE_PERIOD_S, Course
from llenergymeasure.core.energy_backends.watching import Watch, WatchedWindow, between_reads, energy_of_told_rows
from llenergymeasure.domain.metrics import SCOPE_OF_KIND, DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.warnings import MeasurementWarning

_Window = WatchedWindow[Course]

_MAKE_READABLE = "sudo chmod a+r /sys/class/powercap/intel-rapl*/energy_uj"
_READABLE = f"make the counters readable with '{_MAKE_READABLE}'"
_NOT_THERE = (
    "load the driver with 'sudo modprobe intel_rapl_msr'; processors other than Intel's and AMD's have none, nor have "
    "most virtual machines"
)
_BROKEN = "see what the kernel's log (dmesg) says of intel_rapl"
# A counter is looked at four times in the shortest time in which it can go round, and at least so often
# that one which stands still or jumps is seen to.
_LOOKS_A_ROUND, _LOOK_EVERY_S = 4, 2.0


class RAPLBackend(SensorBase):
    """Reads CPU packages and their memory; ``psys``, which contains both, is left out.

    A counter that goes further than its package can take it, back and not round, or not at all for a second, has no
    figure. A package without one costs the total and not the others' rows; memory without one costs only its own. A
    counter that two sockets show is counted once.
    """

    name = "rapl"
    scope = "package"
    remedy = _READABLE

    def __init__(
        self,
        root: Path = ROOT,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the zones under ``root``."""
        self._root = root
        self._clock = clock

    def problem(self) -> str | None:
        """Why not every package can be read; None when all were."""
        packages = [zone for zone in zones(self._root) if zone.kind == "cpu"]
        if not packages:
            self.remedy = _NOT_THERE
            return self._nothing_here
        for zone in packages:
            try:
                zone.read_uj()
            except PermissionError:
                self.remedy, self.command = _READABLE, _MAKE_READABLE
                return f"{zone.counter} may not be read by this user; {self.remedy}"
            except (OSError, ValueError) as error:
                self.remedy = _BROKEN
                return f"{zone.counter} cannot be read ({error})"
        return None

    def start_tracking(self) -> _Window:
        """Read all zones and begin to watch for wraps."""
        return self._begun(zones(self._root))

    def begin_now(self, tracker: _Window) -> _Window:
        """The same counters, read anew."""
        tracker.watch.stop()
        return self._begun([course.zone for course in tracker.watch.courses])

    def end_now(self, tracker: _Window) -> _Window:
        """The same window, with its last reading."""
        tracker.watch.finish()
        return replace(tracker, end_s=self._clock())

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """Read all zones again; packages make the total. A counter that stood still is not believed."""
        tracker = tracker if tracker.end_s is not None else self.end_now(tracker)
        courses, mirrors = _distinct(tracker.watch.courses)
        end_s = tracker.start_s if tracker.end_s is None else tracker.end_s
        measured = energy_of_told_rows(
            [(_row(course), _problem(course)) for course in courses],
            end_s - tracker.start_s,
            tracker.watch.n_looks,
            without_rows=self._nothing_here,
            warnings=[_mirrored(*pair) for pair in mirrors],
        )
        return replace(measured, trace=tuple(course.trace(self.name, tracker.start_s, end_s) for course in courses))

    def power_now(self) -> Callable[[], Mapping[str, float]]:
        """The mean power of each package since it was read last."""
        packages = [zone for zone in zones(self._root) if zone.kind == "cpu"]
        return between_reads(lambda: _joules(packages), self._clock)

    def _begun(self, found: Sequence[Zone]) -> _Window:
        """A window that begins when every counter has been read; no round of one is missed in it."""
        rounds_s = [zone.range_uj / 1e6 / zone.ceiling_w for zone in found if zone.range_uj is not None]
        every_s = min([_LOOK_EVERY_S, *(seconds / _LOOKS_A_ROUND for seconds in rounds_s)])
        watch = Watch(self.name, [Course(zone, self._clock) for zone in found], every_s)
        watch.start()
        return _Window(self._clock(), watch)

    @property
    def _nothing_here(self) -> str:
        return f"there are no CPU package counters under {self._root}"


def _joules(packages: Sequence[Zone]) -> dict[str, float]:
    """What counters say now, without those that cannot be read."""
    found = {}
    for zone in packages:
        with contextlib.suppress(OSError, ValueError):
            found[zone.label] = zone.read_uj() / 1e6
    return found


def _distinct(courses: Sequence[Course]) -> tuple[list[Course], list[tuple[Course, Course]]]:
    """The courses without those that show the counter of another one, to count it once.

    Returns:
        Those that are left, and those left out that another socket's counter is behind, each with that one.
    """
    kept: list[Course] = []
    of_other_sockets: list[tuple[Course, Course]] = []
    for course in courses:
        same = [other for other in kept if other.zone.kind == course.zone.kind and course.is_that_of(other)]
        if not same:
            kept.append(course)
        elif all(other.zone.socket != course.zone.socket for other in same):
            of_other_sockets.append((course, same[0]))
    return kept, of_other_sockets


def _row(course: Course) -> DeviceEnergy:
    zone, (microjoules, _) = course.zone, course.rise_uj()
    return DeviceEnergy(
        device=zone.label,
        kind=zone.kind,
        energy_j=microjoules / 1e6 if microjoules else None,
        source="counter",
        uncertainty_j=_bound_j(course, microjoules),
        update_period_s=UPDATE_PERIOD_S,
        field=str(zone.counter),
        sensor=RAPLBackend.name,
        scope=SCOPE_OF_KIND[zone.kind],
    )


def _problem(course: Course) -> str:
    """Why a counter has no figure; empty where it has one."""
    microjoules, why = course.rise_uj()
    if microjoules == 0:
        why = "its counter stood still"
    return f"{course.zone.label} ({course.zone.counter}): {why}" if why else ""


def _mirrored(course: Course, other: Course) -> MeasurementWarning:
    zone = course.zone
    text = f"{zone.label} ({zone.counter}) shows the counter of {other.zone.label}, which is counted once"
    return MeasurementWarning("not_in_the_total", text, device=zone.label)


def _bound_j(course: Course, microjoules: int | None) -> float | None:
    """What two reads that are each up to one refresh old leave open, at mean power, and what is doubted between."""
    if not microjoules or not course.span_s:
        return None
    return (2 * UPDATE_PERIOD_S * microjoules / course.span_s + course.doubted_uj()) / 1e6
