"""A quantity that changes in steps, and its integrals in closed form. The twin of the first half of csrc/physics.c.

Inside, time is a whole number of nanoseconds: refreshes and ticks fall on exact instants, and the C library
gives the same figures to the last digit.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from nvmlsim._windows import Windows

S_PER_NS = 1e-9
# What the library accepts, so that its sums fit into their 128 bits.
_LONGEST_S = 1e8
_SHORTEST_PERIOD_S = 1e-4
_LARGEST = 1e6


def to_ns(seconds: float) -> int:
    """Seconds as whole nanoseconds.

    Raises:
        ValueError: more than the library accepts, about three years.
    """
    if not abs(seconds) <= _LONGEST_S:
        raise ValueError(f"{seconds} s is out of range")
    return math.floor(seconds * 1e9 + 0.5)


def check_period(name: str, seconds: float) -> None:
    """Refuse what the library refuses as a period.

    Raises:
        ValueError: it is shorter than 0.1 ms or longer than about three years.
    """
    if not _SHORTEST_PERIOD_S <= seconds <= _LONGEST_S:
        raise ValueError(f"{name} of {seconds} s is not between {_SHORTEST_PERIOD_S} and {_LONGEST_S:g} s")


@dataclass(frozen=True)
class Trace:
    """A piecewise-constant function of scenario time.

    Before the first step it has the first step's value. With ``repeat``, the steps of one period are repeated
    until the next step after that period, or for ever if there is none.

    Args:
        steps: [n] (time in seconds, value from then on), in any order; the later of two at one time counts.
        repeat: (start, period) in seconds.
    """

    steps: tuple[tuple[float, float], ...]
    repeat: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a trace needs at least one step")
        for time_s, value in self.steps:
            to_ns(time_s)
            if not 0 <= value <= _LARGEST:
                raise ValueError(f"{value} at {time_s} s is not between 0 and a million")
        if self.repeat is not None:
            to_ns(self.repeat[0])
            check_period("a period", self.repeat[1])

    @classmethod
    def constant(cls, value: float) -> Self:
        """The same value for ever."""
        return cls(((0.0, value),))

    @classmethod
    def square(
        cls,
        low: float,
        high: float,
        *,
        period_s: float,
        duty: float = 0.5,
        start_s: float = 0.0,
        stop_s: float | None = None,
    ) -> Self:
        """``low``, and from ``start_s`` to ``stop_s`` a square wave that begins with ``high``.

        Raises:
            ValueError: the wave stops before its first period is over.
        """
        if stop_s is not None and to_ns(stop_s) < to_ns(start_s) + to_ns(period_s):
            raise ValueError(f"a square wave of {period_s} s from {start_s} s cannot stop at {stop_s} s")
        wave = ((start_s - period_s, low), (start_s, high), (start_s + duty * period_s, low))
        return cls(wave if stop_s is None else (*wave, (stop_s, low)), repeat=(start_s, period_s))

    def value(self, t_s: float) -> float:
        """The value at a time."""
        return self._steps.value(to_ns(t_s))

    def integral(self, t0_s: float, t1_s: float) -> float:
        """Value x seconds between two times; negative if t1 is before t0."""
        return self.integral_ns(to_ns(t0_s), to_ns(t1_s))

    def integral_ns(self, t0_ns: int, t1_ns: int) -> float:
        """:meth:`integral` between two times in nanoseconds."""
        return self._steps.integral(t1_ns) - self._steps.integral(t0_ns)

    def seen(self, windows: Windows) -> float:
        """The sum over windows of the integral inside each, in value x seconds."""
        return self._steps.seen(windows)

    @cached_property
    def _steps(self) -> "_Steps":
        return _Steps(self)


class _Steps:
    """Steps in order of time, with what is derived from them.

    ``times_ns[first:last]`` are the steps that repeat, the first of them at the start of the repetition;
    there is always one before it.
    """

    def __init__(self, trace: Trace) -> None:
        self._times_ns: list[int] = []
        self._values: list[float] = []
        self._repeat_ns = self._period_ns = 0
        for time_s, value in sorted(trace.steps, key=lambda step: to_ns(step[0])):
            if self._times_ns and self._times_ns[-1] == to_ns(time_s):
                self._values[-1] = value
            else:
                self._times_ns.append(to_ns(time_s))
                self._values.append(value)
        if trace.repeat is not None:
            self._repeat_ns, self._period_ns = to_ns(trace.repeat[0]), to_ns(trace.repeat[1])
            self._add_the_start_of_the_repetition()
        self._last_seen: tuple[Windows, float] | None = None
        self._integrals = [0.0]
        self._first = self._last = len(self._times_ns)
        self._period_integral = 0.0
        if self._period_ns:
            end_ns = self._repeat_ns + self._period_ns
            self._first = self._index(self._repeat_ns)
            self._last = self._index(end_ns - 1) + 1
            self._integrate(self._last)
            self._period_integral = self._since(self._last - 1, end_ns) - self._integrals[self._first]
        self._integrate(len(self._times_ns))

    def _add_the_start_of_the_repetition(self) -> None:
        if self._times_ns[0] >= self._repeat_ns:
            self._times_ns.insert(0, self._repeat_ns - self._period_ns)
            self._values.insert(0, self._values[0])
        i = self._index(self._repeat_ns)
        if self._times_ns[i] != self._repeat_ns:
            self._times_ns.insert(i + 1, self._repeat_ns)
            self._values.insert(i + 1, self._values[i])

    def _integrate(self, n: int) -> None:
        for i in range(len(self._integrals), n):
            self._integrals.append(self._integral_from_step(i - 1, self._times_ns[i]))

    def _index(self, t_ns: int) -> int:
        return max(bisect_right(self._times_ns, t_ns) - 1, 0)

    def _since(self, i: int, t_ns: int) -> float:
        return self._integrals[i] + self._values[i] * float(t_ns - self._times_ns[i]) * S_PER_NS

    def _is_repeated(self, i: int, t_ns: int) -> bool:
        return self._first <= i < self._last and t_ns >= self._repeat_ns + self._period_ns

    def _integral_from_step(self, i: int, t_ns: int) -> float:
        if not self._is_repeated(i, t_ns):
            return self._since(i, t_ns)
        n, rest_ns = divmod(t_ns - self._repeat_ns, self._period_ns)
        t_ns = self._repeat_ns + rest_ns
        return n * self._period_integral + self._since(self._index(t_ns), t_ns)

    def integral(self, t_ns: int) -> float:
        return self._integral_from_step(self._index(t_ns), t_ns)

    def value(self, t_ns: int) -> float:
        i = self._index(t_ns)
        if self._is_repeated(i, t_ns):
            i = self._index(self._repeat_ns + (t_ns - self._repeat_ns) % self._period_ns)
        return self._values[i]

    def seen(self, windows: Windows) -> float:
        """Remembers the last answer: many reads of a counter fall on one tick."""
        last = self._last_seen
        if last is None or last[0] != windows:
            last = self._last_seen = (windows, self._seen(windows))
        return last[1]

    def _seen(self, windows: Windows) -> float:
        times_ns, n, first, last = self._times_ns, len(self._times_ns), self._first, self._last
        end_ns = windows.end_ns  # nothing is seen after it
        if first == n:
            return self._seen_steps(windows, 0, n, 0, end_ns)
        repeat_end_ns = min(end_ns, times_ns[last]) if last < n else end_ns
        n_periods = max(0, (repeat_end_ns - self._repeat_ns) // self._period_ns)
        total = self._seen_steps(windows, 0, first, 0, min(end_ns, self._repeat_ns))
        for i in range(first, last) if n_periods > 0 else ():
            to_ns = times_ns[i + 1] if i + 1 < last else self._repeat_ns + self._period_ns
            seen_ns = windows.repeated_time_between_ns(times_ns[i], to_ns, self._period_ns, n_periods)
            total += self._values[i] * (seen_ns * S_PER_NS)
        total += self._seen_steps(windows, first, last, n_periods * self._period_ns, repeat_end_ns)
        return total + self._seen_steps(windows, last, n, 0, end_ns)

    def _seen_steps(self, windows: Windows, i: int, last: int, shift_ns: int, end_ns: int) -> float:
        """Value x window time of steps i .. last-1, each shifted; the last of them lasts until end_ns."""
        total = 0.0
        for k in range(i, last):
            from_ns = self._times_ns[k] + shift_ns
            if k == 0:  # the first step's value also holds before it
                from_ns = min(from_ns, windows.begin_ns)
            to_ns = min(end_ns, self._times_ns[k + 1] + shift_ns) if k + 1 < last else end_ns
            if from_ns < to_ns:
                total += self._values[k] * (windows.time_between_ns(from_ns, to_ns) * S_PER_NS)
        return total
