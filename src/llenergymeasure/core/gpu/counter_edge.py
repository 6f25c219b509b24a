"""What a counter that shows its value only at ticks would show at an edge of a window, and how far that may be off."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

# How many ticks on either side of an edge bear on it where none of them is timed well.
_BESIDE = 4


class Tick(NamedTuple):
    """A tick at ``time_s`` to within ``width_s``, after which the counter shows ``energy_j``."""

    time_s: float
    width_s: float
    energy_j: float


class Power(NamedTuple):
    """What is known of power: the range seen in means over ``unseen_s``, and the most there can be at all."""

    low_w: float
    high_w: float
    limit_w: float
    unseen_s: float

    def most_j(self, seconds: float) -> float:
        """The most energy there can be in a time; negative where the time is."""
        if seconds < 0:
            return -self.least_j(-seconds)
        return min(self.high_w * seconds + self._unseen_j(self.high_w), self.limit_w * seconds)

    def least_j(self, seconds: float) -> float:
        """The least energy there must be in a time; negative where the time may lie on the other side."""
        if seconds < 0:
            return -self.most_j(-seconds)
        return max(0.0, self.low_w * seconds - self._unseen_j(self.low_w))

    def seen(self, tick: Tick, at_s: float) -> tuple[float, float]:
        """The least and the most that the counter would show at a moment, if power is what was seen of it."""
        shortest_s, longest_s = at_s - tick.time_s - tick.width_s, at_s - tick.time_s + tick.width_s
        least_w = self.low_w if shortest_s >= 0 else self.high_w
        most_w = self.high_w if longest_s >= 0 else self.low_w
        return tick.energy_j + least_w * shortest_s, tick.energy_j + most_w * longest_s

    def possible(self, tick: Tick, at_s: float) -> tuple[float, float]:
        """The least and the most that it would show, whatever power does that cannot be seen."""
        shortest_s, longest_s = at_s - tick.time_s - tick.width_s, at_s - tick.time_s + tick.width_s
        return tick.energy_j + self.least_j(shortest_s), tick.energy_j + self.most_j(longest_s)

    def _unseen_j(self, mean_w: float) -> float:
        """The most by which energy may be ahead of or behind that of a steady ``mean_w``.

        Power that is at the limit for a part of ``unseen_s`` and nothing for the rest, so that its mean
        shows nothing, is ahead by ``mean * (1 - mean / limit) * unseen_s`` where it falls to nothing.
        """
        return max(0.0, mean_w * (1 - mean_w / self.limit_w)) * self.unseen_s


class Edge(NamedTuple):
    """What the counter would show at an edge if it had no ticks, and the bound of that."""

    energy_j: float
    uncertainty_j: float


def timed_edge(ticks: Sequence[Tick], at_s: float, power: Power, near_s: float) -> Edge | None:
    """The edge from well timed ticks; None where there is none within ``near_s`` of it.

    Work starts and ends at an edge, so power is taken to be that of the tick before up to the edge and
    that of the tick after from there on, and what the energy of the edge's own tick says otherwise is
    shared out by time. The bound is what any course of ``power`` could make of it.
    """
    i = bisect_right(ticks, at_s, key=lambda tick: tick.time_s)
    before = [tick for tick in ticks[max(0, i - 2) : i] if at_s - tick.time_s <= near_s]
    after = [tick for tick in ticks[i : i + 2] if tick.time_s - at_s <= near_s]
    if not before and not after:
        return None
    before_w = power_w(*before) if len(before) == 2 else None  # noqa: PLR2004
    after_w = power_w(*after) if len(after) == 2 else None  # noqa: PLR2004
    middle_w = (power.low_w + power.high_w) / 2
    if before and after:
        estimate_j = _between(before[-1], after[0], at_s, before_w, after_w)
    elif before:
        a = before[-1]
        estimate_j = a.energy_j + (middle_w if before_w is None else before_w) * (at_s - a.time_s)
    else:
        b = after[0]
        estimate_j = b.energy_j - (middle_w if after_w is None else after_w) * (b.time_s - at_s)
    beside = [*before[-1:], *after[:1]]
    low_j, high_j = _common([power.seen(tick, at_s) for tick in beside])
    if low_j <= high_j:
        estimate_j = min(max(estimate_j, low_j), high_j)
    return Edge(estimate_j, _bound_j(estimate_j, beside, at_s, power))


def untimed_edge(ticks: Sequence[Tick], at_s: float, power: Power) -> Edge:
    """The edge from what successive reads showed, however far they are apart.

    What the counter shows is what it showed at its last tick, which lies somewhere between two reads. So the edge
    is known to power times that time, and is taken to lie in the middle.
    """
    i = bisect_right(ticks, at_s, key=lambda tick: tick.time_s)
    beside = ticks[max(0, i - _BESIDE) : i + _BESIDE]
    low_j, high_j = _common([power.seen(tick, at_s) for tick in beside])
    if low_j > high_j:
        low_j, high_j = _common([power.possible(tick, at_s) for tick in beside])
    estimate_j = (low_j + high_j) / 2
    return Edge(estimate_j, _bound_j(estimate_j, beside, at_s, power))


def power_w(a: Tick, b: Tick) -> float:
    """Mean power between two ticks."""
    return (b.energy_j - a.energy_j) / (b.time_s - a.time_s)


def _bound_j(estimate_j: float, beside: Sequence[Tick], at_s: float, power: Power) -> float:
    low_j, high_j = _common([power.possible(tick, at_s) for tick in beside])
    return max(high_j - estimate_j, estimate_j - low_j, 0.0)


def _common(ranges: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """What all ranges have in common; upside down where that is nothing."""
    return max((low for low, _ in ranges), default=-math.inf), min((high for _, high in ranges), default=math.inf)


def _between(a: Tick, b: Tick, at_s: float, before_w: float | None, after_w: float | None) -> float:
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
