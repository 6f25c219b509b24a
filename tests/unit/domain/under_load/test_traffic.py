"""What was there at any moment of a window, and what belongs to it."""

import pytest

from llenergymeasure.domain.under_load.load_result import FlightResult
from llenergymeasure.domain.under_load.traffic import Traffic
from tests.unit.domain.under_load.made import failed, request, traffic


def test_what_is_in_flight_is_counted_from_when_it_was_due_to_its_end() -> None:
    # In the window: 2 s of the first, 4 s of the second, which waited a second, all 10 of the third, 3 of the last.
    found = traffic(
        [
            request(95.0, 95.0, 102.0),
            request(101.0, 102.0, 105.0),
            request(None, 99.0, 120.0),
            request(107.0, 107.0, 111.0),
        ]
    ).in_flight()
    assert found == FlightResult(n_mean=(2 + 4 + 10 + 3) / 10, n_max=3, n_at_start=2, n_at_end=2)


def test_one_that_goes_when_another_comes_was_not_there_with_it() -> None:
    found = traffic([request(100.0, 100.0, 105.0), request(105.0, 105.0, 109.0)]).in_flight()
    assert found.n_max == 1
    assert found.n_mean == pytest.approx(0.9)


def test_one_that_had_not_begun_waits_until_the_end() -> None:
    # Two more came at 104 and 108 s, and the engine had no room for them.
    found = Traffic([request(100.0, 100.0, 112.0)], 100.0, 110.0, unsent_due_s=(104.0, 108.0))
    assert found.in_flight() == FlightResult(n_mean=(10 + 6 + 2) / 10, n_max=3, n_at_start=1, n_at_end=3)
    # What comes just at the start came before the window.
    assert found.n_arrived == 2


def test_requests_that_ended_in_the_window_are_its_own_whether_or_not_they_succeeded() -> None:
    ended, cut = request(99.0, 99.0, 101.0), request(105.0, 105.0, 110.5)
    gone, before = failed(104.0, None), request(95.0, 95.0, 100.0)
    given_up = request(109.0, 109.0, 109.5, finish_reason="cancelled")
    assert traffic([ended, cut, gone, before, given_up]).ended == [ended, gone]
