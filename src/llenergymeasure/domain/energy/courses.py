"""Joules of a device between any two moments of its window, from the readings that are kept of it."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llenergymeasure.domain.metrics import DeviceEnergy
from llenergymeasure.domain.telemetry import integrate_power_j
from llenergymeasure.domain.trace import DeviceTrace, Reading, ReadingKind

# The part of a bound that an integral of the card's own average has, and no other figure.
_OF_THE_AVERAGE = {"averaging"}
# So far beyond the first and last tick, in parts of what is asked for, power is taken to go on as between the two next
# to them: a counter that is new every millisecond is read when a window begins, and not before.
_REACH = 0.01
_FEWEST = 2
# What is known of readings of a GPU, and of no other device's.
_OF_A_GPU = "power_lag_s"
# Cards exceed their limit for milliseconds.
_ABOVE_LIMIT = 1.5


class EnergyCourse(Protocol):
    """Energy over time. ``resolution_s`` is what readings are apart, or the means of, whatever is longer."""

    @property
    def resolution_s(self) -> float:
        """Seconds."""
        ...

    def between_j(self, start_s: float, end_s: float) -> float | None:
        """Joules between two moments; None where readings do not reach that far, or leave too long a gap."""
        ...


@dataclass(frozen=True, kw_only=True)
class CounterCourse:
    """A counter that shows the value of its last tick: [n] moments of ticks and joules since the first of them."""

    time_s: tuple[float, ...]
    risen_j: tuple[float, ...]
    resolution_s: float

    def between_j(self, start_s: float, end_s: float) -> float | None:
        """Between two ticks the counter is taken to rise in a straight line."""
        reach_s = max(self.resolution_s, _REACH * (end_s - start_s))
        if len(self.time_s) < _FEWEST or start_s < self.time_s[0] - reach_s or end_s > self.time_s[-1] + reach_s:
            return None
        return max(0.0, self._at_j(end_s) - self._at_j(start_s))

    def _at_j(self, moment_s: float) -> float:
        after = min(max(bisect_right(self.time_s, moment_s), 1), len(self.time_s) - 1)
        (a_s, b_s), (a_j, b_j) = self.time_s[after - 1 : after + 1], self.risen_j[after - 1 : after + 1]
        return a_j + (b_j - a_j) * (moment_s - a_s) / (b_s - a_s)


@dataclass(frozen=True, kw_only=True)
class PowerCourse:
    """[n] readings of power at the moments that they are of; ``held_s`` is how long the last one stands for more."""

    time_s: tuple[float, ...]
    power_w: tuple[float | None, ...]
    resolution_s: float
    held_s: float

    def between_j(self, start_s: float, end_s: float) -> float | None:
        """A trapezoid over the readings, power at both moments interpolated or held."""
        return integrate_power_j(
            self.time_s, self.power_w, start_s=start_s, end_s=end_s, period_s=max(self.resolution_s, self.held_s)
        )


def course_of(row: DeviceEnergy, traces: Sequence[DeviceTrace]) -> EnergyCourse | None:
    """The course of a device by the kind of readings that its figure rests on; None where none are kept, or modelled.

    Args:
        row: the figure of the device.
        traces: [n] what sensors read, of this device and of others.
    """
    if row.source == "modelled" or row.energy_j is None:
        return None
    own = [trace for trace in traces if trace.device == row.device]
    # What another sensor read of the same device, such as NVML beside Zeus, does as well.
    for trace in sorted(own, key=lambda trace: trace.sensor != row.sensor):
        found = _by_kind(row, trace)
        if found is not None:
            return found
    return None


def _by_kind(row: DeviceEnergy, trace: DeviceTrace) -> EnergyCourse | None:
    if row.source == "counter":
        return _counter(trace, _reads(trace, "counter"))
    if set(row.uncertainty_parts_j or ()) == _OF_THE_AVERAGE:
        return _average(trace, _reads(trace, "average"))
    return _power(trace, _reads(trace, "power"))


def _reads(trace: DeviceTrace, kind: ReadingKind) -> list[Reading]:
    return [read for readings in trace.readings if readings.kind == kind for read in readings.reads]


def _counter(trace: DeviceTrace, reads: Sequence[Reading]) -> CounterCourse | None:
    """Ticks between reads of which the later one shows more.

    A tick lies between its two reads, and no longer before the later one than a counter takes to be new: the middle of
    that is taken for its moment. A read that cannot follow the last one that was believed is passed over, as where a
    counter went back without going round, or rose by more than can be.
    """
    update_s, round_j = trace.facts.get("counter_update_s", 0.0), trace.facts.get("range_j")
    ceiling_w = trace.facts.get("ceiling_w")
    known = [(read.began_s or read.time_s, read.ended_s or read.time_s, read.value) for read in reads]
    times, risen = list[float](), list[float]()
    last: tuple[float, float, float] | None = None
    total_j = 0.0
    for began_s, ended_s, value in known:
        if value is None:
            continue
        if last is None:
            last = (began_s, ended_s, value)
            continue
        rise_j = value - last[2]
        if rise_j < 0 and round_j is not None:
            rise_j += round_j
        possible = ceiling_w is None or rise_j <= ceiling_w * (ended_s - last[0] + 2 * update_s)
        if rise_j < 0 or not possible:
            continue
        if rise_j > 0:
            total_j += rise_j
            moment_s = (max(last[0], began_s - update_s) + ended_s) / 2
            if not times or moment_s > times[-1]:
                times.append(moment_s)
                risen.append(total_j)
            else:
                risen[-1] = total_j
        last = (began_s, ended_s, value)
    if len(times) < _FEWEST:
        return None
    return CounterCourse(time_s=tuple(times), risen_j=tuple(risen), resolution_s=update_s)


def _power(trace: DeviceTrace, reads: Sequence[Reading]) -> PowerCourse | None:
    """Readings moved back by their lag; of a GPU nothing, less than that and far over the limit are failed reads."""
    facts = trace.facts
    if _OF_A_GPU in facts:
        most_w = _most_w(trace)
        reads = [r if r.value is None or 0 < r.value <= most_w else r._replace(value=None) for r in reads]
    lag_s = facts.get(_OF_A_GPU, 0.0)
    apart_s = max(facts.get("power_update_s", 0.0), facts.get("power_polled_s", 0.0))
    return _course(reads, lag_s, max(apart_s, facts.get("power_averaged_s", 0.0)), apart_s)


def _most_w(trace: DeviceTrace) -> float:
    """More than this no card draws, whose highest limit around the window is known."""
    told = [trace.facts.get("power_limit_w"), *(read.value for read in _reads(trace, "limit"))]
    return _ABOVE_LIMIT * max((watts for watts in told if watts is not None), default=math.inf)


def _average(trace: DeviceTrace, reads: Sequence[Reading]) -> PowerCourse | None:
    """The average that a card takes itself, each at the middle of what it is the average of."""
    facts = trace.facts
    window_s, update_s = facts.get("average_window_s", 0.0), facts.get("average_update_s", 0.0)
    lag_s = facts.get("average_lag_s", 0.0) + (update_s + window_s) / 2
    return _course(reads, lag_s, max(window_s, update_s), update_s)


def _course(reads: Sequence[Reading], lag_s: float, resolution_s: float, apart_s: float) -> PowerCourse | None:
    kept: dict[float, float | None] = {}
    for read in reads:
        kept.setdefault(read.time_s - lag_s, None if read.value is None or read.value < 0 else read.value)
    if len(kept) < _FEWEST:
        return None
    times = sorted(kept)
    return PowerCourse(
        time_s=tuple(times),
        power_w=tuple(kept[time_s] for time_s in times),
        resolution_s=resolution_s,
        held_s=max(apart_s, lag_s),
    )
