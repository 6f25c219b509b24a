"""Joules of a window from a counter: rule 3 of how a joule is obtained, said once more.

A counter shows what it showed at its last tick. A tick lies between the read that still showed the old value and the
one that showed the new value. What the counter would show at an edge of the window if it had no ticks lies between
the ticks around the edge.
"""

from dataclasses import dataclass

import numpy as np

from llenergymeasure.results.verification.power import Derived
from llenergymeasure.results.verification.readings import OVER_LIMIT, DeviceReadings, Numbers, Series

# Two reads further apart do not time the tick between them.
_TIMED_S = 0.02
# Readings this near to the window tell how much power varies.
_NEAR_S = 1.0
# A counter on a card changes at every tick; no change for so long is no jitter.
_STILL_S, _STILL_TICKS = 0.5, 5
# A counter of which nothing was read for so long around an edge was lost there.
_LOST_S = 0.5
_USUAL_TICK_S = 0.1
_RESOLUTION_J = 0.001


class RefusedError(Exception):
    """The counter is not to be believed; the message says why."""


@dataclass(frozen=True)
class Ticks:
    """[n] ticks: the two looks at the clock between which each lies, and what the counter showed before and after."""

    after_s: Numbers
    before_s: Numbers
    from_j: Numbers
    to_j: Numbers

    @property
    def time_s(self) -> Numbers:
        """The middle of both looks."""
        return (self.after_s + self.before_s) / 2

    @property
    def is_timed(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Whether both looks are near enough to each other to tell the time."""
        timed: np.ndarray[tuple[int], np.dtype[np.bool_]] = (self.before_s - self.after_s) <= _TIMED_S
        return timed

    @classmethod
    def of(cls, reads: Series) -> "Ticks":
        """Where the value changed from one read to the next."""
        at = np.flatnonzero(np.diff(reads.value) != 0)
        return cls(reads.began_s[at], reads.ended_s[at + 1], reads.value[at], reads.value[at + 1])

    def tick_s(self) -> float:
        """How often it ticks: the median distance of ticks that were timed one after the other."""
        both = self.is_timed[1:] & self.is_timed[:-1]
        gaps = np.diff(self.time_s)
        timed = gaps[both & (gaps <= _STILL_S)]
        if timed.size:
            return float(np.median(timed))
        return float(np.median(gaps)) if gaps.size else _USUAL_TICK_S


@dataclass(frozen=True)
class PowerRange:
    """What is known of power near the window."""

    low_w: float
    high_w: float
    limit_w: float
    unseen_s: float

    def between(self, seconds: float) -> tuple[float, float]:
        """The least and the most joules of a time that begins anywhere.

        In each ``unseen_s`` of it the mean is between ``low_w`` and ``high_w``. Of the shorter rest the most is
        all that such a span may have, as fast as ``limit_w`` allows; the least is what is left where the other part of
        the span drew ``limit_w``.
        """
        if seconds < 0:
            least_j, most_j = self.between(-seconds)
            return -most_j, -least_j
        if self.unseen_s <= 0:
            return self.low_w * seconds, self.high_w * seconds
        n_spans, rest_s = divmod(seconds, self.unseen_s)
        least_j = max(0.0, self.low_w * self.unseen_s - self.limit_w * (self.unseen_s - rest_s))
        most_j = min(self.limit_w * rest_s, self.high_w * self.unseen_s)
        of_spans_s = n_spans * self.unseen_s
        return self.low_w * of_spans_s + least_j, self.high_w * of_spans_s + most_j


def counter_joules(readings: DeviceReadings) -> tuple[Derived, float]:
    """Joules between the edges of the window with their bound, and seconds from tick to tick.

    Raises:
        RefusedError: it went back, jumped, stood still, or was not read at an edge.
    """
    start_s, end_s = readings.start_s, readings.end_s
    reads = readings.counter.known
    near = (reads.began_s >= start_s - _NEAR_S) & (reads.ended_s <= end_s + _NEAR_S)
    reads = reads.where(near)
    ticks = Ticks.of(reads)
    if not ticks.to_j.size:
        raise RefusedError("its ticks were not seen")
    tick_s = ticks.tick_s()
    _check(reads, ticks, readings, tick_s)
    power = _power(ticks, readings)
    first, first_bound = _edge(ticks, start_s, tick_s, power)
    last, last_bound = _edge(ticks, end_s, tick_s, power)
    parts = {"edges": first_bound + last_bound + _RESOLUTION_J}
    timed = all(_is_timed_near(ticks, edge_s) for edge_s in (start_s, end_s))
    ticks_j = sum(_tick_j(ticks, edge_s) for edge_s in (start_s, end_s)) + 2 * power.high_w * tick_s
    return Derived(max(0.0, last - first), parts, sharp=timed, ticks_j=ticks_j), tick_s


def _tick_j(ticks: Ticks, at_s: float) -> float:
    """What the counter rose by from the tick before a moment to the one after it."""
    i = int(np.clip(np.searchsorted(ticks.time_s, at_s, side="right"), 0, ticks.to_j.size - 1))
    return float(ticks.to_j[i] - ticks.from_j[i])


def _is_timed_near(ticks: Ticks, at_s: float) -> bool:
    """Whether one of the two ticks around a moment was timed."""
    i = int(np.searchsorted(ticks.time_s, at_s, side="right"))
    return bool(np.any(ticks.is_timed[max(i - 1, 0) : i + 1]))


def _check(reads: Series, ticks: Ticks, readings: DeviceReadings, tick_s: float) -> None:
    for edge_s in (readings.start_s, readings.end_s):
        before, after = reads.began_s[reads.began_s <= edge_s], reads.ended_s[reads.ended_s >= edge_s]
        if not before.size or not after.size:
            raise RefusedError("it was not read on both sides of an edge")
        if min(edge_s - before[-1], after[0] - edge_s) > _LOST_S:
            raise RefusedError("it was not read near an edge")
    rises = ticks.to_j - ticks.from_j
    if np.any(rises < 0):
        raise RefusedError("it went back")
    since_s = np.concatenate([[reads.began_s[0] - tick_s], ticks.after_s[:-1]])
    if np.any(rises > OVER_LIMIT * readings.limit_w * (ticks.before_s - since_s) * (1 + 1e-9)):
        raise RefusedError("it jumped by more than the card can draw")
    moved_s = np.concatenate([[reads.ended_s[0]], ticks.before_s])
    still_s = np.concatenate([ticks.after_s, [reads.began_s[-1]]])
    longest_s = max(_STILL_S, _STILL_TICKS * tick_s)
    if np.any((still_s - moved_s > longest_s) & (still_s > readings.start_s) & (moved_s < readings.end_s)):
        raise RefusedError("it stood still")


def _power(ticks: Ticks, readings: DeviceReadings) -> PowerRange:
    timed = ticks.is_timed
    both = timed[1:] & timed[:-1]
    slopes = (np.diff(ticks.to_j) / np.diff(ticks.time_s))[both]
    believed = readings.believed_power
    near = (believed.time_s >= readings.start_s - _NEAR_S) & (believed.time_s <= readings.end_s + _NEAR_S)
    seen = [*slopes, *believed.value[near]] or [0.0, readings.limit_w]
    unseen_s = max(readings.facts.get("power_averaged_s", 0.1), readings.facts.get("power_update_s", 0.1))
    return PowerRange(min(seen), max(seen), max(OVER_LIMIT * readings.limit_w, *seen), unseen_s)


def _edge(ticks: Ticks, at_s: float, tick_s: float, power: PowerRange) -> tuple[float, float]:
    """What the counter would show at a moment without ticks, and how far that may be off."""
    i = int(np.searchsorted(ticks.time_s, at_s, side="right"))
    before, after = (max(i - 1, 0), min(i, ticks.to_j.size - 1))
    if i in (0, ticks.to_j.size):
        # All ticks that were seen lie on one side.
        one = before if i else after
        middle_j = float(ticks.to_j[one] + (power.low_w + power.high_w) / 2 * (at_s - ticks.time_s[one]))
        width_s = float(ticks.before_s[one] - ticks.after_s[one]) / 2
        away_s = at_s - float(ticks.time_s[one])
        low, high = power.between(away_s - width_s)[0], power.between(away_s + width_s)[1]
        shift = middle_j - float(ticks.to_j[one])
        return middle_j, max(high - shift, shift - low, 0.0)
    (a_s, a_width), (b_s, b_width) = _dated(ticks, before, after, tick_s)
    a_j, b_j = float(ticks.to_j[before]), float(ticks.to_j[after])
    elapsed_s, left_s = max(at_s - a_s, 0.0), max(b_s - at_s, 0.0)
    ranges = (
        (a_j + power.between(at_s - a_s - a_width)[0], a_j + power.between(at_s - a_s + a_width)[1]),
        (b_j - power.between(b_s - at_s + b_width)[1], b_j - power.between(b_s - at_s - b_width)[0]),
    )
    low_j, high_j = max(low for low, _ in ranges), min(high for _, high in ranges)
    before_j = _slope_w(ticks, before, -1) * elapsed_s
    after_j = _slope_w(ticks, after, 1) * left_s
    unexplained_j = (b_j - a_j) - before_j - after_j
    share = elapsed_s / (elapsed_s + left_s) if elapsed_s + left_s > 0 else 0.5
    estimate_j = min(max(a_j + before_j + unexplained_j * share, a_j), b_j)
    if low_j <= high_j:
        estimate_j = min(max(estimate_j, low_j), high_j)
    return estimate_j, max(high_j - estimate_j, estimate_j - low_j, 0.0)


def _dated(ticks: Ticks, before: int, after: int, tick_s: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """When both ticks around an edge were, give or take; one that was not timed is dated by the other."""
    found = []
    for one, other, sign in ((before, after, -1), (after, before, 1)):
        time_s, width_s = float(ticks.time_s[one]), float(ticks.before_s[one] - ticks.after_s[one]) / 2
        if not ticks.is_timed[one] and ticks.is_timed[other]:
            by_other_s = float(ticks.time_s[other]) + sign * tick_s
            spread_s = float(ticks.before_s[other] - ticks.after_s[other]) * 1.5 + 0.02 * tick_s
            # Of several ticks that nobody told apart the counter shows the last, and the next one is the first.
            is_one = sign < 0 or ticks.before_s[one] - by_other_s < tick_s - spread_s
            if is_one and ticks.after_s[one] <= by_other_s <= ticks.before_s[one]:
                time_s, width_s = by_other_s, min(width_s, spread_s)
        found.append((time_s, width_s))
    return found[0], found[1]


def _slope_w(ticks: Ticks, at: int, step: int) -> float:
    """Mean power over half a second of ticks on the far side of one."""
    far = at
    while 0 <= far + step < ticks.to_j.size and abs(ticks.time_s[far + step] - ticks.time_s[at]) <= _STILL_S:
        far += step
        if ticks.is_timed[at] and ticks.is_timed[far]:
            break
    if far == at:
        return 0.0
    return float((ticks.to_j[far] - ticks.to_j[at]) / (ticks.time_s[far] - ticks.time_s[at]))
