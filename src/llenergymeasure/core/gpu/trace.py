"""Readings of a GPU's power over time, and which of them are believed.

A GPU that runs draws some power, so nothing, less than nothing and far more than the limit are failed reads.

A sensor may also stand still. Cards give milliwatts, and the last digits change from reading to reading; but a
driver may round, and a simulated load is constant to the last digit. So readings that are all the same are refused
only where something else shows that power changed or that the sensor could see less: the card went from idle to
work or back meanwhile, by its utilisation or its clocks; or it was busy, and its readings changed nearly each time
before or after. Idle readings that stay the same are believed, for a card at rest may give the same for long, and
temperature is no evidence, for it goes on rising under a constant load. Without any evidence a warning says so.
"""

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning

# nvmlClocksEventReasonGpuIdle, nvml.h.
_GPU_IDLE = 0x1
# As many refreshes without a change are no chance, where readings change at all.
_ALIKE_REFRESHES = 10
# As many equal readings around a window are worth a warning where nothing stands beside them: 2 s of 0.1 s each.
CONSTANT_READINGS = 20
# Above it a card is busy, and by as much its utilisation differs where it went from idle to work.
_BUSY_PCT = 50.0
# nvml.h: utilisation is over a sample period of 1/6 to 1 s; and power may be as late.
_SETTLED_S = 1.0
# The share of readings that differ from the one before in a trace that varies, of how many at least.
_VARIES, _LEAST_PAIRS = 0.8, 10


@dataclass(frozen=True)
class PowerTrace:
    """[n] strictly increasing seconds, [n] watts (None is a failed read), and when readings were absurd.

    ``stuck_s`` are (since, until, why) of spans in which the sensor stood still, whose readings count as failed.
    """

    time_s: list[float]
    power_w: list[float | None]
    absurd_s: list[float]
    stuck_s: tuple[tuple[float, float, str], ...] = ()

    def was_lost_by(self, end_s: float) -> bool:
        """Whether power was asked for from then on and never told: the last that was seen says nothing of the rest."""
        later = self.power_w[bisect_left(self.time_s, end_s) :]
        return bool(later) and all(p is None for p in later)

    def earlier_by(self, lag_s: float) -> "PowerTrace":
        """The same readings at the moments that they are of."""
        return replace(self, time_s=[t - lag_s for t in self.time_s])

    def held_to(self, end_s: float, longest_s: float, period_s: float) -> "PowerTrace":
        """The last reading held until then, as one of each period, where it is not older than that."""
        usable = [(t, p) for t, p in zip(self.time_s, self.power_w, strict=True) if p is not None]
        if not usable or not 0 < end_s - usable[-1][0] <= longest_s:
            return self
        last_s, last_w = usable[-1]
        kept = [(t, p) for t, p in zip(self.time_s, self.power_w, strict=True) if t <= last_s]
        n_held = math.ceil((end_s - last_s) / period_s)
        kept += [(last_s + (end_s - last_s) * k / n_held, last_w) for k in range(1, n_held + 1)]
        return replace(self, time_s=[t for t, _ in kept], power_w=[p for _, p in kept])

    def seen(self, start_s: float, end_s: float) -> list[tuple[float, float]]:
        """Seconds and watts of the readings between two moments that did not fail."""
        first, last = bisect_left(self.time_s, start_s), bisect_right(self.time_s, end_s)
        readings = zip(self.time_s[first:last], self.power_w[first:last], strict=True)
        return [(t, p) for t, p in readings if p is not None]

    def n_absurd(self, start_s: float, end_s: float) -> int:
        """How many readings between two moments were absurd."""
        return bisect_right(self.absurd_s, end_s) - bisect_left(self.absurd_s, start_s)

    def stood_still(self, start_s: float, end_s: float) -> str | None:
        """Why the readings between two moments are not believed, where the sensor stood still in between."""
        return next((why for since_s, until_s, why in self.stuck_s if since_s < end_s and until_s > start_s), None)

    def constant_w(self, start_s: float, end_s: float) -> float | None:
        """The one power that all readings between two moments show, where there are so many that one may wonder."""
        seen = self.seen(start_s, end_s)
        watts = {p for _, p in seen}
        return watts.pop() if len(seen) >= CONSTANT_READINGS and len(watts) == 1 else None


def power_trace(samples: Sequence[PowerThermalSample], limit_w: float, period_s: float) -> PowerTrace:
    """The trace of one GPU's samples, of which those that cannot be are failed reads.

    Args:
        samples: [n] samples.
        limit_w: more than this is absurd, as are zero and less.
        period_s: how often power can be new.
    """
    # A clock may be coarser than two reads in a row; of equal times the first counts.
    known = {s.timestamp: s for s in reversed(samples)}
    times = sorted(known)
    powers = [known[t].power_w for t in times]
    believed = [None if p is None or not 0 < p <= limit_w else p for p in powers]
    absurd_s = [t for t, p, b in zip(times, powers, believed, strict=True) if p is not None and b is None]
    stuck = []
    runs = [run for run in _runs(believed) if times[run[1]] - times[run[0]] >= _ALIKE_REFRESHES * period_s]
    varies = bool(runs) and _varies(times, believed, runs, period_s)
    for first, last in runs:
        # Where other readings follow, the last of a run may be older than what is beside them.
        until_s = times[last] if last == len(times) - 1 else times[last] - _SETTLED_S
        beside = [known[t] for t in times[first : last + 1] if times[first] + _SETTLED_S <= t <= until_s]
        why = _why_stuck(beside, varies=varies)
        if why is not None:
            stuck.append((times[first], times[last], f"its power readings stood still at {believed[first]:g} W: {why}"))
            believed[first : last + 1] = [None] * (last + 1 - first)
    return PowerTrace(times, believed, absurd_s, tuple(stuck))


def about_absurd_power(uuid: str, n_absurd: int) -> list[MeasurementWarning]:
    """What to say of readings that count as failed because they cannot be."""
    if not n_absurd:
        return []
    return [
        MeasurementWarning(
            "absurd_power",
            f"{n_absurd} power readings of {uuid} were zero, negative or far over its limit and count as failed",
            "look after the driver",
            uuid,
        )
    ]


def about_a_stuck_sensor(uuid: str, constant_w: float | None) -> list[MeasurementWarning]:
    """Whether power with nothing beside it is always the same, which no real sensor shows for long."""
    if constant_w is None:
        return []
    return [
        MeasurementWarning(
            "power_may_be_stuck",
            f"every power reading of {uuid} is {constant_w:g} W, and no energy counter stands beside them",
            "see whether its power changes with the load, and compare with a meter before citing",
            uuid,
        )
    ]


def _runs(power_w: Sequence[float | None]) -> Iterator[tuple[int, int]]:
    """First and last of each run of equal readings, those that failed left out."""
    there = [i for i, p in enumerate(power_w) if p is not None]
    first = 0
    for n, i in enumerate(there):
        if n + 1 == len(there) or power_w[there[n + 1]] != power_w[i]:
            yield there[first], i
            first = n + 1


def _varies(
    time_s: Sequence[float], power_w: Sequence[float | None], runs: Sequence[tuple[int, int]], period_s: float
) -> bool:
    """Whether readings a period apart nearly all differ, outside the runs of equal ones."""
    in_run = set[int]().union(*(range(first, last + 1) for first, last in runs))
    apart: list[int] = []
    for i, power in enumerate(power_w):
        if power is not None and (not apart or time_s[i] - time_s[apart[-1]] >= 0.9 * period_s):
            apart.append(i)
    pairs = [(a, b) for a, b in pairwise(apart) if a not in in_run and b not in in_run]
    n_different = sum(power_w[a] != power_w[b] for a, b in pairs)
    return len(pairs) >= _LEAST_PAIRS and n_different >= _VARIES * len(pairs)


def _why_stuck(beside: Sequence[PowerThermalSample], *, varies: bool) -> str | None:
    """What shows that a sensor stood still over samples whose power is all the same; None where nothing does."""
    used_pct = [s.sm_utilisation for s in beside if s.sm_utilisation is not None]
    at_rest = {bool(s.throttle_reasons & _GPU_IDLE) for s in beside if s.throttle_reasons is not None}
    if used_pct and max(used_pct) - min(used_pct) >= _BUSY_PCT:
        return f"meanwhile its utilisation went from {min(used_pct):.0f} to {max(used_pct):.0f} %"
    if len(at_rest) > 1:
        return "meanwhile its clocks went from idle to work or back"
    if varies and used_pct and statistics.median(used_pct) >= _BUSY_PCT:
        return "it was busy, and its other readings changed each time"
    return None
