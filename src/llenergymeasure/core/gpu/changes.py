"""The moments at which a value that is read again and again is seen to be another."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple


class Change(NamedTuple):
    """Two successive reads with different values: between the moments, in seconds, it was new at least once."""

    after_s: float
    before_s: float
    old: float
    new: float

    @property
    def time_s(self) -> float:
        """The middle between both reads."""
        return (self.after_s + self.before_s) / 2

    @property
    def width_s(self) -> float:
        """How far from the middle it may have been."""
        return (self.before_s - self.after_s) / 2


def changes_of(reads: Iterable[tuple[float, float, float | None]]) -> Iterator[Change]:
    """The changes that successive reads show.

    Args:
        reads: [n] in the order of time, of whatever unit: seconds before the read and after it, and the value; None
            is a read that failed, which is passed over.
    """
    known = ((before_s, after_s, value) for before_s, after_s, value in reads if value is not None)
    for (earlier_s, _, old), (_, later_s, new) in pairwise(known):
        if old != new:
            yield Change(earlier_s, later_s, old, new)
