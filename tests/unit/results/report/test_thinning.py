"""Many points drawn as few."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.results.report.thinning import merged, per_bin, power_between, thinned


def test_of_few_points_all_are_drawn() -> None:
    assert thinned([0.0, 1.0, 2.0], [5.0, 5.0, 5.0], 4) == [0, 1, 2]


def test_the_least_and_the_greatest_of_each_stretch_are_kept() -> None:
    # 12 points as 6: the ends, and of the ten between them two stretches of five: places 1 to 5, and 6 to 10.
    values = [0.0, 3.0, 9.0, 4.0, 1.0, 5.0, 7.0, 7.0, -2.0, 8.0, 6.0, 0.0]
    assert thinned(list(range(12)), values, 6) == [0, 2, 4, 8, 9, 11]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400),
    st.integers(min_value=4, max_value=60),
)
def test_never_more_than_are_allowed_and_nothing_that_stands_out_is_lost(values: list[float], most: int) -> None:
    places = thinned(list(range(len(values))), values, most)
    assert len(places) <= most
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, len(values) - 1)
    drawn = [values[place] for place in places]
    assert (min(drawn), max(drawn)) == (min(values), max(values))


@pytest.mark.parametrize(("times", "most"), [([0.0], 4), ([0.0, 1.0], 3)])
def test_what_cannot_be_thinned_is_refused(times: list[float], most: int) -> None:
    with pytest.raises(ValueError, match=r"values|too few"):
        thinned(times, [1.0, 2.0], most)


def test_a_counter_gives_the_mean_power_between_what_it_showed_anew() -> None:
    # 10 J from 0 to 2 s are 5 W at 1 s; 30 J from 2 to 5 s are 10 W at 3.5 s. What stood still is no reading.
    assert power_between([0.0, 1.0, 2.0, 3.0, 5.0], [100.0, 100.0, 110.0, 110.0, 140.0]) == ([1.0, 3.5], [5.0, 10.0])


def test_of_the_time_in_which_a_counter_began_anew_nothing_is_known() -> None:
    assert power_between([0.0, 1.0, 2.0], [100.0, 3.0, 7.0]) == ([1.5], [4.0])


def test_spans_that_touch_are_one() -> None:
    assert merged([(3.0, 4.0), (0.0, 1.0), (0.5, 2.0), (2.0, 2.5), (5.0, 5.0)]) == [(0.0, 2.5), (3.0, 4.0)]


def test_tokens_are_counted_in_equal_parts_of_the_time() -> None:
    # Parts of 0.5 s: two tokens at 0.1 and 0.4 s are 4 per second, one at the very end is 2, those outside are none.
    assert per_bin([0.1, 0.4, 2.0, -0.1, 2.1], [1.0] * 5, 2.0, 4) == [4.0, 0.0, 0.0, 2.0]
    # Half a token twice is one.
    assert per_bin([1.2, 1.4], [0.5, 0.5], 2.0, 2) == [0.0, 1.0]
