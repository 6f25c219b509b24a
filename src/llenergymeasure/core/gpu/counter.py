"""Energy of a window from a counter that shows its value only at ticks.

The counter's value at any moment is that of its last tick, so a difference of two reads is off by up
to a tick's energy at either end. Here the ticks around both edges are timed by close polling, and the
energy up to an edge is interpolated between the tick before it and the tick after it. Where they could
not be timed the difference stands, with the energy of what lies between two reads as its bound.
"""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from llenergymeasure.core.gpu.changes import Change, changes_of
from llenergymeasure.core.gpu.counter_edge import Edge, Power, Tick, power_w, timed_edge, untimed_edge
from llenergymeasure.core.gpu.counter_reads import (
    ABOVE_LIMIT,
    STANDSTILL_S,
    CounterRead,
    CounterRefusedError,
    PowerSeen,
    check_read_at,
    check_rise,
    check_standstill,
)

__all__ = [
    "ABOVE_LIMIT",
    "NEAR_S",
    "CounterEnergy",
    "CounterRead",
    "CounterRefusedError",
    "PowerSeen",
    "counter_energy",
]

# Two reads further apart than this do not time the tick between them. Close polling aims at half a millisecond; a
# driver that takes longer for a call gives wider stamps, and wider bounds with them.
_STAMP_WIDTH_S = 0.05
# Half the distance of the two reads around a tick, in ticks, up to which it counts as timed in any case.
_TIMED = 1 / 8
# An edge is watched for this long at most; what lies within it belongs to the same edge.
_EDGE_S = 0.5
# Few gaps are seen, and those of real cards have not been published: ticks are not taken to be steadier than this.
_LEAST_SPREAD = 0.02
# How far a tick seen by close polling dates the ticks around it: the error of the period adds up.
_DATED_TICKS = 5
# What is taken for the period of ticks where a single change was seen (Zeus project notes).
_USUAL_TICK_S = 0.1
# Power this close to the window counts for how much it varies, and reads this close make up the edges.
NEAR_S = 1.0
# The counter shows whole millijoules.
_RESOLUTION_J = 0.001


@dataclass(frozen=True, kw_only=True)
class CounterEnergy:
    """Joules of a window, their bound, and the tick period as it was found."""

    energy_j: float
    uncertainty_j: float
    tick_s: float


class _Period(NamedTuple):
    """Median distance of ticks in seconds, and how much one distance may differ from it."""

    tick_s: float
    spread_s: float


def counter_energy(reads: Sequence[CounterRead], start_s: float, end_s: float, seen: PowerSeen) -> CounterEnergy:
    """Energy between two moments, from reads around both of them.

    Args:
        reads: [n] reads in the order of time, from before the window until after it; close together at its edges
            where the bound shall be narrow.
        start_s: start of the window, in seconds of the reads' clock.
        end_s: its end.
        seen: the power around and in the window: how much it may vary within a tick, and how much there can be.

    Raises:
        CounterRefusedError: it went back, jumped, stood still or failed, or nothing bounds the power at an edge.
    """
    known = [r for r in reads if r.energy_j is not None]
    changes = list(changes_of(known))
    if not changes:
        raise CounterRefusedError(f"its ticks were not seen (0 in {len(known)} reads)")
    for edge_s in (start_s, end_s):
        check_read_at(known, edge_s)
    period = _period(changes)
    tick_s = _rhythm_s(changes) if period is None else period.tick_s
    check_rise(changes, seen, known[0].before_s - tick_s)
    check_standstill(known, changes, tick_s, start_s, end_s)
    timed = [] if period is None else _timed(known, changes, period, (start_s, end_s))
    power = _power(timed, seen, start_s, end_s)
    all_ticks = [_stamp(change) for change in changes]
    first, last = (_edge(timed, all_ticks, edge_s, power, tick_s) for edge_s in (start_s, end_s))
    return CounterEnergy(
        energy_j=max(0.0, last.energy_j - first.energy_j),
        uncertainty_j=first.uncertainty_j + last.uncertainty_j + _RESOLUTION_J,
        tick_s=tick_s,
    )


def _edge(timed: Sequence[Tick], all_ticks: Sequence[Tick], at_s: float, power: Power, tick_s: float) -> Edge:
    """From ticks that were timed, else from what the reads beside the edge show."""
    return timed_edge(timed, at_s, power, _DATED_TICKS * tick_s) or untimed_edge(all_ticks, at_s, power)


def _power(timed: Sequence[Tick], seen: PowerSeen, start_s: float, end_s: float) -> Power:
    """The range of power around a window, from ticks and readings; from nothing to the limit where there are none."""
    near = (t for t in pairwise(timed) if t[1].time_s > start_s - NEAR_S and t[0].time_s < end_s + NEAR_S)
    seen_w = [*(power_w(a, b) for a, b in near), *seen.power_w] or [0.0, seen.limit_w]
    if math.isinf(max(seen_w)):
        raise CounterRefusedError("no tick was seen near the window, and nothing says how much it may draw")
    return Power(min(seen_w), max(seen_w), max(ABOVE_LIMIT * seen.limit_w, *seen_w), seen.unseen_s)


def _timed(
    known: Sequence[CounterRead], changes: Sequence[Change], period: _Period, edges_s: Sequence[float]
) -> list[Tick]:
    stamps = [_stamp(change) for change in changes if _is_timed(change)]
    # Only at an edge does it matter where exactly the ticks are that were not timed themselves.
    reach_s = NEAR_S + max(_DATED_TICKS * period.tick_s, _EDGE_S)
    near = [read for read in known if any(abs(read.before_s - edge_s) <= reach_s for edge_s in edges_s)]
    return _dated(near, list(_well_timed(stamps, period.tick_s)), period)


def _is_timed(change: Change) -> bool:
    """Whether the two reads are close enough together to time a tick between them."""
    return change.before_s - change.after_s <= _STAMP_WIDTH_S


def _stamp(change: Change) -> Tick:
    return Tick(change.time_s, change.width_s, change.new)


def _well_timed(stamps: Sequence[Tick], tick_s: float) -> Iterator[Tick]:
    """The stamps that tell the time of a tick, not only which of the reads saw it first.

    Those to an eighth of a tick, or, where driver or machine were too slow for that, about the best there are at
    the same edge; but never wider than a tick, within which there may be two.
    """
    # Of the stamps beside each one, those that no later and narrower one outdoes: the first is the narrowest.
    beside: deque[Tick] = deque()
    n_beside = 0
    for stamp in stamps:
        while n_beside < len(stamps) and stamps[n_beside].time_s <= stamp.time_s + _EDGE_S:
            while beside and beside[-1].width_s >= stamps[n_beside].width_s:
                beside.pop()
            beside.append(stamps[n_beside])
            n_beside += 1
        while beside[0].time_s < stamp.time_s - _EDGE_S:
            beside.popleft()
        if stamp.width_s <= min(max(_TIMED * tick_s, 2 * beside[0].width_s), tick_s / 2):
            yield stamp


def _rhythm_s(changes: Sequence[Change]) -> float:
    """How often a counter changes whose ticks were not timed: no less often than that does it tick."""
    times = [change.time_s for change in changes]
    return float(np.median(np.diff(times))) if len(times) > 1 else _USUAL_TICK_S


def _period(changes: Sequence[Change]) -> _Period | None:
    """The rhythm of ticks that were timed one after the other; None where there are none.

    A change that was not timed may hold several ticks, so nothing is taken from what lies around it.
    """
    pairs = ((_stamp(a), _stamp(b)) for a, b in pairwise(changes) if _is_timed(a) and _is_timed(b))
    gaps = [(a.width_s + b.width_s, b.time_s - a.time_s) for a, b in pairs]
    close = [(width_s, gap_s) for width_s, gap_s in gaps if gap_s <= STANDSTILL_S]
    if not close:
        return None
    # Polling between the edges that is just close enough to time ticks times them badly and passes some over.
    narrowest_s = min(width_s for width_s, _ in close)
    best_s = [gap_s for width_s, gap_s in close if width_s <= 2 * narrowest_s]
    tick_s = float(np.median(best_s))
    return _Period(tick_s, max(max(best_s) - min(best_s), _LEAST_SPREAD * tick_s))


def _dated(known: Sequence[CounterRead], stamps: Sequence[Tick], period: _Period) -> list[Tick]:
    """The timed ticks, and those that other reads saw the value of, dated by their distance from a timed one."""
    ticks = {stamp.time_s: stamp for stamp in stamps}
    times = [stamp.time_s for stamp in stamps]
    tick_s = period.tick_s
    near_s = _DATED_TICKS * tick_s
    for read in known:
        first, last = (bisect_right(times, read.before_s + far_s) for far_s in (-near_s, near_s))
        for anchor in stamps[first:last]:
            # What two stamps leave open of the period, and what ticks differ among themselves, adds up.
            away_s = read.before_s - anchor.time_s
            n = math.floor(away_s / tick_s)
            width_s = anchor.width_s * (1 + 2 * abs(n)) + abs(n) * period.spread_s
            earliest, latest = away_s - width_s, read.after_s - anchor.time_s + width_s
            same = math.floor(earliest / tick_s) == n == math.floor(latest / tick_s)
            if n == 0 or not same or read.energy_j is None:
                continue
            ticks[anchor.time_s + n * tick_s] = Tick(anchor.time_s + n * tick_s, width_s, read.energy_j)
    return _one_per_tick(sorted(ticks.values()), tick_s)


def _one_per_tick(ticks: Sequence[Tick], tick_s: float) -> list[Tick]:
    """Of several datings of one tick the narrowest; one whose value does not rise with time is dropped."""
    kept: list[Tick] = []
    for tick in ticks:
        # Badly timed, a tick may seem to be two; what it shows is the same.
        same = kept and (tick.time_s - kept[-1].time_s <= tick_s / 2 or tick.energy_j == kept[-1].energy_j)
        if not same and (not kept or tick.energy_j > kept[-1].energy_j):
            kept.append(tick)
        elif same and tick.width_s < kept[-1].width_s:
            kept[-1] = tick
    return kept
