"""Ratios within cards, beside ones worked out by hand and a truth that is known."""

import math

import numpy as np
import pytest
from scipy import stats

from llenergymeasure.results.cards.strata import ConfoundedError, within_cards
from llenergymeasure.results.ratios import judged, unpaired

Logs = list[tuple[str, float]]


def runs(**of_card: list[float]) -> Logs:
    """Runs of each card, by logarithms."""
    return [(card, math.exp(y)) for card, ys in of_card.items() for y in ys]


def test_a_ratio_within_two_cards_by_hand() -> None:
    # Differences of 0.1 and 0.2. Squares within cards: 0.02 + 0.02 of each; of 3 and 2 degrees of freedom, so that
    # variances are 0.04 / 3 and 0.02, and squared errors 0.04 / 6 + 0.01 = 1 / 60 and 0.04 / 9 + 0.01 = 13 / 900.
    first = runs(a=[0.0, 0.2], b=[1.1, 1.2, 1.3])
    second = runs(a=[-0.1, 0.1], b=[0.9, 1.1])
    found = within_cards(first, second)
    weights = (60 / (60 + 900 / 13), (900 / 13) / (60 + 900 / 13))
    centre = 0.1 * weights[0] + 0.2 * weights[1]
    of_first = 0.04 / 3 * (weights[0] ** 2 / 2 + weights[1] ** 2 / 3)
    of_second = 0.02 * (weights[0] ** 2 / 2 + weights[1] ** 2 / 2)
    error2 = 1 / (60 + 900 / 13)
    assert of_first + of_second == pytest.approx(error2)
    df = error2**2 / (of_first**2 / 3 + of_second**2 / 2)
    half = stats.t.ppf(0.975, df) * math.sqrt(error2)
    assert (found.method, found.n) == ("stratified", (5, 4))
    assert found.value == pytest.approx(math.exp(centre))
    assert found.low == pytest.approx(math.exp(centre - half))
    assert found.high == pytest.approx(math.exp(centre + half))
    assert found.notes == ("within each of 2 cards",)


def test_on_one_card_it_is_welchs() -> None:
    first, second = runs(a=[0.0, 0.1, 0.25]), runs(a=[0.3, 0.31, 0.36])
    assert within_cards(first, second) == unpaired([y for _, y in first], [y for _, y in second])


def test_cards_without_the_other_tell_of_the_scatter_alone() -> None:
    # On card a 0.5; the runs of c and d are far away and in no ratio.
    found = within_cards(runs(a=[0.5, 0.52, 0.54], c=[7.0, 7.02]), runs(a=[0.0, 0.02, 0.04], d=[-3.0, -3.02]))
    assert found.value == pytest.approx(math.exp(0.5))
    assert found.n == (3, 3)
    assert found.notes == ("within the only card that has both",
                           "runs on cards without the other, which are not in the ratio: 4")  # fmt: skip
    # Squares of 0.0008 + 0.0002 over 2 + 1 degrees of freedom of each.
    assert found.scatters == pytest.approx((math.sqrt(0.001 / 3),) * 2)


def test_where_one_has_few_runs_on_a_card_the_scatter_is_that_of_both() -> None:
    # Two and one runs of each: one degree of freedom of each, squares of 0.0002 each.
    found = within_cards(runs(a=[0.1, 0.12], b=[1.11]), runs(a=[0.0], b=[1.0, 1.02]))
    assert found.log is not None
    assert found.log.df == 2
    # 0.11 and 0.1, each with half of a run and one.
    assert found.log.centre == pytest.approx(0.105)
    assert found.log.error == pytest.approx(math.sqrt(0.0002 * 1.5 / 2))


def test_cards_with_a_run_of_each_are_a_sample_of_their_own() -> None:
    found = within_cards(runs(a=[0.1], b=[1.2], c=[2.3]), runs(a=[0.0], b=[1.0], c=[2.0]))
    # 0.1, 0.2, 0.3: t(.975, 2) 0.1 / sqrt(3).
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert found.low == pytest.approx(math.exp(0.2 - half))
    assert (found.method, found.n) == ("stratified", (3, 3))
    two = within_cards(runs(a=[0.1], b=[1.2]), runs(a=[0.0], b=[1.0]))
    assert (two.low, two.high) == (None, None)
    assert two.value == pytest.approx(math.exp(0.15))


def test_one_card_each_is_no_comparison() -> None:
    with pytest.raises(ConfoundedError, match="confounded with the card"):
        within_cards(runs(a=[0.0, 0.1, 0.2]), runs(b=[1.0, 1.1, 1.2]))


def test_cards_that_do_not_agree_are_told() -> None:
    found = within_cards(runs(a=[0.0, 0.01, 0.02], b=[0.5, 0.51, 0.52]), runs(a=[0.0, 0.01, 0.02], b=[0, 0.01, 0.02]))
    assert found.notes[1] == "cards do not agree: from x1.000 on one to x1.649 on another, beyond chance"


def test_runs_without_scatter_are_weighted_by_their_numbers() -> None:
    found = within_cards(runs(a=[0.1] * 3, b=[1.2] * 3), runs(a=[0.0] * 3, b=[1.0] * 3))
    assert found.value == pytest.approx(math.exp(0.15))
    assert found.low == pytest.approx(found.high)


def sets(seed: int) -> tuple[Logs, Logs]:
    """The first takes 3 % more, card b 8 % more, and each is mostly on one card; 1 % of scatter."""
    draw = np.random.default_rng(seed).normal(0.0, 0.01, 24)
    first = runs(a=(math.log(1.03) + draw[:10]).tolist(), b=(math.log(1.03 * 1.08) + draw[10:12]).tolist())
    second = runs(a=draw[12:14].tolist(), b=(math.log(1.08) + draw[14:24]).tolist())
    return first, second


def test_within_cards_the_truth_is_covered_where_a_naive_comparison_misses_it() -> None:
    covered, naive, shown, wrong_way = 0, 0, 0, 0
    for seed in range(100):
        first, second = sets(seed)
        found = within_cards(first, second)
        plain = unpaired([y for _, y in first], [y for _, y in second])
        assert found.low is not None
        assert found.high is not None
        assert plain.low is not None
        assert plain.high is not None
        covered += found.low <= 1.03 <= found.high
        naive += plain.low <= 1.03 <= plain.high
        shown += judged([found])[0].verdict == "different"
        wrong_way += plain.value < 1
    # Binomial with 95 of 100: below 90 or above 99 is less than one in a hundred.
    assert 90 <= covered <= 99
    assert naive < 50
    assert shown > 95
    assert wrong_way > 50
