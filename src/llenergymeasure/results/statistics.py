"""What repeated runs tell. A run, a fresh launch of the engine, is one value; tokens and requests never are.

All is worked out on ln y, because what is asked of two configurations is their ratio. What a sensor is off by each time
to the same side is in no scatter, so it is in no interval here: it stands beside one.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
LEAST_RUNS = 3
# A session that changes by more than this is drifting, where that is no chance.
MOST_DRIFT_PCT = 1.0
SIGNIFICANCE = 1 - CONFIDENCE
# How many outliers are looked for: one in so many runs, and one in any case.
_RUNS_PER_OUTLIER = 10
# What is left of equal logarithms.
_NOTHING = 1e-12
# The greatest x for which e^x is a number of double precision.
_MOST_LOG = math.log(np.finfo(float).max)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogMean:
    """A mean of logarithms, or the difference of two: its standard error, and the degrees of freedom of Student's t."""

    centre: float
    error: float
    df: float

    def interval(self, confidence: float = CONFIDENCE) -> tuple[float, float]:
        """The ends of its t interval, logarithms too."""
        half = t_quantile(self.df, (1 + confidence) / 2) * self.error
        return self.centre - half, self.centre + half

    def p_below(self, limit: float) -> float:
        """One-sided p against the true mean being ``limit`` or more."""
        from scipy import special

        if self.error == 0:
            return 0.0 if self.centre < limit else 1.0
        return float(special.stdtr(self.df, (self.centre - limit) / self.error))

    def p_value(self) -> float:
        """Two-sided p against the true mean being 0, a ratio of 1."""
        from scipy import special

        if self.error == 0:
            return float(self.centre == 0)
        return float(2 * special.stdtr(self.df, -abs(self.centre) / self.error))


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """Runs of one configuration.

    ``value`` is their geometric mean, of a single run its value, and ``low`` to ``high`` the 95 % interval of that
    mean, all in the unit of the values. ``cv`` is the standard deviation over the mean, a fraction. Where there is no
    interval ``why_no_interval`` says why; below three runs there is no CV either.
    """

    n: int
    value: float
    low: float | None = None
    high: float | None = None
    cv: float | None = None
    why_no_interval: str | None = None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How runs changed with time: ``change_pct`` from the first to the last of [n], with its two-sided p.

    ``low_pct`` to ``high_pct`` is its 95 % interval.
    """

    n: int
    change_pct: float
    low_pct: float
    high_pct: float
    session_s: float
    p: float

    @property
    def warns(self) -> bool:
        """Whether it is above 1 % over the session and no chance."""
        return abs(self.change_pct) > MOST_DRIFT_PCT and self.p < SIGNIFICANCE


def t_quantile(df: float, probability: float) -> float:
    """The quantile of Student's t."""
    from scipy import special

    return float(special.stdtrit(df, probability))


def logs(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """[n] natural logarithms.

    Raises:
        ValueError: a value is no finite number above zero; it has no logarithm that means anything.
    """
    array = np.asarray(values, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(array) & (array > 0)))
    if bad.size:
        raise ValueError(
            f"value {int(bad[0]) + 1} of {array.size} is {array[bad[0]]:g}; ratios take finite numbers above zero"
        )
    return np.log(array)


def log_mean(logarithms: npt.NDArray[np.float64]) -> LogMean:
    """The mean of [n] logarithms, two or more."""
    n = logarithms.size
    return LogMean(centre=float(logarithms.mean()), error=float(logarithms.std(ddof=1)) / math.sqrt(n), df=n - 1)


def exponentials(ends: tuple[float, float]) -> tuple[float, float] | None:
    """What two logarithms are of; None where that is beyond all numbers, or nothing."""
    if not -_MOST_LOG < ends[0] <= ends[1] < _MOST_LOG:
        return None
    return math.exp(ends[0]), math.exp(ends[1])


def summary(values: Sequence[float]) -> Summary:
    """Sum up [n] runs of one configuration, each a value in the same unit: ``exp(mean +- t s / sqrt(n))`` of ln y.

    Raises:
        ValueError: there are none, or one is no finite number above zero.
    """
    y = logs(values)
    n = y.size
    if not n:
        raise ValueError("there are no runs to sum up")
    # Of equal values their own, which the way through logarithms would miss by a bit.
    value = float(values[0]) if y.min() == y.max() else math.exp(float(y.mean()))
    if n < LEAST_RUNS:
        return Summary(n=n, value=value, why_no_interval=f"{runs(n)}, and an interval takes {LEAST_RUNS}")
    # Scaled, so that nothing overflows: the ratio of the two stays.
    scaled = np.exp(y - y.max())
    cv = float(scaled.std(ddof=1) / scaled.mean())
    ends = exponentials(log_mean(y).interval())
    if ends is None:
        return Summary(n=n, value=value, cv=cv, why_no_interval="the runs scatter beyond all numbers")
    return Summary(n=n, value=value, low=min(ends[0], value), high=max(ends[1], value), cv=cv)


def runs(n: int) -> str:
    """So many runs, in words."""
    return f"{n} run" if n == 1 else f"{n} runs"


def outliers(values: Sequence[float]) -> tuple[int, ...]:
    """Places of those of [n] runs that lie too far from the others to be of the same scatter; they are never left out.

    The generalised extreme Studentised deviate on ln y at 5 % (Rosner, Technometrics 25:2, 1983; NIST/SEMATECH
    e-Handbook 1.3.5.17.3), for one in ten runs. Below 20 runs that is one, and the test that of Grubbs (Technometrics
    11:1, 1969). Nothing is said of fewer than three.

    Raises:
        ValueError: a value is no finite number above zero.
    """
    left = logs(values)
    n, places = left.size, np.arange(left.size)
    if n < LEAST_RUNS:
        return ()
    taken: list[int] = []
    n_found = 0
    for number in range(max(1, n // _RUNS_PER_OUTLIER)):
        away = np.abs(left - left.mean())
        furthest, scatter = int(away.argmax()), float(left.std(ddof=1))
        if scatter == 0:
            break
        taken.append(int(places[furthest]))
        if away[furthest] / scatter > _most_away(n - number):
            n_found = number + 1
        left, places = np.delete(left, furthest), np.delete(places, furthest)
    return tuple(sorted(taken[:n_found]))


def _longest_s(time_s: npt.NDArray[np.float64], clocks: Sequence[Hashable] | None) -> float:
    """From the first of [n] times to the last, by the clock by which that is longest."""
    of_clock: dict[Hashable, list[float]] = {}
    for time, clock in zip(time_s.tolist(), [None] * time_s.size if clocks is None else clocks, strict=True):
        of_clock.setdefault(clock, []).append(time)
    return max(max(times) - min(times) for times in of_clock.values())


def _most_away(n: int) -> float:
    """How many standard deviations the furthest of [n] normal values is from their mean, in 95 of 100 cases."""
    t = t_quantile(n - 2, 1 - SIGNIFICANCE / (2 * n))
    return (n - 1) * t / math.sqrt(n * (n - 2 + t * t))


def drift(
    values: Sequence[float],
    times_s: Sequence[float],
    kinds: Sequence[Hashable] | None = None,
    clocks: Sequence[Hashable] | None = None,
) -> Drift | None:
    """Whether runs changed with time: the slope of what is left of ln y without each configuration's mean.

    Times are taken without their configuration's mean too, so that an order in which one came after the other neither
    hides a drift nor makes one. So times of several clocks are never subtracted, where each configuration is of one.

    Args:
        values: [n] runs, of one unit.
        times_s: [n] when each was; from any zero.
        kinds: [n] the configuration of each; None is one for all.
        clocks: [n] which clock each time is of; the session is the longest by one of them. None is one for all.

    Returns:
        None where there are too few runs to tell (two more than configurations), or all were at one time.

    Raises:
        ValueError: the lengths differ, or a value is no finite number above zero.
    """
    from scipy import stats

    kinds = [None] * len(values) if kinds is None else kinds
    if not len(values) == len(times_s) == len(kinds):
        raise ValueError(
            f"{len(values)} values, {len(times_s)} times and {len(kinds)} configurations do not go together"
        )
    y, time_s = logs(values), np.asarray(times_s, dtype=np.float64)
    places = {kind: place for place, kind in enumerate(dict.fromkeys(kinds))}
    member = np.array([places[kind] for kind in kinds], dtype=int)
    n, n_kinds = y.size, len(places)
    df = n - n_kinds - 1
    if df < 1:
        return None
    y, apart_s = (x - (np.bincount(member, x) / np.bincount(member))[member] for x in (y, time_s))
    session_s = _longest_s(time_s, clocks)
    # Rounding leaves something of values and of times that are equal.
    if np.abs(y).max() <= _NOTHING:
        y = np.zeros_like(y)
    if np.abs(apart_s).max() <= 1e-9 * max(1.0, session_s):
        return None
    line = stats.linregress(apart_s, y)
    # It has taken off one mean, and there were as many as configurations. Of equal values it knows no error.
    error = float(line.stderr) * math.sqrt((n - 2) / df) if y.any() else 0.0
    change = LogMean(centre=float(line.slope) * session_s, error=error * session_s, df=df)
    low_pct, change_pct, high_pct = (
        100 * math.expm1(min(end, _MOST_LOG / 2)) for end in (change.interval()[0], change.centre, change.interval()[1])
    )
    return Drift(
        n=n, change_pct=change_pct, low_pct=low_pct, high_pct=high_pct, session_s=session_s, p=change.p_value()
    )
