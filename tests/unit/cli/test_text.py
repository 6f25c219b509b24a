"""Numbers of the tables."""

import pytest

from llenergymeasure.cli.text import number


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (0.0, "0"),
        (0.00001234, "1.234e-05"),
        (0.0001234, "0.0001234"),
        (12.345678, "12.35"),
        (1234.5678, "1,235"),
        (-1234567.8, "-1,234,568"),
        (123456789012345.0, "123,456,789,012,345"),
        (1e15, "1e+15"),
        (-1.23456e15, "-1.235e+15"),
        (1e200, "1e+200"),
    ],
)
def test_a_number_is_as_long_as_it_says_something(value: float | None, said: str) -> None:
    assert number(value) == said
