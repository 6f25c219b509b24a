"""What a curve says, by hand."""

import pytest

from llenergymeasure.results.loads.curve import curve_of
from tests.unit.results.loads.made import run, series

OVER = {"overloaded": "yes"}


def test_the_marginal_power_is_the_slope_of_a_line() -> None:
    # 100 W and 50 W for each request per second, and 3 W up and down by turns.
    runs = [[run(r, 100 + 50 * r + e)] for r, e in ((1.0, 3.0), (2.0, -3.0), (3.0, -3.0), (4.0, 3.0))]
    found = curve_of(series((1, 2, 3, 4), runs))
    assert found.marginal_j is not None
    assert found.at_no_load_w is not None
    assert found.marginal_j.value == pytest.approx(50.0)
    assert found.at_no_load_w.value == pytest.approx(100.0)
    # 36 W2 over 2 degrees of freedom is 18; over 5 (squares of 1 to 4 about 2.5) is 3.6. t(.975, 2) = 4.302653.
    assert found.marginal_j.high == pytest.approx(50 + 4.302653 * 3.6**0.5, rel=1e-6)
    # 18 x (1 / 4 + 2.5^2 / 5) = 27.
    assert found.at_no_load_w.low == pytest.approx(100 - 4.302653 * 27**0.5, rel=1e-6)
    assert found.why_no_marginal is None


def test_an_overloaded_point_is_in_no_line() -> None:
    runs = [[run(r, 100 + 50 * r)] for r in (1.0, 2.0, 3.0)]
    found = curve_of(series((1, 2, 3, 9), [*runs, [run(9.0, 300.0, **OVER)]]))
    assert found.marginal_j is not None
    assert found.marginal_j.value == pytest.approx(50.0)
    few = curve_of(series((1, 2, 9), [*runs[:2], [run(9.0, 300.0, **OVER)]]))
    assert (few.marginal_j, few.why_no_marginal) == (None, "2 steady points with a power, and a line takes 3")
    same = curve_of(series((1, 2, 3), [[run(2.0, 100.0)]] * 3))
    assert same.why_no_marginal == "as many requests came at every point"


def test_idle_power_is_what_was_measured() -> None:
    runs = [[run(1.0, 100.0, idle_loaded_power_w=60.0)], [run(2.0, 150.0, idle_loaded_power_w=62.0)]]
    assert curve_of(series((1, 2), runs)).idle_power_w == 61.0


@pytest.mark.parametrize(
    ("verdicts", "highest"),
    [
        (["yes", "yes", "no", "no"], 2),
        (["yes", "yes", "yes", "yes"], 8),
        (["no", "yes", "yes", "no"], None),
        # What is beyond one that broke it was luck.
        (["yes", "no", "yes", "no"], 1),
        (["yes", None, "yes", "no"], 1),
    ],
)
def test_the_highest_load_within_the_promises(verdicts: list[str | None], highest: float | None) -> None:
    runs = [[run(r, 100.0, slo_met=met)] for r, met in zip((1.0, 2.0, 4.0, 8.0), verdicts, strict=True)]
    assert curve_of(series((1, 2, 4, 8), runs)).highest_kept == highest


def test_an_overloaded_point_keeps_no_promise() -> None:
    found = curve_of(series((1, 2), [[run(1.0, 100.0)], [run(2.0, 100.0, **OVER)]]))
    assert found.highest_kept == 1


def test_knees_lie_furthest_below_the_line_between_the_ends() -> None:
    # Latency is 1, 1.1, 1.4 and 4 s at 1, 2, 3 and 4: below the line by 0, 0.3, 0.53 and 0 of all.
    # Joules are 10, 4, 3 and 2: below by 0, 0.42, 0.21 and 0.
    figures = ((1.0, 1.0, 10.0), (2.0, 1.1, 4.0), (3.0, 1.4, 3.0), (4.0, 4.0, 2.0))
    runs = [[run(r, 100.0, e2e_p50_s=s, energy_per_output_token_j=j)] for r, s, j in figures]
    found = curve_of(series((1, 2, 3, 4), runs))
    assert (found.latency_knee.asked, found.energy_knee.asked) == (3, 2)


@pytest.mark.parametrize(
    ("latencies", "why"),
    [
        ((1.0, 2.0, 3.0, 4.0), "it is nearly a straight line"),
        ((4.0, 3.0, 2.0, 1.0), "it does not rise with the load"),
        ((1.0, 1.0, 1.0, 1.0), "it does not rise with the load"),
        ((1.0, 1.1, None, 3.0), "3 steady points, and a bend takes 4"),
    ],
)
def test_a_curve_without_a_bend_says_why(latencies: tuple[float | None, ...], why: str) -> None:
    runs = [[run(float(i), 100.0, e2e_p50_s=s)] for i, s in enumerate(latencies, 1)]
    found = curve_of(series((1, 2, 3, 4), runs)).latency_knee
    assert (found.asked, found.why_none) == (None, why)
