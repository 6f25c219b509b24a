"""Statistics of repeated runs of one configuration."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from llenergymeasure.results.statistics import Summary, drift, outliers, summary

# Two-sided 95 % quantiles of Student's t as printed: NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
T_TABLE = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 9: 2.262, 29: 2.045}
POSITIVE = st.floats(1e-3, 1e6)
# Rosner's data, as in NIST/SEMATECH e-Handbook 1.3.5.17.3: the generalised ESD test finds the last three.
ROSNER = (
    -0.25, 0.68, 0.94, 1.15, 1.20, 1.26, 1.26, 1.34, 1.38, 1.43, 1.49, 1.49, 1.55, 1.56, 1.58, 1.65, 1.69, 1.70,
    1.76, 1.77, 1.81, 1.91, 1.94, 1.96, 1.99, 2.06, 2.09, 2.10, 2.14, 2.15, 2.23, 2.24, 2.26, 2.35, 2.37, 2.40,
    2.47, 2.54, 2.62, 2.64, 2.90, 2.92, 2.92, 2.93, 3.21, 3.26, 3.30, 3.59, 3.68, 4.30, 4.64, 5.34, 5.42, 6.01,
)  # fmt: skip


def ends(found: Summary) -> tuple[float, float]:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def exp(*logarithms: float) -> list[float]:
    return [math.exp(x) for x in logarithms]


def test_three_runs_whose_logarithms_are_0_1_and_2() -> None:
    # Mean 1, standard deviation 1, so 1 +- 4.303 / sqrt(3) = 1 +- 2.4843: e^-1.4843 and e^3.4843.
    found = summary(exp(0, 1, 2))
    assert found.n == 3
    assert found.value == pytest.approx(math.e)
    assert ends(found) == pytest.approx((0.2266, 32.60), rel=1e-3)


@pytest.mark.parametrize("df", T_TABLE)
def test_the_interval_goes_by_the_printed_table(df: int) -> None:
    # One value 1 above and one 1 below a mean of 0, the rest at it: s^2 = 2 / df.
    n = df + 1
    found = summary(exp(1, -1, *[0.0] * (n - 2)))
    half = T_TABLE[df] * math.sqrt(2 / df) / math.sqrt(n)
    assert found.high == pytest.approx(math.exp(half), rel=1e-3)
    assert found.low == pytest.approx(math.exp(-half), rel=1e-3)


def test_the_coefficient_of_variation_is_of_the_sample() -> None:
    # Mean 10, deviations -1, 0, 1: s = 1.
    assert summary([9.0, 10.0, 11.0]).cv == pytest.approx(0.1)


@pytest.mark.parametrize(("values", "value"), [([4.0], 4.0), ([2.0, 8.0], 4.0)])
def test_below_three_runs_there_is_a_value_and_nothing_else(values: list[float], value: float) -> None:
    found = summary(values)
    assert found.value == pytest.approx(value)
    assert (found.low, found.high, found.cv) == (None, None, None)
    assert found.why_no_interval is not None
    assert "an interval takes 3" in found.why_no_interval


def test_runs_that_do_not_scatter_have_an_interval_of_no_width() -> None:
    found = summary([0.1] * 5)
    assert (found.value, found.cv) == (0.1, 0.0)
    assert ends(found) == pytest.approx((0.1, 0.1))


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf, -math.inf])
def test_what_has_no_logarithm_is_an_error_with_its_place(bad: float) -> None:
    for work in (summary, outliers, lambda values: drift(values, [0.0, 1.0, 2.0])):
        with pytest.raises(ValueError, match=r"value 2 of 3 is .*; ratios take finite numbers above zero"):
            work([1.0, bad, 2.0])
    with pytest.raises(ValueError, match="no runs"):
        summary([])


def test_an_interval_beyond_all_numbers_is_none_with_a_reason() -> None:
    found = summary([1e-300, 1.0, 1e300])
    assert (found.low, found.high) == (None, None)
    assert found.why_no_interval == "the runs scatter beyond all numbers"
    assert found.cv is not None
    assert math.isfinite(found.cv)


@given(st.lists(POSITIVE, min_size=3, max_size=12), st.floats(1e-3, 1e3))
def test_another_unit_scales_the_interval_and_leaves_the_cv(values: list[float], factor: float) -> None:
    one, other = summary(values), summary([v * factor for v in values])
    assert ends(one)[0] <= one.value <= ends(one)[1]
    assert other.value == pytest.approx(one.value * factor, rel=1e-9)
    assert ends(other) == pytest.approx((ends(one)[0] * factor, ends(one)[1] * factor), rel=1e-6)
    assert other.cv == pytest.approx(one.cv, rel=1e-6, abs=1e-9)


@given(st.lists(POSITIVE, min_size=3, max_size=12))
def test_the_order_of_runs_does_not_matter(values: list[float]) -> None:
    turned = values[::-1]
    assert summary(turned).low == pytest.approx(summary(values).low, rel=1e-9)
    assert sorted(values[i] for i in outliers(values)) == pytest.approx(sorted(turned[i] for i in outliers(turned)))


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_95_of_100_intervals_hold_the_true_value(n: int) -> None:
    rng = np.random.default_rng(20261129 + n)
    sets = np.exp(rng.normal(math.log(20.0), 0.05, size=(4000, n)))
    found = [summary(values) for values in sets.tolist()]
    share = np.mean([low <= 20.0 <= high for low, high in map(ends, found)])
    assert 0.935 <= share <= 0.965


def test_the_outliers_of_rosner_are_found() -> None:
    assert outliers(exp(*ROSNER)) == (51, 52, 53)


@pytest.mark.parametrize(("away", "found"), [(7.45, ()), (7.63, (4,))])
def test_the_outlier_of_few_runs_is_that_of_grubbs(away: float, found: tuple[int, ...]) -> None:
    # -1, -1, 1, 1 and x: the mean is x / 5 and s^2 is 1 + x^2 / 5, so x is 0.8 x / sqrt(1 + x^2 / 5) standard
    # deviations from it. Grubbs' printed limit of 1.715 for 5 values (5 %, two-sided) is reached at x = 7.54.
    assert outliers(exp(-1, -1, 1, 1, away)) == found


def test_one_set_in_twenty_without_outliers_is_flagged() -> None:
    rng = np.random.default_rng(20261130)
    flagged = [bool(outliers(values)) for values in np.exp(rng.normal(0, 0.05, size=(4000, 6))).tolist()]
    assert 0.035 <= np.mean(flagged) <= 0.065


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 9.0], [2.0] * 6])
def test_of_few_runs_or_equal_ones_none_is_an_outlier(values: list[float]) -> None:
    assert outliers(values) == ()


def test_a_drift_of_three_runs_has_its_interval() -> None:
    # The middle one is off by d = 0.001 from the line between the others: residuals -d/3, 2d/3, -d/3, whose squares
    # make 2 d^2 / 3 over one degree of freedom; over the 2 of the times, and for two steps, the standard error of the
    # change is 2 d / sqrt(3) = 0.00115470, and t(.975, 1) = 12.7062, so the half of the interval is 0.0146719.
    found = drift(exp(0, 0.051, 0.1), [0.0, 1.0, 2.0])
    assert found is not None
    assert found.change_pct == pytest.approx(100 * math.expm1(0.1))
    assert found.low_pct == pytest.approx(100 * math.expm1(0.1 - 0.0146719), rel=1e-5)
    assert found.high_pct == pytest.approx(100 * math.expm1(0.1 + 0.0146719), rel=1e-5)
    # Of one degree of freedom p is 2 atan(1 / t) / pi, and t is 0.1 / 0.0011547 = 86.6025.
    assert found.p == pytest.approx(2 * math.atan(1 / 86.6025) / math.pi, rel=1e-5)


@pytest.mark.parametrize("value", [2.0, 0.1, 1 / 3])
def test_values_that_are_all_equal_have_no_drift_and_that_is_a_number(value: float) -> None:
    found = drift([value] * 6, [0.0, 1.0, 2.0, 3.0, 4.0, 7.0], [0, 1, 0, 1, 0, 1])
    assert found is not None
    assert (found.change_pct, found.low_pct, found.high_pct, found.p, found.warns) == (0.0, 0.0, 0.0, 1.0, False)


def test_a_drift_is_told_with_its_probability() -> None:
    # ln y rises by 0.01 a second for 3 s; residuals of 0.001 at right angles to it: 4 squares over 2 degrees of
    # freedom over the 5 of the times give a standard error of sqrt(2e-6 / 5), and t^2 = 1e-4 / 4e-7 = 250.
    # With 2 degrees of freedom p is 1 - t / sqrt(t^2 + 2).
    found = drift(exp(0.001, 0.009, 0.019, 0.031), [10.0, 11.0, 12.0, 13.0])
    assert found is not None
    assert (found.n, found.session_s) == (4, 3.0)
    assert found.change_pct == pytest.approx(100 * math.expm1(0.03))
    assert found.p == pytest.approx(1 - math.sqrt(250 / 252), rel=1e-6)
    assert found.warns


def test_configurations_one_after_the_other_are_no_drift() -> None:
    # Two levels, each steady but for a scatter that goes up and down alike.
    values = exp(0.0, 0.002, 0.0, 1.0, 1.002, 1.0)
    found = drift(values, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], ["a"] * 3 + ["b"] * 3)
    assert found is not None
    assert found.change_pct == pytest.approx(0, abs=1e-9)
    assert found.p == pytest.approx(1)
    assert not found.warns


class Counted:
    """A configuration that counts how often it is looked up."""

    n_looked_up = 0

    def __hash__(self) -> int:
        Counted.n_looked_up += 1
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


def test_of_many_configurations_each_is_looked_up_a_few_times() -> None:
    kinds = [kind for kind in [Counted() for _ in range(100)] for _ in range(3)]
    Counted.n_looked_up = 0
    assert drift([1.0] * 300, [float(i) for i in range(300)], kinds) is not None
    # Not once for each of all the others.
    assert Counted.n_looked_up <= 4 * 300


def test_the_drift_of_several_configurations_is_that_of_a_common_slope() -> None:
    rng = np.random.default_rng(7)
    kinds = [k for block in range(6) for k in rng.permutation(3).tolist()]
    time_s = np.arange(18.0) * 60
    y = np.array([[0.0, 0.4, -0.2][k] for k in kinds]) + 3e-5 * time_s + rng.normal(0, 0.003, 18)
    found = drift(np.exp(y).tolist(), time_s.tolist(), kinds)
    # The same as one regression on the time with a constant of its own for each configuration.
    design = np.column_stack([time_s, *(np.array(kinds) == k for k in range(3))]).astype(float)
    solution, squares, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(squares[0] / (18 - 4) * np.linalg.inv(design.T @ design)[0, 0])
    t = solution[0] / error
    assert found is not None
    assert found.change_pct == pytest.approx(100 * math.expm1(solution[0] * 1020), rel=1e-6)
    # 18 runs less 3 constants and a slope leave 14 degrees of freedom.
    assert found.p == pytest.approx(2 * stats.t.sf(abs(t), 14), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "times_s", "kinds"),
    [
        ([1.0, 2.0], [0.0, 1.0], None),
        ([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], ["a", "b", "b"]),
        ([1.0, 2.0, 3.0], [5.0, 5.0, 5.0], None),
        ([], [], None),
    ],
)
def test_too_little_to_tell_a_drift_is_none(values: list[float], times_s: list[float], kinds: list[str] | None) -> None:
    assert drift(values, times_s, kinds) is None


def test_a_rise_without_scatter_is_sure() -> None:
    found = drift([1.0, 2.0, 4.0, 8.0], [0.0, 1.0, 2.0, 3.0])
    assert found is not None
    assert found.p < 1e-6
    assert found.change_pct == pytest.approx(700)


def test_times_that_do_not_belong_to_runs_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 values, 3 times"):
        drift([1.0, 2.0], [0.0, 1.0, 2.0])


def test_a_steady_session_warns_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(11)
    times_s = [float(t) for t in range(10)]
    found = [drift(v, times_s) for v in np.exp(rng.normal(0, 0.02, size=(1000, 10))).tolist()]
    assert np.mean([each is not None and each.p < 0.05 for each in found]) == pytest.approx(0.05, abs=0.02)
