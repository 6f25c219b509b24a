"""Ranges: numbers worked out by hand."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.config.sweep.ranges import values_of
from llenergymeasure.exceptions import ConfigError
from tests.unit.config.conftest import calm


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        ({"from": 1, "to": 16, "scale": "pow2"}, [1, 2, 4, 8, 16]),
        ({"from": 4, "to": 8, "scale": "pow2"}, [4, 8]),
        ({"from": 1, "to": 16, "num": 4}, [1, 6, 11, 16]),
        ({"from": 1, "to": 8, "num": 3}, [1, 5, 8]),  # the middle is 4.5, and halves are rounded up
        ({"from": -1, "to": 1, "num": 3}, [-1, 0, 1]),
        ({"from": 0.1, "to": 0.5, "num": 5}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"from": 1.0, "to": 2, "num": 3}, [1.0, 1.5, 2]),
        ({"from": 1, "to": 100, "num": 3, "scale": "log"}, [1, 10, 100]),
        ({"from": 1, "to": 1000, "num": 4, "scale": "log"}, [1, 10, 100, 1000]),
        ({"from": 0.001, "to": 1.0, "num": 4, "scale": "log"}, [0.001, 0.01, 0.1, 1.0]),
        ({"from": 1, "to": 2, "num": 2, "scale": "log"}, [1, 2]),
    ],
    ids=str,
)
def test_a_range_is_these_numbers(given: dict[str, Any], numbers: list[float]) -> None:
    assert [(type(n), n) for n in values_of(given)] == [(type(n), n) for n in numbers]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"from": 1, "to": 4, "num": 7}, "the range gives 1 twice|gives 2 twice; lower num"),
        ({"from": 1, "to": 10, "num": 30, "scale": "log"}, "lower num"),
        ({"from": 1, "to": 12, "scale": "pow2"}, "to: 12 is no power of two"),
        ({"from": 3, "to": 16, "scale": "pow2"}, "from: 3 is no power of two"),
        ({"from": 1.0, "to": 16, "scale": "pow2"}, "no power of two"),
        ({"from": 1, "to": 16, "num": 5, "scale": "pow2"}, "remove num"),
        ({"from": 4, "to": 4, "num": 2}, "from: 4 is not below to: 4"),
        ({"from": 0, "to": 4, "num": 2, "scale": "log"}, "above 0"),
        ({"from": 1, "to": 4}, "num: give how many"),
        ({"from": 1, "to": 4, "num": 1}, "num: give how many"),
        ({"from": 1, "to": 4, "num": 10**9}, "num: give how many"),
        ({"from": 1, "to": 4, "num": True}, "num: give how many"),
        ({"from": 1, "num": 3}, "to is no number"),
        ({"from": "1", "to": 4, "num": 3}, "from is no number"),
        ({"from": True, "to": 4, "num": 3}, "from is no number"),
        ({"from": 1, "to": float("inf"), "num": 3}, "to is no number"),
        ({"from": 1, "to": 10**400, "num": 3}, "to is no number"),
        ({"from": 1, "to": 4, "num": 3, "scale": "exp"}, "'exp' is none of linear, log, pow2"),
        ({"from": 1, "to": 4, "numb": 3}, "unknown key 'numb' of a range; did you mean 'num'?"),
    ],
    ids=str,
)
def test_what_is_no_range_is_told_with_what_would_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        values_of(given)


@calm
@given(
    st.integers(1, 10**6), st.integers(1, 10**6), st.integers(2, 50), st.sampled_from(["linear", "log"]), st.booleans()
)
def test_a_range_goes_up_from_its_beginning_to_its_end(low: int, more: int, num: int, scale: str, whole: bool) -> None:
    given = {"from": low if whole else float(low), "to": low + more, "num": num, "scale": scale}
    try:
        numbers = values_of(given)
    except ConfigError:
        assert whole  # only rounding makes two numbers one
        return
    assert len(numbers) == num
    assert (numbers[0], numbers[-1]) == (low, low + more)
    assert all(first < second for first, second in itertools.pairwise(numbers))
    assert all(isinstance(number, int) for number in numbers) or not whole
