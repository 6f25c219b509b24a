"""CPU energy of NVIDIA Grace from power meters under /sys/class/hwmon; not yet run on hardware."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.core.energy_backends.hwmon_rail import Rail, RailCourse, rails
from llenergymeasure.core.energy_backends.watching import Watch, WatchedWindow, energy_of_told_rows
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.warnings import MeasurementWarning

_Window = WatchedWindow[RailCourse]

_NOT_THERE = "Grace CPUs need the driver of 'sudo modprobe acpi_power_meter'; other processors have no such meter"
_ROOT = Path("/sys/class/hwmon")


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
                self.command = f"sudo chmod a+r {rail.average}"
                self.remedy = f"make it readable with '{self.command}'"
                return f"{rail.average} may not be read by this user"
            except (OSError, ValueError) as error:
                self.remedy = "see what the kernel's log (dmesg) says of acpi_power_meter"
                return f"{rail.average} cannot be read ({error})"
        return None

    def start_tracking(self) -> _Window:
        """Read all rails and go on reading them."""
        found = rails(self._root)
        # Once in an averaging interval, so that the averages lie side by side.
        every_s = min((rail.every_s for rail in found), default=1.0)
        watch = Watch(self.name, [RailCourse(rail, self._clock) for rail in found], every_s)
        watch.start()
        return _Window(self._clock(), watch)

    def power_now(self) -> Callable[[], Mapping[str, float]]:
        """What each socket's meter says."""
        sockets = [rail for rail in rails(self._root) if not rail.is_module]
        return lambda: _watts(sockets)

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
        courses = tracker.watch.courses
        rows = [_row(course, tracker.start_s, end_s) for course in courses]
        stuck = (course.stuck_w(tracker.start_s, end_s) for course in courses)
        measured = energy_of_told_rows(
            [(row, _problem(row, course)) for row, course in zip(rows, courses, strict=True)],
            end_s - tracker.start_s,
            sum(len(course) for course in courses),
            without_rows=self._nothing_here,
            warnings=[
                _stuck(row, stuck_w)
                for row, stuck_w in zip(rows, stuck, strict=True)
                if row.energy_j is not None and stuck_w is not None
            ],
        )
        trace = tuple(course.trace(self.name, tracker.start_s, end_s) for course in courses)
        return replace(measured, trace=trace)

    @property
    def _nothing_here(self) -> str:
        return f"there are no power meters of a Grace CPU under {self._root}"


def _problem(row: DeviceEnergy, course: RailCourse) -> str:
    """Why a rail has no figure; empty where it has one."""
    return f"{row.device}: {course.problem}" if row.energy_j is None else ""


def _stuck(row: DeviceEnergy, stuck_w: float) -> MeasurementWarning:
    text = f"{row.device} read {stuck_w:g} W again and again for 10 s or more, and nothing stands beside it"
    return MeasurementWarning("power_may_be_stuck", text, device=row.device)


def _watts(sockets: Sequence[Rail]) -> dict[str, float]:
    """What meters say now, without those that cannot be read."""
    found = {}
    for rail in sockets:
        with contextlib.suppress(OSError, ValueError):
            found[rail.device] = rail.read_w()
    return found


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
