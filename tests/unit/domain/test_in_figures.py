"""Numbers as people read them."""

import pytest

from llenergymeasure.domain.in_figures import bounded, number, ratio, with_interval


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.00001234, "1.23e-05"),
        (0.0001234, "0.000123"),
        (12.345678, "12.3"),
        (24.0, "24.0"),
        (2.0, "2.00"),
        (0.9996, "1.00"),
        (999.7, "1,000"),
        (234.56, "235"),
        (1234.5678, "1,230"),
        (-1234567.8, "-1,230,000"),
        (1e15, "1.00e+15"),
        (-1.23456e15, "-1.23e+15"),
        (1e200, "1.00e+200"),
        # A count has all its digits.
        (1234, "1,234"),
        (123456789012345, "123,456,789,012,345"),
        (10**16, "1.00e+16"),
    ],
)
def test_a_figure_has_three_significant_digits_and_a_count_all(value: float | None, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("value", "bound", "said"), [(50.04, 12.3, "50.0 +-12"), (50.04, 0.5, "50.0 +-0.5"), (50.04, None, "50.0")]
)
def test_a_bound_stands_behind_its_figure(value: float, bound: float | None, said: str) -> None:
    assert bounded(value, bound) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.75249, "0.752"), (1.0021, "1.002"), (2.0, "2.000"), (12.34, "12.3"), (0.01234, "0.0123")]
)
def test_a_ratio_near_1_has_three_decimals(value: float, said: str) -> None:
    assert ratio(value) == said


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.139, 0.1351, 0.1430, "0.139 +- 0.004"),
        # The larger side, rounded up.
        (0.139, 0.1364, 0.1412, "0.139 +- 0.003"),
        # Of a first digit of 1 rounding would take, or add, up to a half.
        (20.0, 19.862, 20.138, "20.00 +- 0.14"),
        (1234.5, 1200.1, 1270.0, "1,234 +- 36"),
        (312.44, 311.3, 313.6, "312.4 +- 1.2"),
        # Wide intervals are not alike on both sides.
        (10.0, 5.0, 20.0, "10.0 (5.00-20.0)"),
        (2.0, 2.0, 2.0, "2.00 +- 0"),
        # A sensor does not have as many digits as runs may have in common.
        (20.0, 19.9999999, 20.0000001, "20.0000 +- 0.0001"),
        (0.5, None, None, "0.500"),
        (None, None, None, "-"),
    ],
)
def test_a_mean_is_told_with_as_many_digits_as_its_interval_leaves(
    value: float | None, low: float | None, high: float | None, said: str
) -> None:
    assert with_interval(value, low, high) == said
