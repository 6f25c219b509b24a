"""How much time the windows of a part-time sensor spend before an instant, in closed form.

The sum of all readings of a sensor would be a loop over its refreshes. It is turned inside out: each stretch of
constant power counts with the time that windows spent inside it. The window time before an instant is a sum of ramps;
its sum over the repetitions of a period is a sum of floors, which Euclid's algorithm gives. The twin of the same
section in csrc/physics.c. All numbers are whole nanoseconds and exact.
"""

from typing import NamedTuple


class _FloorSums(NamedTuple):
    f: int
    kf: int
    ff: int


def _floor_sums(last: int, a: int, b: int, m: int) -> _FloorSums:
    """Sums over k = 0 .. last of f, k f and f^2, where f = floor((a k + b) / m); a, b >= 0, m > 0."""
    n = last + 1
    linear = last * n // 2
    square = last * n * (2 * last + 1) // 6
    qa, qb = a // m, b // m
    if a == 0:
        return _FloorSums(n * qb, linear * qb, n * qb * qb)
    if qa or qb:
        rest = _floor_sums(last, a % m, b % m, m)
        return _FloorSums(
            rest.f + linear * qa + n * qb,
            rest.kf + square * qa + linear * qb,
            rest.ff + qa * qa * square + qb * qb * n + 2 * qa * qb * linear + 2 * qb * rest.f + 2 * qa * rest.kf,
        )
    top = (a * last + b) // m
    if top == 0:
        return _FloorSums(0, 0, 0)
    turned = _floor_sums(top - 1, m, m - b - 1, a)  # rows and columns exchanged
    f = last * top - turned.f
    return _FloorSums(
        f,
        (top * last * n - turned.ff - turned.f) // 2,
        last * top * (top + 1) - 2 * turned.kf - 2 * turned.f - f,
    )


class Windows(NamedTuple):
    """``n`` windows; the first ends at ``first_end_ns``, and each ``update_ns`` after the one before."""

    first_end_ns: int
    update_ns: int
    window_ns: int
    n: int

    @property
    def begin_ns(self) -> int:
        """Where the first window begins."""
        return self.first_end_ns - self.window_ns

    @property
    def end_ns(self) -> int:
        """Where the last window ends."""
        return self.first_end_ns + (self.n - 1) * self.update_ns

    def time_between_ns(self, t0_ns: int, t1_ns: int) -> int:
        """Window time between two instants; overlapping windows count each."""
        return self._time_before_ns(t1_ns) - self._time_before_ns(t0_ns)

    def repeated_time_between_ns(self, t0_ns: int, t1_ns: int, period_ns: int, n: int) -> int:
        """The sum of :meth:`time_between_ns` over t0, t1 shifted by 0 .. n-1 periods."""
        return self._repeated_before_ns(t1_ns, period_ns, n) - self._repeated_before_ns(t0_ns, period_ns, n)

    def _time_before_ns(self, t_ns: int) -> int:
        return self._ramps(t_ns - self.begin_ns) - self._ramps(t_ns - self.first_end_ns)

    def _repeated_before_ns(self, t_ns: int, period_ns: int, n: int) -> int:
        begun = self._repeated_ramps(t_ns - self.begin_ns, period_ns, n)
        return begun - self._repeated_ramps(t_ns - self.first_end_ns, period_ns, n)

    def _ramps(self, x: int) -> int:
        """The sum over j < self.n of max(0, x - j update): window edges passed, weighted by the time since."""
        if x < 0:
            return 0
        n = min(self.n, x // self.update_ns + 1)
        return n * x - self.update_ns * (n * (n - 1) // 2)

    def _repeated_ramps(self, x: int, period: int, n: int) -> int:
        """The sum of ramps(x + k period) over k < n."""
        update = self.update_ns
        before = min(n, -(x // period)) if x < 0 else 0  # no window edge passed yet
        x += before * period
        n -= before
        partly = min(n, max(0, -((x - self.n * update) // period)))  # some edges still ahead
        total = 0
        if partly > 0:
            sums = _floor_sums(partly - 1, period, x, update)
            x_sum = partly * x + period * (partly * (partly - 1) // 2)
            total = x_sum + sums.f * x + sums.kf * period - update * ((sums.ff + sums.f) // 2)
            x += partly * period
            n -= partly
        total += self.n * (n * x + period * (n * (n - 1) // 2))
        return total - n * update * (self.n * (self.n - 1) // 2)
