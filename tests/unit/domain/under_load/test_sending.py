"""How late our own sending was."""

import pytest

from llenergymeasure.domain.under_load.sending import about_sending, sending_of
from tests.unit.domain.under_load.made import request, traffic


def test_lateness_is_from_due_to_sent_in_terms_of_the_gap() -> None:
    # Four in ten seconds, a gap of 2.5 s; late by 0, 10, 30 and 60 ms: 25 ms on average, 1 % of the gap.
    late_s = [0.0, 0.01, 0.03, 0.06]
    requests = [request(101.0 + 2 * i, 101.0 + 2 * i + s, 103.0 + 2 * i) for i, s in enumerate(late_s)]
    # One of before the window, which was late by a second, is not in it.
    found = sending_of(traffic([request(99.0, 100.0, 101.0), *requests]), None)
    assert found is not None
    assert found.late_s.mean == pytest.approx(0.025)
    assert found.late_s.p50 == pytest.approx(0.02)
    # Of four values the 99th percentile lies at 2.97: 0.03 + 0.97 * 0.03.
    assert found.late_s.p99 == pytest.approx(0.0591)
    assert found.late_max_s == pytest.approx(0.06)
    assert found.share_of_gap == pytest.approx(0.01)


@pytest.mark.parametrize(("late_s", "flags"), [(0.009, []), (0.011, ["sending_late"])])
def test_above_a_hundredth_of_the_gap_it_is_a_warning(late_s: float, flags: list[str]) -> None:
    # A gap of one second.
    found = sending_of(traffic([request(t, t + late_s, t + 0.5) for t in map(float, range(101, 111))]), None)
    said = about_sending(found)
    assert [each.flag for each in said] == flags
    if said:
        assert "11 ms after they were due on average, 1.1 % of the mean time" in said[0].text


def test_what_the_engine_had_no_room_for_was_not_sent_late_by_us() -> None:
    # Two at a time: the third was due when two were there, and waited for the first to end.
    requests = [request(101.0, 101.0, 106.0), request(102.0, 102.5, 109.0), request(103.0, 106.0, 109.0)]
    alone = sending_of(traffic(requests), n_most_in_flight=2)
    assert alone is not None
    assert (alone.late_s.n, alone.late_max_s) == (2, 0.5)
    everything = sending_of(traffic(requests), n_most_in_flight=None)
    assert everything is not None
    assert everything.late_max_s == 3.0


def test_without_due_times_there_is_no_lateness() -> None:
    assert sending_of(traffic([request(None, 101.0, 102.0)]), None) is None
    assert about_sending(None) == []
