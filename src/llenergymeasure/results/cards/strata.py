"""The ratio of two configurations within cards, where their runs are in no pairs.

scipy has no such estimate. That of statsmodels (``stats.meta_analysis.combine_effects``) takes the scatter within each
card for known, which of two or three runs makes intervals far too narrow; a mixed model needs many cards. So it is
worked out here, from scatter that all cards share.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from llenergymeasure.results.ratios import (
    Ratio,
    paired,
    ratio_with_interval,
    satterthwaite_df,
    unpaired,
    without_interval,
)
from llenergymeasure.results.statistics import LEAST_RUNS, SIGNIFICANCE, LogMean, logs

CONFOUNDED = (
    "confounded with the card: no card has runs of both, so what the cards differ by cannot be told from what the "
    "configurations differ by"
)
# Degrees of freedom of an estimate of scatter, as three runs of one card have.
_LEAST_DF = LEAST_RUNS - 1
_Numbers = npt.NDArray[np.float64]
Runs = Sequence[tuple[Hashable, float]]


class ConfoundedError(ValueError):
    """No card has runs of both configurations."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__(CONFOUNDED)


@dataclass(frozen=True)
class _Side:
    """The runs of a configuration: [n] logarithms and the [n] numbers of their cards, of [cards]."""

    y: _Numbers
    card: npt.NDArray[np.int_]
    n_cards: int

    @property
    def n(self) -> npt.NDArray[np.int_]:
        """[cards] how many runs each card has."""
        return np.bincount(self.card, minlength=self.n_cards)

    @property
    def means(self) -> _Numbers:
        """[cards] means; of a card without runs nothing that counts."""
        return np.bincount(self.card, self.y, self.n_cards) / np.maximum(self.n, 1)

    @property
    def squares(self) -> float:
        """The sum of squares within cards."""
        return float(np.square(self.y - self.means[self.card]).sum())

    @property
    def df(self) -> int:
        """Degrees of freedom of that sum."""
        return self.y.size - int((self.n > 0).sum())


def within_cards(first: Runs, second: Runs) -> Ratio:
    """How many times the second the first is, worked out within each card and combined by inverse variance.

    On each card that has runs of both the difference of the means of ln y is taken. The scatter of a configuration is
    that within cards, over all of its cards; where that leaves less than two degrees of freedom for one of them, it is
    that of both. Differences are weighted by one over their squared errors, and the degrees of freedom are
    Satterthwaite's (Biometrics 2:6, 1946). Of one card this is Welch's t. Of cards with one run of each there is no
    scatter within, and the differences of three and more are a sample of their own.

    Args:
        first: [n] runs, each with its card and its value.
        second: [m] runs.

    Raises:
        ConfoundedError: no card has runs of both.
        ValueError: one has no runs, or a value is no finite number above zero.
    """
    known = {card: place for place, card in enumerate(dict.fromkeys(card for card, _ in (*first, *second)))}
    if len(known) <= 1:
        return unpaired([value for _, value in first], [value for _, value in second])
    a, b = (_side(runs, known) for runs in (first, second))
    common = (a.n > 0) & (b.n > 0)
    if not common.any():
        raise ConfoundedError
    n = (int(a.n[common].sum()), int(b.n[common].sum()))
    effects = (a.means - b.means)[common]
    left = a.y.size + b.y.size - sum(n)
    notes = [f"within each of {effects.size} cards"] if effects.size > 1 else ["within the only card that has both"]
    notes += [f"runs on cards without the other, which are not in the ratio: {left}"] if left else []
    found = _combined(effects, a, b, common, n)
    return replace(found, notes=(*notes, *found.notes))


def _side(runs: Runs, known: dict[Hashable, int]) -> _Side:
    card = np.array([known[card] for card, _ in runs], dtype=int)
    return _Side(logs([value for _, value in runs]), card, len(known))


def _combined(effects: _Numbers, a: _Side, b: _Side, common: npt.NDArray[np.bool_], n: tuple[int, int]) -> Ratio:
    """The mean of [common cards] differences, with what is known of their scatter."""
    apart = min(a.df, b.df) >= _LEAST_DF
    variances, dfs = _scatter(a, b) if apart else _scatter_of_both(a, b)
    if min(dfs) < _LEAST_DF:
        return _of_means(effects, n)
    # Of what does not scatter the numbers of runs are the weights.
    of_each = variances if any(variances) else (1.0, 1.0)
    shares = [of / side.n[common] for of, side in zip(of_each, (a, b), strict=True)]
    weights = 1 / (shares[0] + shares[1])
    weights = weights / weights.sum()
    centre = float(weights @ effects)
    squares = [float(np.square(weights) @ (of / side.n[common])) for of, side in zip(variances, (a, b), strict=True)]
    df = satterthwaite_df((squares[0], squares[1]), dfs) if apart else dfs[0]
    log = LogMean(centre=centre, error=math.sqrt(sum(squares)), df=df)
    found = ratio_with_interval(log, "stratified", n, (math.sqrt(variances[0]), math.sqrt(variances[1])))
    return replace(found, notes=_if_they_differ(effects, centre, variances, (a.n[common], b.n[common]), df))


def _scatter(a: _Side, b: _Side) -> tuple[tuple[float, float], tuple[int, int]]:
    """The variance of a run of each within a card, and its degrees of freedom."""
    return (a.squares / a.df, b.squares / b.df), (a.df, b.df)


def _scatter_of_both(a: _Side, b: _Side) -> tuple[tuple[float, float], tuple[int, int]]:
    """The same of both together, taken to be that of each."""
    df = a.df + b.df
    variance = (a.squares + b.squares) / df if df else 0.0
    return (variance, variance), (df, df)


def _of_means(effects: _Numbers, n: tuple[int, int]) -> Ratio:
    """Where cards have a run of each and no more, each is a pair."""
    if effects.size >= LEAST_RUNS:
        found = paired(np.exp(effects).tolist(), [1.0] * effects.size)
        return replace(found, method="stratified", n=n)
    each = "card that has both" if effects.size == 1 else "cards that have both"
    return without_interval(float(effects.mean()), "stratified", n, f"{n[0]} and {n[1]} runs on {effects.size} {each}")


def _if_they_differ(
    effects: _Numbers,
    centre: float,
    variances: tuple[float, float],
    n: tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]],
    df: float,
) -> tuple[str, ...]:
    """A note where cards do not agree on the difference: Cochran's Q over its degrees of freedom, against F."""
    from scipy import special

    errors = variances[0] / n[0] + variances[1] / n[1]
    if effects.size < 2 or not errors.all():  # noqa: PLR2004 - one agrees with itself
        return ()
    q = float((np.square(effects - centre) / errors).sum()) / (effects.size - 1)
    if float(special.fdtrc(effects.size - 1, df, q)) >= SIGNIFICANCE:
        return ()
    low, high = (math.exp(float(end)) for end in (effects.min(), effects.max()))
    return (f"cards do not agree: from x{low:.3f} on one to x{high:.3f} on another, beyond chance",)
