"""Whether runs of two configurations differ, by how much, and how many more runs would tell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from llenergymeasure.results.statistics import (
    LEAST_RUNS,
    SIGNIFICANCE,
    LogMean,
    exponentials,
    log_mean,
    logs,
    runs,
    t_quantile,
)

Verdict = Literal["different", "equivalent", "inconclusive"]
Method = Literal["welch", "paired", "exact", "stratified"]
_Numbers = npt.NDArray[np.float64]

# Why what comes out the same each time has no interval.
NO_SAMPLE = "the same comes out each time, so that runs are no sample"
# What two configurations may differ by and still be called equivalent, a fraction.
MARGIN = 0.01
# How sure a plan is to find what is there; the usual one (Cohen, Statistical Power Analysis, 1988).
POWER = 0.8
# Nobody makes more, and a plan of more is none.
MOST_RUNS = 1000
# Standard errors beyond which a difference is seen in any case.
_MOST_SHIFT = 35.0
# Of runs that scatter more nothing is to be planned.
_MOST_CV = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ratio:
    """How many times the second the first is, of geometric means, with the ends of its 95 % interval.

    ``n`` are the runs of each, of pairs their number twice. ``scatters`` are the standard deviations of ln y in each,
    of pairs that of the differences alone. Where there is no interval ``why_no_interval`` says why, and ``log`` and
    ``scatters`` are absent. Of an ``exact`` one they are absent too, and its ends are the smallest and the largest that
    any two runs give. ``notes`` are what has to be known of how it was come to.
    """

    value: float
    low: float | None = None
    high: float | None = None
    method: Method
    n: tuple[int, int]
    log: LogMean | None = None
    scatters: tuple[float, ...] = ()
    why_no_interval: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What a ratio says. ``p`` is against no difference, by Holm over the family; None where there is no interval.

    An inconclusive one has a ``reason``. ``n_needed`` is how many runs of each would decide it with a probability of
    80 %, if ratio and scatter stay what they are; None where no number up to 1,000 would.
    """

    verdict: Verdict
    p: float | None = None
    reason: str | None = None
    n_needed: int | None = None


def unpaired(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """The ratio of [n] and [m] runs that have nothing to do with each other, by Welch's t on ln y.

    Degrees of freedom by Welch (Biometrika 34, 1947) and Satterthwaite (Biometrics 2:6, 1946).

    Raises:
        ValueError: one has no runs, or a value is no finite number above zero.
    """
    a, b = logs(first), logs(second)
    n = (a.size, b.size)
    if not all(n):
        raise ValueError("a ratio takes runs of both")
    centre = float(a.mean() - b.mean())
    if min(n) < LEAST_RUNS:
        return without_interval(centre, "welch", n, f"{runs(n[0])} and {runs(n[1])}")
    squares = (float(a.var(ddof=1)) / n[0], float(b.var(ddof=1)) / n[1])
    df = satterthwaite_df(squares, (n[0] - 1, n[1] - 1))
    log = LogMean(centre=centre, error=math.sqrt(sum(squares)), df=df)
    return ratio_with_interval(log, "welch", n, (float(a.std(ddof=1)), float(b.std(ddof=1))))


def paired(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """The ratio of [n] pairs of runs of the same block: ``exp(mean d +- t s / sqrt(n))`` with d = ln a - ln b.

    Raises:
        ValueError: there are none, the lengths differ, or a value is no finite number above zero.
    """
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} runs make no pairs")
    d = logs(first) - logs(second)
    n = (d.size, d.size)
    if not d.size:
        raise ValueError("a ratio takes pairs")
    if d.size < LEAST_RUNS:
        noun = "pair" if d.size == 1 else "pairs"
        return without_interval(float(d.mean()), "paired", n, f"{d.size} {noun}")
    return ratio_with_interval(log_mean(d), "paired", n, (float(d.std(ddof=1)),))


def exact(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """The ratio of [n] and [m] runs of what comes out the same each time, but for rounding.

    Their scatter would make an interval of nothing, which any number of repeats made surer; what is not the same after
    all widens the ends instead.

    Raises:
        ValueError: one has no runs, or a value is no finite number above zero.
    """
    a, b = logs(first), logs(second)
    if not (a.size and b.size):
        raise ValueError("a ratio takes runs of both")
    least, most = _value(float(a.min() - b.max())), _value(float(a.max() - b.min()))
    value = _value(float(a.mean() - b.mean()))
    return Ratio(value=value, low=min(least, value), high=max(most, value), method="exact", n=(a.size, b.size))


def satterthwaite_df(squares: tuple[float, float], dfs: tuple[int, int]) -> float:
    """Degrees of freedom of the sum of two squared standard errors; the lesser of theirs where neither scatters."""
    if not any(squares):
        return min(dfs)
    # As shares, so that nothing underflows.
    shares = [square / sum(squares) for square in squares]
    return 1 / sum(share * share / df for share, df in zip(shares, dfs, strict=True))


def _value(centre: float) -> float:
    ends = exponentials((centre, centre))
    if ends is None:
        raise ValueError("the two are further apart than numbers reach")
    return ends[0]


def without_interval(centre: float, method: Method, n: tuple[int, int], there: str) -> Ratio:
    """A ratio of too few runs; ``there`` says how many, in words.

    Raises:
        ValueError: it is beyond all numbers.
    """
    each = "pairs" if method == "paired" else "runs of each"
    why = f"{there}; an interval takes {LEAST_RUNS} {each}"
    return Ratio(value=_value(centre), method=method, n=n, why_no_interval=why)


def ratio_with_interval(log: LogMean, method: Method, n: tuple[int, int], scatters: tuple[float, ...]) -> Ratio:
    """A ratio with its t interval, unless that is beyond all numbers."""
    ends = exponentials(log.interval())
    if ends is None:
        why = "the runs scatter beyond all numbers"
        return Ratio(value=_value(log.centre), method=method, n=n, why_no_interval=why)
    return Ratio(value=_value(log.centre), low=ends[0], high=ends[1], method=method, n=n, log=log, scatters=scatters)


def holm(p_values: Sequence[float]) -> list[float]:
    """[n] p values of one family, each as large as it has to be for all of them (Holm, Scand. J. Statist. 6:2, 1979).

    Raises:
        ValueError: one is no probability.
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"these are no p values: {list(p_values)}")
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def judged(ratios: Sequence[Ratio], margin: float = MARGIN, *, plans: bool = True) -> list[Judgement]:
    """What [n] ratios of one family say, such as all rows of a study against one.

    *different*: the interval excludes 1 and the ratio exceeds the margin, up or down (1 + margin, 1 / (1 + margin));
    *equivalent*: the whole interval lies inside the margin; else *inconclusive*. In a family of several both are held
    to Holm's p. An exact ratio is judged by its ends, and in no family.

    Args:
        ratios: the family.
        margin: what is too little to matter, a fraction.
        plans: whether to say how many runs would decide what is not, which takes longer than all the rest.

    Raises:
        ValueError: the margin is none between 0 and 1.
    """
    if not 0 < margin < 1:
        raise ValueError(f"a margin is a fraction above 0 and below 1, not {margin:g}")
    known = [ratio.log for ratio in ratios if ratio.log is not None]
    width = math.log1p(margin)
    different = iter(holm([log.p_value() for log in known]))
    equivalent = iter(holm([_p_outside(log, width) for log in known]))
    return [
        _without_chance(ratio, margin)
        if ratio.log is None
        else _judgement(ratio, ratio.log, margin, (next(different), next(equivalent)), len(known), plans=plans)
        for ratio in ratios
    ]


def _without_chance(ratio: Ratio, margin: float) -> Judgement:
    """What a ratio says that has no interval of chance."""
    if ratio.low is None or ratio.high is None:
        return Judgement(verdict="inconclusive", reason=ratio.why_no_interval)
    if ratio.low > 1 + margin or ratio.high < 1 / (1 + margin):
        return Judgement(verdict="different")
    if ratio.low >= 1 / (1 + margin) and ratio.high <= 1 + margin:
        return Judgement(verdict="equivalent")
    why = f"runs of one configuration did not come out the same, and {100 * margin:g} % lies between them"
    return Judgement(verdict="inconclusive", reason=why)


def _p_outside(log: LogMean, width: float) -> float:
    """The p against the true ratio being outside the margin: of both one-sided tests the worse one, doubled.

    Doubled, because the interval inside the margin is one of 95 %, where two one-sided tests would do with 90 %.
    """
    mirrored = LogMean(centre=-log.centre, error=log.error, df=log.df)
    return min(1.0, 2 * max(log.p_below(width), mirrored.p_below(width)))


def _judgement(
    ratio: Ratio, log: LogMean, margin: float, p: tuple[float, float], n_family: int, *, plans: bool
) -> Judgement:
    different_p, equivalent_p = p
    exceeds = abs(log.centre) > math.log1p(margin)
    if exceeds and different_p < SIGNIFICANCE:
        return Judgement(verdict="different", p=different_p)
    if equivalent_p < SIGNIFICANCE:
        return Judgement(verdict="equivalent", p=different_p)
    why = _why_open(log, margin, exceeds, n_family)
    n_needed = runs_needed(ratio, margin, n_family) if plans else None
    return Judgement(verdict="inconclusive", p=different_p, reason=why, n_needed=n_needed)


def _why_open(log: LogMean, margin: float, exceeds: bool, n_family: int) -> str:
    by_chance = f"of {n_family} comparisons one may look so by chance (Holm)"
    if _p_outside(log, math.log1p(margin)) < SIGNIFICANCE:
        return f"the interval lies within {100 * margin:g} %, and {by_chance}"
    if log.p_value() >= SIGNIFICANCE:
        return f"the interval holds 1 and reaches beyond {100 * margin:g} %"
    if exceeds:
        return f"the interval excludes 1, and {by_chance}"
    return f"the interval excludes 1, and whether the difference is within {100 * margin:g} % is open"


def runs_needed(ratio: Ratio, margin: float = MARGIN, n_family: int = 1) -> int | None:
    """How many runs of each, or pairs, would decide with a probability of 80 %, if ratio and scatter are the true ones.

    A ratio beyond the margin would be shown to be different, one inside it to be equivalent, by noncentral t
    distributions. For a family the level of each is divided by its size, which is enough for Holm.

    Returns:
        The number, more than there are; None where none up to 1,000 would, as for a ratio at the margin itself, or
        nothing is known of the scatter.
    """
    from scipy import special

    if ratio.log is None or not any(ratio.scatters):
        return None
    largest = max(ratio.scatters)
    # As shares, so that nothing underflows.
    shares = [(scatter / largest) ** 2 for scatter in ratio.scatters]
    n: _Numbers = np.arange(min(ratio.n) + 1, MOST_RUNS + 1, dtype=np.float64)
    error: _Numbers = largest * np.sqrt(sum(shares) / n)
    df: _Numbers = (n - 1) * sum(shares) ** 2 / sum(share * share for share in shares)
    t = np.asarray(special.stdtrit(df, 1 - SIGNIFICANCE / n_family / 2), dtype=np.float64)
    beyond, width = abs(ratio.log.centre), math.log1p(margin)
    if beyond > width:
        chance: _Numbers = np.minimum(_above(t, df, beyond / error), special.ndtr((beyond - width) / error))
    else:
        chance = np.add(_above(t, df, (width - beyond) / error), _above(t, df, (width + beyond) / error)) - 1
    enough = np.flatnonzero(chance >= POWER)
    return int(n[enough[0]]) if enough.size else None


def _above(t: _Numbers, df: _Numbers, shift: _Numbers) -> _Numbers:
    """The probability that a noncentral t is above t, element by element."""
    from scipy import special

    # Beyond it is certain, and the series behind the function may give up.
    return np.subtract(1, special.nctdtr(df, np.minimum(shift, _MOST_SHIFT), t), dtype=np.float64)


def detectable_factor(n: int) -> float:
    """The smallest difference of two means that n runs of each show with 80 %, in standard deviations.

    By the noncentral t of a two-sided test at 5 %: 3.07 for 3 runs of each, 1.32 for 10.

    Raises:
        ValueError: fewer than three runs.
    """
    from scipy import special

    if n < LEAST_RUNS:
        raise ValueError(f"{runs(n)} of each can show nothing; {LEAST_RUNS} are the least")
    df = 2 * n - 2
    return float(special.nctdtrinc(df, 1 - POWER, t_quantile(df, 1 - SIGNIFICANCE / 2)) * math.sqrt(2 / n))


def smallest_detectable_pct(cv: float, n: int) -> float:
    """The smallest difference in percent that n runs of each show with 80 %, before a study: about k x CV.

    Args:
        cv: scatter of the runs, a fraction; in ln y that is sqrt(ln(1 + cv^2)).
        n: runs of each.

    Raises:
        ValueError: fewer than three runs, or a CV that is none.
    """
    if not 0 <= cv <= _MOST_CV:
        raise ValueError(f"a CV is a fraction from 0 to {_MOST_CV:g}, not {cv:g}")
    return 100 * math.expm1(detectable_factor(n) * math.sqrt(math.log1p(cv * cv)))
