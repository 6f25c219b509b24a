"""Two configurations beside each other: ratio, verdict, and how many more runs would tell."""

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llenergymeasure.results.ratios import (
    Ratio,
    detectable_factor,
    holm,
    judged,
    paired,
    runs_needed,
    smallest_detectable_pct,
    unpaired,
)

POSITIVE = st.floats(1e-3, 1e6)
RUNS = st.lists(POSITIVE, min_size=3, max_size=10)


def ends(found: Ratio) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def exp(*logarithms: float) -> list[float]:
    return [math.exp(x) for x in logarithms]


def around(centre: float, scatter: float, n: int) -> list[float]:
    """[n] runs whose logarithms have this mean and this standard deviation, to the last bits."""
    z = np.arange(n) - (n - 1) / 2
    return np.exp(centre + scatter * z / z.std(ddof=1)).tolist()  # type: ignore[no-any-return]


def test_two_times_three_runs_by_hand() -> None:
    # Means 1 and 2, variances 1: the difference -1 has a standard error of sqrt(1/3 + 1/3) = 0.8165 and, variances and
    # numbers being equal, 4 degrees of freedom: -1 +- 2.776 x 0.8165 = -3.2666 and 1.2666.
    found = unpaired(exp(0, 1, 2), exp(1, 2, 3))
    assert found.value == pytest.approx(math.exp(-1))
    assert ends(found) == pytest.approx((math.exp(-3.2666), math.exp(1.2666)), rel=1e-3)
    assert (found.method, found.n) == ("welch", (3, 3))
    assert found.scatters == pytest.approx((1, 1))


def test_degrees_of_freedom_of_unequal_scatter_by_hand() -> None:
    # Variances 1 and 4, three runs each: (1/3 + 4/3)^2 / ((1/9 + 16/9) / 2) = (25/9) / (17/18) = 50/17.
    found = unpaired(exp(0, 1, 2), exp(0, 2, 4))
    assert found.log is not None
    assert found.log.df == pytest.approx(50 / 17)


def test_three_pairs_by_hand() -> None:
    # Differences 0, 1, 2: mean 1, s 1, 1 +- 4.303 / sqrt(3) = -1.4843 and 3.4843, however the blocks differ.
    found = paired(exp(5, 1, 12), exp(5, 0, 10))
    assert found.value == pytest.approx(math.e)
    assert ends(found) == pytest.approx((math.exp(-1.4843), math.exp(3.4843)), rel=1e-3)
    assert found.method == "paired"


@given(RUNS, RUNS)
def test_it_is_welchs_test_as_others_have_it(first: list[float], second: list[float]) -> None:
    found = unpaired(first, second)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        theirs = stats.ttest_ind(np.log(first), np.log(second), equal_var=False)
        low, high = theirs.confidence_interval(0.95)
    if not math.isfinite(theirs.pvalue) or max(np.std(np.log(first)), np.std(np.log(second))) < 1e-6:
        return
    assert found.log is not None
    assert found.log.p_value() == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    assert ends(found) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-6)


@given(RUNS, RUNS)
def test_turning_the_two_around_inverts_the_ratio(first: list[float], second: list[float]) -> None:
    one, other = unpaired(first, second), unpaired(second, first)
    assert other.value == pytest.approx(1 / one.value)
    assert ends(other) == pytest.approx((1 / ends(one)[1], 1 / ends(one)[0]))
    assert judged([one])[0].verdict == judged([other])[0].verdict


@given(RUNS, st.floats(1e-3, 1e3))
def test_pairs_take_off_what_both_runs_of_a_block_have_in_common(runs: list[float], factor: float) -> None:
    found = paired([factor * value for value in runs], runs)
    assert found.value == pytest.approx(factor)
    assert ends(found) == pytest.approx((factor, factor))


@pytest.mark.parametrize(("first", "second"), [([2.0], [1.0]), ([2.0, 2.0], [1.0] * 9), ([2.0] * 9, [1.0])])
def test_below_three_runs_of_either_there_is_a_ratio_and_no_interval(first: list[float], second: list[float]) -> None:
    found = unpaired(first, second)
    assert found.value == pytest.approx(2)
    assert (found.low, found.high) == (None, None)
    (said,) = judged([found])
    assert (said.verdict, said.p, said.n_needed) == ("inconclusive", None, None)
    assert said.reason is not None
    assert "an interval takes 3 runs of each" in said.reason


def test_two_pairs_have_no_interval() -> None:
    assert paired([2.0, 4.0], [1.0, 2.0]).why_no_interval == "2 pairs; an interval takes 3 pairs"


def test_what_makes_no_ratio_is_an_error() -> None:
    with pytest.raises(ValueError, match="runs of both"):
        unpaired([], [1.0])
    with pytest.raises(ValueError, match="takes pairs"):
        paired([], [])
    with pytest.raises(ValueError, match="2 and 3 runs make no pairs"):
        paired([1.0, 2.0], [1.0, 2.0, 3.0])
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="above zero"):
            unpaired([1.0, 1.0, bad], [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="further apart than numbers reach"):
        unpaired([1e300], [1e-300])


def test_holm_by_hand() -> None:
    # In order 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    with pytest.raises(ValueError, match="no p values"):
        holm([0.5, math.nan])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lowers_nothing(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= q <= 1 for p, q in zip(p_values, adjusted, strict=True))
    in_order = [q for _, q in sorted(zip(p_values, adjusted, strict=True))]
    assert in_order == sorted(in_order)
    assert min(adjusted) == min(1.0, len(p_values) * min(p_values))


@pytest.mark.parametrize(
    ("ratio", "scatter", "n", "verdict"),
    [
        # Five runs each: the half width is 2.306 x scatter x sqrt(2 / 5) = 1.458 scatter.
        (1.05, 0.01, 5, "different"),  # +- 1.5 %
        (0.95, 0.01, 5, "different"),
        (1.05, 0.05, 5, "inconclusive"),  # +- 7.3 %
        (1.0, 0.005, 5, "equivalent"),  # +- 0.73 %
        (1.004, 0.004, 5, "equivalent"),  # 0.998 to 1.0099
        (1.006, 0.004, 5, "inconclusive"),  # 1.0001 to 1.0119: a difference, and whether it matters is open
        (1.012, 0.001, 5, "different"),
        (1.009, 0.004, 5, "inconclusive"),
        (1.0, 0.1, 5, "inconclusive"),
    ],
)
def test_the_three_verdicts(ratio: float, scatter: float, n: int, verdict: str) -> None:
    found = unpaired(around(math.log(ratio), scatter, n), around(0.0, scatter, n))
    (said,) = judged([found])
    assert said.verdict == verdict
    assert (said.reason is None) == (verdict != "inconclusive")


def test_a_wider_margin_makes_equivalent_what_differs_by_less() -> None:
    found = unpaired(around(math.log(1.02), 0.002, 5), around(0.0, 0.002, 5))
    assert [judged([found], margin)[0].verdict for margin in (0.01, 0.05)] == ["different", "equivalent"]
    for margin in (0.0, 1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="a margin is a fraction"):
            judged([found], margin)


def test_values_without_scatter_are_judged_by_themselves() -> None:
    same, more = unpaired([5.0] * 3, [5.0] * 3), unpaired([6.0] * 3, [5.0] * 3)
    assert [j.verdict for j in judged([same, more])] == ["equivalent", "different"]
    assert ends(more) == pytest.approx((1.2, 1.2))


def test_in_a_family_what_chance_brings_is_not_taken_for_a_difference() -> None:
    # t = 2.5 with 8 degrees of freedom: p is between 0.05 (2.306) and 0.02 (2.896), alone and not among ten.
    scatter, n = 0.02, 5
    one = unpaired(around(2.5 * scatter * math.sqrt(2 / n), scatter, n), around(0.0, scatter, n))
    other = unpaired(around(0.0, scatter, n), around(0.0, scatter, n))
    assert judged([one])[0].verdict == "different"
    among = judged([one, *[other] * 9])[0]
    assert among.verdict == "inconclusive"
    assert among.p is not None
    assert 0.2 < among.p < 0.5
    assert among.reason == "the interval excludes 1, and of 10 comparisons one may look so by chance (Holm)"
    # One without an interval is no member of the family.
    assert judged([one, unpaired([1.0], [1.0])])[0].verdict == "different"


def test_in_a_family_equivalence_takes_more_too() -> None:
    one = unpaired(around(0.0, 0.0065, 5), around(0.0, 0.0065, 5))  # +- 0.95 %
    other = unpaired(around(0.0, 0.1, 5), around(0.0, 0.1, 5))
    assert judged([one])[0].verdict == "equivalent"
    among = judged([one, other])[0]
    assert among.verdict == "inconclusive"
    assert among.reason is not None
    assert among.reason.startswith("the interval lies within 1 %, and of 2 comparisons")


@pytest.mark.parametrize(("n", "factor"), [(3, 3.07), (5, 2.02), (10, 1.32), (20, 0.91), (30, 0.74)])
def test_the_smallest_difference_that_so_many_runs_show(n: int, factor: float) -> None:
    # The last figures are cut in the table of the method: 1.325 is 1.32 there.
    assert detectable_factor(n) == pytest.approx(factor, abs=0.006)
    # For a small CV it is k x CV.
    assert smallest_detectable_pct(0.001, n) == pytest.approx(0.1 * factor, rel=0.01)


def test_a_detectable_difference_is_detected_in_four_of_five_studies() -> None:
    n, cv = 5, 0.02
    shift = math.log1p(smallest_detectable_pct(cv, n) / 100)
    rng = np.random.default_rng(5)
    sigma = math.sqrt(math.log1p(cv * cv))
    sets = np.exp(rng.normal(0, sigma, size=(4000, 2, n)) + np.array([[shift], [0.0]]))
    ratios = [unpaired(a, b) for a, b in sets.tolist()]
    # Welch's test has a little less power than the one that knows that both scatter alike.
    assert np.mean([not holds_one(ratio) for ratio in ratios]) == pytest.approx(0.79, abs=0.02)


def holds_one(ratio: Ratio) -> bool:
    low, high = ends(ratio)
    return low <= 1 <= high


def test_what_plans_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 runs of each can show nothing"):
        detectable_factor(2)
    for cv in (-0.1, math.nan, math.inf, 1e200):
        with pytest.raises(ValueError, match="a CV is a fraction"):
            smallest_detectable_pct(cv, 5)


def test_so_many_runs_show_a_difference_as_tables_have_it() -> None:
    # d = 1 (a difference of one standard deviation) takes 17 of each for 80 % (Cohen 1988, table 2.4.1).
    found = unpaired(around(0.05, 0.05, 3), around(0.0, 0.05, 3))
    assert runs_needed(found) == 17
    assert judged([found])[0].n_needed == 17


def test_verdicts_are_the_same_where_nothing_is_planned() -> None:
    family = [unpaired(around(apart, 0.05, 3), around(0.0, 0.05, 3)) for apart in (0.05, 0.5, 0.0)]
    planned, plain = judged(family), judged(family, plans=False)
    assert [each.n_needed for each in plain] == [None] * 3
    assert planned[0].n_needed is not None
    assert [replace(each, n_needed=None) for each in planned] == plain


def test_a_family_takes_more_runs() -> None:
    found = unpaired(around(0.05, 0.05, 3), around(0.0, 0.05, 3))
    assert 17 < (runs_needed(found, n_family=5) or 0) < 40


def test_so_many_runs_do_decide_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(8)
    for ratio, verdict in ((1.015, "different"), (1.002, "equivalent")):
        found = unpaired(around(math.log(ratio), 0.02, 4), around(0.0, 0.02, 4))
        n = runs_needed(found)
        assert n is not None
        sets = np.exp(rng.normal(0, 0.02, size=(1500, 2, n)) + np.array([[math.log(ratio)], [0.0]]))
        said = [judged([unpaired(a, b)])[0].verdict for a, b in sets.tolist()]
        assert np.mean([each == verdict for each in said]) == pytest.approx(0.8, abs=0.04)


def test_no_number_of_runs_decides_what_lies_on_the_margin() -> None:
    assert runs_needed(unpaired(around(math.log(1.01), 0.02, 5), around(0.0, 0.02, 5))) is None
    assert runs_needed(unpaired([1.0], [2.0])) is None


def test_pairs_need_as_many_as_their_differences_scatter() -> None:
    # One sample, d = 1: 10 pairs for 80 % (Cohen 1988, by n = 2 x 5).
    block = around(0.0, 3.0, 4)
    found = paired([b * v for b, v in zip(block, around(0.05, 0.05, 4), strict=True)], block)
    assert runs_needed(found) == 10


def test_randomised_blocks_withstand_a_drift_and_an_order_one_after_the_other_does_not() -> None:
    rng = np.random.default_rng(13)
    n_studies, n_kinds, n_blocks = 4000, 8, 8
    drift = 0.03 * np.arange(n_kinds * n_blocks) / (n_kinds * n_blocks - 1)
    noise = rng.normal(0, 0.005, size=(n_studies, n_blocks, n_kinds))
    # [study, block, configuration]: when in its block each was run.
    place = rng.random((n_studies, n_blocks, n_kinds)).argsort(axis=2)
    in_blocks = np.exp(noise + drift.reshape(n_blocks, n_kinds)[np.arange(n_blocks)[:, None], place])
    false = [not holds_one(paired(study[:, 0], study[:, 7])) for study in in_blocks]
    assert np.mean(false) <= 0.06
    assert np.mean(false) >= 0.03
    one_after_the_other = np.exp(noise[:500] + drift.reshape(n_kinds, n_blocks).T)
    wrong = [not holds_one(unpaired(study[:, 0], study[:, 7])) for study in one_after_the_other]
    assert np.mean(wrong) > 0.99


def test_launches_are_the_runs_and_not_what_is_repeated_within_them() -> None:
    # Two like configurations of 5 launches with 10 values each; launches scatter as values within them do.
    rng = np.random.default_rng(41)
    launches = rng.normal(0, 0.02, size=(4000, 2, 5, 1))
    values = np.exp(launches + rng.normal(0, 0.02, size=(4000, 2, 5, 10)))
    means = values.mean(axis=3)
    by_launch = [not holds_one(unpaired(a, b)) for a, b in means]
    pooled = [not holds_one(unpaired(a.ravel(), b.ravel())) for a, b in values]
    assert np.mean(by_launch) == pytest.approx(0.05, abs=0.015)
    assert np.mean(pooled) == pytest.approx(0.41, abs=0.05)
