"""Readings that are looked at again and again over a window, and what their rows come to."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from llenergymeasure.core.energy_backends.base import energy_of_rows
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, counted_devices
from llenergymeasure.domain.warnings import MeasurementWarning


class Looks(Protocol):
    """The looks at one reading over a window."""

    def look(self) -> None:
        """Read it once; never raises."""
        ...


_Course = TypeVar("_Course", bound=Looks)


class Watch(threading.Thread, Generic[_Course]):
    """Looks at every course every ``every_s`` seconds, and at both ends; of one that stays silent no others know."""

    def __init__(self, name: str, courses: Sequence[_Course], every_s: float) -> None:
        """Look for the first time; ``start`` goes on."""
        super().__init__(name=name, daemon=True)
        self.courses = courses
        self.n_looks = 0
        self._every_s = every_s
        self._stopping = threading.Event()
        self.look()

    def run(self) -> None:
        """Look until it is stopped."""
        while not self._stopping.wait(self._every_s):
            self.look()

    def look(self) -> None:
        """Look at each once."""
        for course in self.courses:
            course.look()
        self.n_looks += 1

    def stop(self) -> None:
        """Ask it to look no more; it is not waited for."""
        self._stopping.set()

    def finish(self) -> None:
        """Stop, and look for the last time."""
        self.stop()
        self.join()
        self.look()


@dataclass(frozen=True)
class WatchedWindow(Generic[_Course]):
    """A window with its watch, in seconds of the sensor's clock; ``end_s`` is None while it is open."""

    start_s: float
    watch: Watch[_Course]
    end_s: float | None = None


def energy_of_told_rows(
    told: Sequence[tuple[DeviceEnergy, str]],
    duration_sec: float,
    samples: int,
    *,
    without_rows: str,
    warnings: Sequence[MeasurementWarning] = (),
) -> EnergyMeasurement:
    """The energy of [n] rows, each with why it has no figure, empty where it has one.

    Args:
        told: these. One of the total without a figure leaves no total; another one costs only its own.
        duration_sec: of the window.
        samples: how often was looked.
        without_rows: why there is no total where no row is of one.
        warnings: what else there is to say.
    """
    rows = tuple(row for row, _ in told)
    counted = counted_devices(rows)
    lost = [problem for row, problem in told if problem and row in counted]
    beside = [
        MeasurementWarning("not_in_the_total", problem, device=row.device)
        for row, problem in told
        if problem and row not in counted
    ]
    return energy_of_rows(rows, duration_sec, samples, "; ".join(lost) or without_rows, (*beside, *warnings))


def between_reads(
    read_j: Callable[[], Mapping[str, float]], clock: Callable[[], float] = time.monotonic
) -> Callable[[], Mapping[str, float]]:
    """The mean power since it was asked last, of counters of joules; none of one that went back.

    Args:
        read_j: what the counters of devices say, those that cannot be read left out.
        clock: monotonic seconds.
    """
    before_s, before = clock(), read_j()

    def power() -> Mapping[str, float]:
        nonlocal before_s, before
        now_s, now = clock(), read_j()
        if now_s <= before_s:
            return {}
        found = {name: (now[name] - before[name]) / (now_s - before_s) for name in now if name in before}
        before_s, before = now_s, now
        return {name: watts for name, watts in found.items() if watts >= 0}

    return power
