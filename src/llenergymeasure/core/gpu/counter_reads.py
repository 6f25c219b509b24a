"""Reads of an energy counter, and what is wrong with those of one that cannot be believed."""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from llenergymeasure.core.gpu.changes import Change
from llenergymeasure.core.gpu.power_sensor import REFRESH_S

# Cards exceed their limit for milliseconds; what would be more than this multiple of it is an error.
ABOVE_LIMIT = 1.5
# A counter on a card changes at every tick, idle or not. Ticks are about 0.1 s apart (Zeus project notes); five
# of them without a change are no jitter.
STANDSTILL_S = 0.5
_STANDSTILL_TICKS = 5
# A counter of which no read came through for this long around an edge was lost there.
_LOST_S = 0.5


class CounterRead(NamedTuple):
    """One read of a counter between two looks at the clock; joules since some moment, None where it failed."""

    before_s: float
    after_s: float
    energy_j: float | None


class CounterRefusedError(Exception):
    """The counter cannot be believed; the message says why."""


@dataclass(frozen=True, kw_only=True)
class PowerSeen:
    """What is known of the power around a window, and of what readings of it do not show.

    Args:
        time_s: [m] seconds in the order of time, when each of ``power_w`` was read; empty where that is not known.
        power_w: [m] watts.
        limit_w: the most that the card draws for longer than milliseconds.
        unseen_s: power may swing between nothing and the limit unseen if it does so faster than this: the time
            over which a reading is a mean.
        unseen_share: the share of the time that is in no reading of a sensor that looks part of the time.
    """

    time_s: Sequence[float] = ()
    power_w: Sequence[float] = ()
    limit_w: float = math.inf
    unseen_s: float = 0.1
    unseen_share: float = 0.0

    def most_j(self, since_s: float, until_s: float) -> float:
        """The most joules that a card can have drawn between two moments, peaks above the limit among them.

        That is half as much again as the limit. Powers that were seen bind further where they are dense: never
        more than the highest of them, but for swings up to the limit that were too short for the sensor, or fell
        between two readings.
        """
        seconds = until_s - since_s
        ceiling_j = ABOVE_LIMIT * self.limit_w * seconds
        gap_s = self._longest_gap_s(since_s, until_s)
        if math.isinf(gap_s) or math.isinf(self.limit_w):
            return ceiling_j
        high_w = self._high_w
        hidden_s = max(self.unseen_s, REFRESH_S, gap_s) + self.unseen_share * seconds
        return min(ceiling_j, high_w * seconds + max(0.0, self.limit_w - high_w) * hidden_s)

    @cached_property
    def _high_w(self) -> float:
        return max(self.power_w)

    def _longest_gap_s(self, since_s: float, until_s: float) -> float:
        """The longest time without a reading between two moments; endless where readings do not reach so far."""
        first, last = bisect_right(self.time_s, since_s) - 1, bisect_left(self.time_s, until_s)
        if first < 0 or last >= len(self.time_s):
            return math.inf
        return max((b - a for a, b in pairwise(self.time_s[first : last + 1])), default=0.0)


def check_read_at(known: Sequence[CounterRead], edge_s: float) -> None:
    """Whether an edge of the window lies between two reads, one of which is near.

    Raises:
        CounterRefusedError: it was lost there.
    """
    after = bisect_left(known, edge_s, key=lambda read: read.after_s)
    before = bisect_right(known, edge_s, key=lambda read: read.before_s) - 1
    if before < 0 or after >= len(known):
        raise CounterRefusedError("it could not be read at an edge of the window")
    away_s = min(edge_s - known[before].before_s, known[after].after_s - edge_s)
    if away_s > _LOST_S:
        raise CounterRefusedError(f"it could not be read at an edge of the window, nor within {away_s:.3g} s of it")


def check_rise(changes: Sequence[Change], power: PowerSeen, earlier_s: float) -> None:
    """Whether it only ever rose, and by no more than the card can draw; its first value is of ``earlier_s``.

    Raises:
        CounterRefusedError: it went back, or jumped.
    """
    for change in changes:
        if change.new < change.old:
            raise CounterRefusedError(f"it went back by {change.old - change.new:.6g} J, as after a reset")
        rise_j, most_j = change.new - change.old, power.most_j(earlier_s, change.before_s)
        if rise_j > most_j:
            raise CounterRefusedError(
                f"it jumped by {rise_j:.6g} J within {change.before_s - earlier_s:.3g} s, in which the card can "
                f"have drawn {most_j:.6g} J at most"
            )
        earlier_s = change.after_s


def check_standstill(
    known: Sequence[CounterRead], changes: Sequence[Change], tick_s: float, start_s: float, end_s: float
) -> None:
    """Whether it moved on all the time, in the window and right before it.

    Raises:
        CounterRefusedError: it stood still.
    """
    longest_s = max(STANDSTILL_S, _STANDSTILL_TICKS * tick_s)
    # Between a read that saw a change and the last read that saw the same value nothing moved.
    moved_s = [known[0].after_s, *(c.before_s for c in changes)]
    still_s = [*(c.after_s for c in changes), known[-1].before_s]
    for since_s, until_s in zip(moved_s, still_s, strict=True):
        # What it missed while it stood still before the window may show in it.
        if until_s - since_s > longest_s and until_s > start_s and since_s < end_s:
            raise CounterRefusedError(f"it stood still for {until_s - since_s:.3g} s")
