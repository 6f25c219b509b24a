"""CPU energy of NVIDIA Grace from power meters under /sys/class/hwmon; not yet run on hardware."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llenergymeasure.core.energy_backends.base import SensorBase, no_energy
from llenergymeasure.core.energy_backends.hwmon_rail import Rail, RailCourse, rails
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyMeasurement,
    combined_uncertainty_j,
    headline_energy_j,
)
from llenergymeasure.domain.warnings import MeasurementWarning

_NOT_THERE = "Grace CPUs need the driver of 'sudo modprobe acpi_power_meter'; other processors have no such meter"
_ROOT = Path("/sys/class/hwmon")


class _Watch(threading.Thread):
    """Reads every rail once in an averaging interval, so that the averages lie side by side."""

    def __init__(self, found: Sequence[Rail], clock: Callable[[], float]) -> None:
        super().__init__(name="hwmon", daemon=True)
        self.courses = [RailCourse(rail, clock) for rail in found]
        self._every_s = min((rail.every_s for rail in found), default=1.0)
        self._stopping = threading.Event()
        self.read()

    def run(self) -> None:
        while not self._stopping.wait(self._every_s):
            self.read()

    def read(self) -> None:
        for course in self.courses:
            course.read()

    def finish(self) -> None:
        self._stopping.set()
        self.join()
        self.read()


@dataclass(frozen=True)
class _Window:
    start_s: float
    watch: _Watch
    end_s: float | None = None


class HwmonBackend(SensorBase):
    """Integrates the power of each Grace socket, cores and SysIO; that of its module is listed and never added.

    A module holds the GPU, so its joules are no part of a total beside either.
    """

    name = "hwmon"
    scope = "package"
    remedy = _NOT_THERE

    def __init__(self, root: Path = _ROOT, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the meters under ``root``."""
        self._root = root
        self._clock = clock

    def problem(self) -> str | None:
        """Why no socket can be read; None when every one was."""
        sockets = [rail for rail in rails(self._root) if not rail.is_module]
        if not sockets:
            self.remedy = _NOT_THERE
            return self._nothing_here
        for rail in sockets:
            try:
                rail.read_w()
            except PermissionError:
                self.remedy = f"make it readable with 'sudo chmod a+r {rail.average}'"
                return f"{rail.average} may not be read by this user"
            except (OSError, ValueError) as error:
                self.remedy = "see what the kernel's log (dmesg) says of acpi_power_meter"
                return f"{rail.average} cannot be read ({error})"
        return None

    def start_tracking(self) -> _Window:
        """Read all rails and go on reading them."""
        watch = _Watch(rails(self._root), self._clock)
        watch.start()
        return _Window(self._clock(), watch)

    def begin_now(self, tracker: _Window) -> _Window:
        """The same window, beginning now: power at its start is between two readings."""
        return replace(tracker, start_s=self._clock())

    def end_now(self, tracker: _Window) -> _Window:
        """The same window, with its last reading."""
        end_s = self._clock()
        tracker.watch.finish()
        return replace(tracker, end_s=end_s)

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """Power over time, with the edges held to the window's; a rail that was not read often enough has no figure."""
        tracker = tracker if tracker.end_s is not None else self.end_now(tracker)
        end_s = tracker.start_s if tracker.end_s is None else tracker.end_s
        rows = tuple(_row(course, tracker.start_s, end_s) for course in tracker.watch.courses)
        lost = [
            f"{row.device}: {course.problem}"
            for row, course in zip(rows, tracker.watch.courses, strict=True)
            if row.energy_j is None and not course.rail.is_module
        ]
        duration, samples = end_s - tracker.start_s, sum(len(course) for course in tracker.watch.courses)
        total = headline_energy_j(rows)
        beside = tuple(
            MeasurementWarning("not_in_the_total", f"{row.device}: {course.problem}", device=row.device)
            for row, course in zip(rows, tracker.watch.courses, strict=True)
            if row.energy_j is None and course.rail.is_module
        )
        beside += tuple(
            _stuck(row, stuck_w)
            for row, course in zip(rows, tracker.watch.courses, strict=True)
            if row.energy_j is not None and (stuck_w := course.stuck_w(tracker.start_s, end_s)) is not None
        )
        trace = tuple(course.trace(self.name, tracker.start_s, end_s) for course in tracker.watch.courses)
        if total is None:
            none = no_energy("; ".join(lost) or self._nothing_here, duration, samples, rows)
            return replace(none, warnings=(*none.warnings, *beside), trace=trace)
        bound_j = combined_uncertainty_j(rows)
        return EnergyMeasurement(
            total, duration, samples, devices=rows, uncertainty_j=bound_j, warnings=beside, trace=trace
        )

    @property
    def _nothing_here(self) -> str:
        return f"there are no power meters of a Grace CPU under {self._root}"


def _stuck(row: DeviceEnergy, stuck_w: float) -> MeasurementWarning:
    text = f"{row.device} read {stuck_w:g} W again and again for 10 s or more, and nothing stands beside it"
    return MeasurementWarning("power_may_be_stuck", text, device=row.device)


def _row(course: RailCourse, start_s: float, end_s: float) -> DeviceEnergy:
    rail = course.rail
    energy_j = course.energy_j(start_s, end_s)
    return DeviceEnergy(
        device=rail.device,
        kind="soc" if rail.is_module else "cpu",
        energy_j=energy_j,
        source="integrated",
        uncertainty_j=None if energy_j is None else course.bound_j(start_s, end_s),
        update_period_s=rail.every_s,
        field=f"{rail.average} ({rail.said})",
        sensor=HwmonBackend.name,
        scope="module" if rail.is_module else "package",
        headline=False if rail.is_module else None,
    )
