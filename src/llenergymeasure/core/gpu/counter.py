"""Energy of a window from a counter that shows its value only at ticks.

The counter's value at any moment is that of its last tick, so a difference of two reads is off by up
to a tick's energy at either end. Here the ticks around both edges are timed by close polling, and the
energy up to an edge is interpolated between the tick before it and the tick after it.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from llenergymeasure.core.gpu.power_sensor import REFRESH_S

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
# A counter on a card changes at every tick, idle or not. Ticks are about 0.1 s apart (Zeus project notes); five
# of them without a change are no jitter.
_STANDSTILL_S = 0.5
_STANDSTILL_TICKS = 5
# Cards exceed their limit for milliseconds; what would be more than this multiple of it is an error.
ABOVE_LIMIT = 1.5
# Power this close to the window counts for how much it varies, and reads this close make up the edges.
NEAR_S = 1.0
# The counter shows whole millijoules.
_RESOLUTION_J = 0.001


class CounterRead(NamedTuple):
    """One read of a counter between two looks at the clock; joules since some moment, None where it failed."""

    before_s: float
    after_s: float
    energy_j: float | None


@dataclass(frozen=True, kw_only=True)
class CounterEnergy:
    """Joules of a window, their bound, and the tick period as it was found."""

    energy_j: float
    uncertainty_j: float
    tick_s: float


class CounterRefusedError(Exception):
    """The counter cannot be believed, or not be timed; the message says why."""


class _Tick(NamedTuple):
    """A tick at ``time_s`` to within ``width_s``, after which the counter shows ``energy_j``."""

    time_s: float
    width_s: float
    energy_j: float


class _Power(NamedTuple):
    """What is known of power: the range seen in means over ``unseen_s``, and the most there can be at all."""

    low_w: float
    high_w: float
    limit_w: float
    unseen_s: float

    def most_j(self, seconds: float) -> float:
        """The most energy there can be in a time."""
        return min(self.high_w * seconds + self._unseen_j(self.high_w), self.limit_w * seconds)

    def least_j(self, seconds: float) -> float:
        """The least energy there must be in a time; negative where the time may lie on the other side."""
        if seconds < 0:
            return -self.most_j(-seconds)
        return max(0.0, self.low_w * seconds - self._unseen_j(self.low_w))

    def _unseen_j(self, mean_w: float) -> float:
        """The most by which energy may be ahead of or behind that of a steady ``mean_w``.

        Power that is at the limit for a part of ``unseen_s`` and nothing for the rest, so that its mean
        shows nothing, is ahead by ``mean * (1 - mean / limit) * unseen_s`` where it falls to nothing.
        """
        return max(0.0, mean_w * (1 - mean_w / self.limit_w)) * self.unseen_s


class _Change(NamedTuple):
    """Two successive reads with different values: at least one tick lies between them."""

    after_s: float
    before_s: float
    from_j: float
    to_j: float

    @property
    def timed(self) -> bool:
        """Whether the two reads are close enough together to time a tick between them."""
        return self.before_s - self.after_s <= _STAMP_WIDTH_S


def counter_energy(
    reads: Sequence[CounterRead],
    start_s: float,
    end_s: float,
    *,
    power_w: Sequence[float] = (),
    limit_w: float = math.inf,
    unseen_s: float = 0.1,
) -> CounterEnergy:
    """Energy between two moments, from reads that are close together around both of them.

    Args:
        reads: [n] reads in the order of time, from before the window until after it.
        start_s: start of the window, in seconds of the reads' clock.
        end_s: its end.
        power_w: [m] watts seen around and in the window: how much power may vary within a tick.
        limit_w: the most that the card draws for longer than milliseconds; half as much again between two
            reads is no load but an error of the counter.
        unseen_s: power may swing between nothing and the limit unseen if it does so faster than this; the
            time over which the readings of ``power_w`` are means.

    Raises:
        CounterRefusedError: it went back, jumped, stood still, failed, or its ticks were not seen.
    """
    known = [r for r in reads if r.energy_j is not None]
    changes = list(_changes(known))
    stamps = [_stamp(c) for c in changes if c.timed]
    period = _period(changes)
    if period is None:
        raise CounterRefusedError(f"its ticks were not seen ({len(stamps)} in {len(known)} reads)")
    if known[0].before_s > start_s or known[-1].after_s < end_s:
        raise CounterRefusedError("it could not be read at an edge of the window")
    tick_s = period.tick_s
    _check_rise(changes, _most_between_reads_j(power_w, limit_w, unseen_s), known[0].before_s - tick_s)
    _check_standstill(known, changes, tick_s, start_s, end_s)
    ticks = _dated(known, _well_timed(stamps, tick_s), period)
    near = (t for t in pairwise(ticks) if t[1].time_s > start_s - NEAR_S and t[0].time_s < end_s + NEAR_S)
    seen_w = [*(_power_w(a, b) for a, b in near), *power_w]
    if not seen_w:
        raise CounterRefusedError("no tick was seen near the window")
    power = _Power(min(seen_w), max(seen_w), max(ABOVE_LIMIT * limit_w, *seen_w), unseen_s)
    first = _edge(ticks, start_s, power, tick_s)
    last = _edge(ticks, end_s, power, tick_s)
    return CounterEnergy(
        energy_j=max(0.0, last[0] - first[0]),
        uncertainty_j=first[1] + last[1] + _RESOLUTION_J,
        tick_s=tick_s,
    )


def _changes(known: Sequence[CounterRead]) -> Iterator[_Change]:
    for a, b in pairwise(known):
        if a.energy_j is not None and b.energy_j is not None and a.energy_j != b.energy_j:
            yield _Change(a.before_s, b.after_s, a.energy_j, b.energy_j)


def _most_between_reads_j(power_w: Sequence[float], limit_w: float, unseen_s: float) -> Callable[[float], float]:
    """The most joules that a card can have drawn in a time, given the powers that were seen around it.

    Never more than half as much again as the limit; and not more than the highest power seen, but for a swing up
    to the limit that was too short to be seen.
    """
    high_w = max(power_w, default=ABOVE_LIMIT * limit_w)
    hidden_s = max(unseen_s, REFRESH_S)
    if math.isinf(limit_w):
        return lambda _: math.inf
    return lambda seconds: min(
        ABOVE_LIMIT * limit_w * seconds, high_w * seconds + max(0.0, limit_w - high_w) * hidden_s
    )


def _check_rise(changes: Sequence[_Change], most_j: Callable[[float], float], earlier_s: float) -> None:
    for change in changes:
        if change.to_j < change.from_j:
            raise CounterRefusedError(f"it went back by {change.from_j - change.to_j:.6g} J, as after a reset")
        rise_j, seconds = change.to_j - change.from_j, change.before_s - earlier_s
        if rise_j > most_j(seconds):
            raise CounterRefusedError(
                f"it jumped by {rise_j:.6g} J within {seconds:.3g} s, in which the card can have drawn "
                f"{most_j(seconds):.6g} J at most"
            )
        earlier_s = change.after_s


def _check_standstill(
    known: Sequence[CounterRead], changes: Sequence[_Change], tick_s: float, start_s: float, end_s: float
) -> None:
    longest_s = max(_STANDSTILL_S, _STANDSTILL_TICKS * tick_s)
    # Between a read that saw a change and the last read that saw the same value nothing moved.
    moved_s = [known[0].after_s, *(c.before_s for c in changes)]
    still_s = [*(c.after_s for c in changes), known[-1].before_s]
    for since_s, until_s in zip(moved_s, still_s, strict=True):
        # What it missed while it stood still before the window may show in it.
        if until_s - since_s > longest_s and until_s > start_s and since_s < end_s:
            raise CounterRefusedError(f"it stood still for {until_s - since_s:.3g} s")


def _well_timed(stamps: Sequence[_Tick], tick_s: float) -> list[_Tick]:
    """The stamps that tell the time of a tick, not only which of the reads saw it first.

    Those to an eighth of a tick, or, where driver or machine were too slow for that, about the best there are at
    the same edge; but never wider than a tick, within which there may be two.
    """
    kept = []
    for stamp in stamps:
        beside_s = (s.width_s for s in stamps if abs(s.time_s - stamp.time_s) <= _EDGE_S)
        if stamp.width_s <= min(max(_TIMED * tick_s, 2 * min(beside_s)), tick_s / 2):
            kept.append(stamp)
    return kept


class _Period(NamedTuple):
    """Median distance of ticks in seconds, and how much one distance may differ from it."""

    tick_s: float
    spread_s: float


def _stamp(change: _Change) -> _Tick:
    return _Tick((change.after_s + change.before_s) / 2, (change.before_s - change.after_s) / 2, change.to_j)


def _period(changes: Sequence[_Change]) -> _Period | None:
    """The rhythm of ticks that were timed one after the other; None where there are none.

    A change that was not timed may hold several ticks, so nothing is taken from what lies around it.
    """
    pairs = ((_stamp(a), _stamp(b)) for a, b in pairwise(changes) if a.timed and b.timed)
    gaps = [(a.width_s + b.width_s, b.time_s - a.time_s) for a, b in pairs]
    close = [(width_s, gap_s) for width_s, gap_s in gaps if gap_s <= _STANDSTILL_S]
    if not close:
        return None
    # Polling between the edges that is just close enough to time ticks times them badly and passes some over.
    narrowest_s = min(width_s for width_s, _ in close)
    best_s = [gap_s for width_s, gap_s in close if width_s <= 2 * narrowest_s]
    tick_s = float(np.median(best_s))
    return _Period(tick_s, max(max(best_s) - min(best_s), _LEAST_SPREAD * tick_s))


def _dated(known: Sequence[CounterRead], stamps: Sequence[_Tick], period: _Period) -> list[_Tick]:
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
            ticks[anchor.time_s + n * tick_s] = _Tick(anchor.time_s + n * tick_s, width_s, read.energy_j)
    return _one_per_tick(sorted(ticks.values()), tick_s)


def _one_per_tick(ticks: Sequence[_Tick], tick_s: float) -> list[_Tick]:
    """Of several datings of one tick the narrowest; one whose value does not rise with time is dropped."""
    kept: list[_Tick] = []
    for tick in ticks:
        # Badly timed, a tick may seem to be two; what it shows is the same.
        same = kept and (tick.time_s - kept[-1].time_s <= tick_s / 2 or tick.energy_j == kept[-1].energy_j)
        if not same and (not kept or tick.energy_j > kept[-1].energy_j):
            kept.append(tick)
        elif same and tick.width_s < kept[-1].width_s:
            kept[-1] = tick
    return kept


def _power_w(a: _Tick, b: _Tick) -> float:
    return (b.energy_j - a.energy_j) / (b.time_s - a.time_s)


def _edge(ticks: Sequence[_Tick], at_s: float, power: _Power, tick_s: float) -> tuple[float, float]:
    """What the counter would show at a moment if it had no ticks, and the bound of that, both in joules.

    Work starts and ends at an edge, so power is taken to be that of the tick before up to the edge and
    that of the tick after from there on, and what the energy of the edge's own tick says otherwise is
    shared out by time. The bound is what any course of ``power`` could make of it.

    Raises:
        CounterRefusedError: no tick was timed near this edge.
    """
    i = bisect_right(ticks, at_s, key=lambda tick: tick.time_s)
    near_s = max(_DATED_TICKS * tick_s, _EDGE_S)
    before = [tick for tick in ticks[max(0, i - 2) : i] if at_s - tick.time_s <= near_s]
    after = [tick for tick in ticks[i : i + 2] if tick.time_s - at_s <= near_s]
    if not before and not after:
        raise CounterRefusedError("no tick was seen near an edge of the window")
    before_w = _power_w(*before) if len(before) == 2 else None  # noqa: PLR2004
    after_w = _power_w(*after) if len(after) == 2 else None  # noqa: PLR2004
    seen, possible = [], []
    middle_w = (power.low_w + power.high_w) / 2
    if before:
        a, elapsed_s = before[-1], at_s - before[-1].time_s
        estimate_j = a.energy_j + (middle_w if before_w is None else before_w) * elapsed_s
        shortest_s, longest_s = elapsed_s - a.width_s, elapsed_s + a.width_s
        seen.append((a.energy_j + power.low_w * shortest_s, a.energy_j + power.high_w * longest_s))
        possible.append((a.energy_j + power.least_j(shortest_s), a.energy_j + power.most_j(longest_s)))
    if after:
        b, left_s = after[0], after[0].time_s - at_s
        estimate_j = b.energy_j - (middle_w if after_w is None else after_w) * left_s
        shortest_s, longest_s = left_s - b.width_s, left_s + b.width_s
        seen.append((b.energy_j - power.high_w * longest_s, b.energy_j - power.low_w * shortest_s))
        possible.append((b.energy_j - power.most_j(longest_s), b.energy_j - power.least_j(shortest_s)))
    if before and after:
        estimate_j = _between(a, b, at_s, before_w, after_w)
    estimate_j = _within(estimate_j, seen)
    low_j, high_j = max(low for low, _ in possible), min(high for _, high in possible)
    return estimate_j, max(high_j - estimate_j, estimate_j - low_j, 0.0)


def _within(value: float, ranges: Sequence[tuple[float, float]]) -> float:
    """The nearest value that lies in all ranges; the value itself where they have nothing in common."""
    low, high = max(low for low, _ in ranges), min(high for _, high in ranges)
    return min(max(value, low), high) if low <= high else value


def _between(a: _Tick, b: _Tick, at_s: float, before_w: float | None, after_w: float | None) -> float:
    elapsed_s, left_s = at_s - a.time_s, b.time_s - at_s
    total_j = b.energy_j - a.energy_j
    if before_w is None and after_w is None:
        return a.energy_j + total_j * elapsed_s / (elapsed_s + left_s)
    if before_w is None:
        return b.energy_j - (after_w or 0.0) * left_s
    if after_w is None:
        return a.energy_j + before_w * elapsed_s
    unexplained_j = total_j - before_w * elapsed_s - after_w * left_s
    return a.energy_j + before_w * elapsed_s + unexplained_j * elapsed_s / (elapsed_s + left_s)
