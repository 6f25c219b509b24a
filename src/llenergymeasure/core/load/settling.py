"""When a load has come to what it is like: what is in flight neither grows nor falls by more than chance makes it."""

import math
import statistics
from collections import deque
from dataclasses import dataclass, field

# Of what is looked at: two spans of time side by side, each as long as the longest request took, and no shorter than
# this.
_LEAST_SPAN_S = 1.0
# Of the mean in flight, that a difference of two spans has to exceed to be more than chance: the number in flight of
# independent arrivals varies with the square root of its mean (the M/G/infinity queue), and two spans differ by more.
_DEVIATIONS = 2.0
_LEAST_ENDED = 5
# So often it is noted in a span, at the most.
_PER_SPAN = 100


@dataclass
class InFlightCourse:
    """How many requests were in flight, as it is noted again and again, and how long those took that have ended."""

    _times_s: deque[float] = field(default_factory=deque)
    _counts: deque[int] = field(default_factory=deque)
    _took_s: deque[float] = field(default_factory=lambda: deque(maxlen=200))

    def note(self, time_s: float, n: int) -> None:
        """So many at this time, in monotonic seconds; what is too old to be looked at, or too near, is forgotten."""
        if self._times_s and time_s - self._times_s[-1] < self._span_s() / _PER_SPAN:
            return
        self._times_s.append(time_s)
        self._counts.append(n)
        while self._times_s and self._times_s[0] < time_s - 2 * self._span_s() - 1.0:
            self._times_s.popleft()
            self._counts.popleft()

    def ended(self, took_s: float | None) -> None:
        """A request has ended that took so long; None where nobody knows."""
        if took_s is not None:
            self._took_s.append(took_s)

    def has_settled(self, oldest_s: float = 0.0) -> bool:
        """Whether the last two spans are there, and as many were in flight in the one as in the other.

        Args:
            oldest_s: how long the oldest request in flight has been so; where that is longer than any took that has
                ended, it is not known yet how long requests take.
        """
        span_s = self._span_s()
        if oldest_s > span_s:
            return False
        if len(self._took_s) < _LEAST_ENDED or self._times_s[-1] - self._times_s[0] < 2 * span_s:
            return False
        now_s = self._times_s[-1]
        before, after = [], []
        for time_s, n in zip(self._times_s, self._counts, strict=True):
            if time_s > now_s - span_s:
                after.append(n)
            elif time_s > now_s - 2 * span_s:
                before.append(n)
        if not before or not after:
            return False
        first, last = statistics.fmean(before), statistics.fmean(after)
        return abs(last - first) <= _DEVIATIONS * math.sqrt(max(first, 1.0))

    def _span_s(self) -> float:
        return max(max(self._took_s, default=0.0), _LEAST_SPAN_S)
