"""How much cards of one kind differ in what is the same on all of them, apart from what configurations differ by."""

import functools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llenergymeasure.results.statistics import CONFIDENCE, exponentials, logs, t_quantile

_Numbers = npt.NDArray[np.float64]
_TWO = 2
# What is left of equal logarithms.
_NOTHING = 1e-12


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of [n] cards the one with the highest figures over the one with the lowest, as a ratio of 1 or more.

    ``low`` to ``high`` is its 95 % interval, which allows for these being the furthest two; a ``low`` below 1 leaves
    open whether they differ at all. ``n_runs`` and ``n_configurations`` are what it is worked out from. Where nothing
    tells cards apart from scatter there is no interval, and ``why_no_interval`` says why.
    """

    value: float
    low: float | None
    high: float | None
    n_cards: int
    n_runs: int
    n_configurations: int
    highest: Hashable
    lowest: Hashable
    why_no_interval: str | None = None


@dataclass(frozen=True)
class _Errors:
    """The squared standard error of the difference of two cards."""

    inverse: _Numbers
    variance: float

    def __call__(self, first: int, last: int) -> float:
        of = self.inverse
        return self.variance * float(of[first, first] + of[last, last] - 2 * of[first, last])


def spread(values: Sequence[float], kinds: Sequence[Hashable], cards: Sequence[Hashable]) -> Spread | None:
    """How much cards differ, by ln y of runs = configuration + card + scatter.

    Least squares; of two cards a t interval, of more Tukey's and Kramer's, by the studentised range.

    Args:
        values: [n] runs of one unit.
        kinds: [n] the configuration of each.
        cards: [n] the card of each.

    Returns:
        None where no configuration was on two cards. Where cards fall apart into groups that have no configuration in
        common, it is of the group with most runs.

    Raises:
        ValueError: the lengths differ, or a value is no finite number above zero.
    """
    y = logs(values)
    kind, card = _places(kinds), _places(cards)
    counts = np.zeros((len(set(kinds)), len(set(cards))))
    np.add.at(counts, (kind, card), 1)
    chosen = _connected(counts)
    if len(chosen) < _TWO:
        return None
    is_in = np.isin(card, chosen)
    renumbered = {old: new for new, old in enumerate(chosen)}
    y, kind = y[is_in], _places(kind[is_in].tolist())
    of = np.array([renumbered[int(each)] for each in card[is_in]])
    effects, errors2, df = _fitted(y, kind, of, len(chosen))
    order = np.argsort(effects)
    first, last = int(order[-1]), int(order[0])
    centre = float(effects[first] - effects[last])
    names = list(dict.fromkeys(cards))
    ends = None
    if df >= 1:
        half = _quantile(len(chosen), df) * math.sqrt(errors2(first, last))
        ends = exponentials((centre - half, centre + half))
    return Spread(
        value=math.exp(centre), low=None if ends is None else ends[0], high=None if ends is None else ends[1],
        n_cards=len(chosen), n_runs=int(y.size), n_configurations=int(kind.max()) + 1,
        highest=names[chosen[first]], lowest=names[chosen[last]],
        why_no_interval=None if ends is not None else "no configuration has two runs on a card, or no two have both",
    )  # fmt: skip


def _places(names: Sequence[Hashable]) -> npt.NDArray[np.int_]:
    known = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names], dtype=int)


def _connected(counts: _Numbers) -> list[int]:
    """The cards of the largest group in which each shares a configuration with another, in their order."""
    left, groups = set(range(counts.shape[1])), list[set[int]]()
    while left:
        group, new = set[int](), {left.pop()}
        while new:
            group |= new
            kinds = np.flatnonzero(counts[:, sorted(group)].sum(axis=1))
            new = set(np.flatnonzero(counts[kinds].sum(axis=0)).tolist()) - group
        left -= group
        groups.append(group)
    # Of a group of one card there is nothing to tell.
    several = [group for group in groups if len(group) > 1]
    n_runs = counts.sum(axis=0)
    return sorted(max(several, key=lambda group: float(n_runs[sorted(group)].sum()), default=set[int]()))


def _fitted(
    y: _Numbers, kind: npt.NDArray[np.int_], card: npt.NDArray[np.int_], n_cards: int
) -> tuple[_Numbers, _Errors, int]:
    """[cards] effects with the mean of each configuration taken off, what their differences may be off by, and df."""
    counts = np.zeros((int(kind.max()) + 1, n_cards))
    np.add.at(counts, (kind, card), 1)
    n_of_kind = counts.sum(axis=1)
    apart = y - (np.bincount(kind, y) / n_of_kind)[kind]
    # The normal equations, without those of configurations.
    matrix = np.diag(counts.sum(axis=0)) - counts.T @ (counts / n_of_kind[:, None])
    inverse = np.asarray(np.linalg.pinv(matrix, hermitian=True), dtype=np.float64)
    right = np.bincount(card, apart, n_cards)
    effects: _Numbers = inverse @ right
    squares = max(float(apart @ apart - effects @ right), 0.0)
    df = y.size - counts.shape[0] - (n_cards - 1)
    if squares <= _NOTHING * max(1.0, float(apart @ apart)):
        squares = 0.0
    return effects, _Errors(inverse, squares / df if df >= 1 else math.nan), df


@functools.lru_cache(maxsize=256)
def _quantile(n_cards: int, df: int) -> float:
    """In standard errors of a difference."""
    if n_cards == _TWO:
        return t_quantile(df, (1 + CONFIDENCE) / 2)
    from scipy import stats

    return float(stats.studentized_range.ppf(CONFIDENCE, n_cards, df)) / math.sqrt(2)
