"""Which requests a load has, and how far it is."""

from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.load.requests import Repeated
from llenergymeasure.core.load.settling import InFlightCourse
from llenergymeasure.core.load.traffic import Traffic
from llenergymeasure.domain.inference import Request

PROMPTS = [Request(index=i, token_ids=(i,), max_output_tokens=9) for i in range(3)]


def traffic(n_at_work: int | None = None, **load: Any) -> Traffic:
    return Traffic.of(ExperimentConfig.model_validate({"model": "m", "load": load}), PROMPTS, n_at_work)


def test_requests_take_the_prompts_in_turns_and_have_indices_of_their_own() -> None:
    requests = Repeated(PROMPTS, 8)
    assert [(r.index, r.token_ids) for r in requests] == [(i, (i % 3,)) for i in range(8)]
    assert len(requests) == 8
    assert (requests[7], requests[-1].index, [r.index for r in requests[2:8:3]]) == (list(requests)[7], 7, [2, 5])
    with pytest.raises(IndexError):
        requests[8]


def test_a_load_without_an_end_has_more_requests_than_anybody_runs_and_makes_none_before() -> None:
    assert len(traffic(concurrency=2, duration_s=60).requests) >= 1_000_000


def test_so_many_at_a_time() -> None:
    found = traffic(concurrency=2, n=5)
    assert [found.n_arrived(0.0, n) for n in (0, 2, 4)] == [2, 4, 5]
    assert [found.first_have_ended(n) for n in (1, 2)] == [False, True]
    assert [found.arrivals_are_over(99.0, n) for n in (2, 3)] == [False, True]
    assert found.rate_per_s() is None


def test_a_rate() -> None:
    found = traffic(rate=2.0, arrival="constant", n=5)
    assert found.load.due_s == (0.5, 1.0, 1.5, 2.0, 2.5)
    assert [found.n_arrived(t, 0) for t in (0.4, 1.0, 9.0)] == [0, 2, 5]
    assert [found.arrivals_are_over(t, 0) for t in (2.4, 2.5)] == [False, True]
    assert [found.half_is_over(t, 0) for t in (1.4, 1.5)] == [False, True]
    assert found.rate_per_s() == 2.0


@pytest.mark.parametrize(("n_at_work", "over_at"), [(4, 17), (None, 19)])
def test_all_at_once_are_over_when_the_engine_is_no_longer_full(n_at_work: int | None, over_at: int) -> None:
    # Four at work: when 17 of 20 have ended there are three; of an engine that does not say, a tenth counts.
    found = traffic(n_at_work, max=True, n=20)
    assert [found.arrivals_are_over(9.0, n) for n in (over_at - 1, over_at)] == [False, True]


def test_what_is_in_flight_has_settled_when_two_spans_are_alike() -> None:
    course = InFlightCourse()
    for _ in range(5):
        course.ended(10.0)
    settled = []
    for second in range(60):
        # It grows by one a second to 30, and stays there.
        course.note(float(second), min(second, 30))
        settled.append(course.has_settled())
    # At 20 s the spans to 10 and to 20 s have means of 5.5 and 15.5 and differ by more than twice the root of 5.5.
    assert not settled[25]
    # From 40 s on, both have a mean within 30 and its root.
    assert settled[45]
    assert settled.index(True) >= 31


def test_nothing_has_settled_before_requests_have_ended() -> None:
    course = InFlightCourse()
    for second in range(100):
        course.note(float(second), 3)
    assert not course.has_settled()


def test_the_rate_of_a_trace_is_by_its_gaps_or_by_the_time_that_ends_it(tmp_path: Path) -> None:
    trace = tmp_path / "a.csv"
    trace.write_text("timestamp_s\n0\n10\n20\n", encoding="utf-8")
    assert traffic(trace=str(trace)).rate_per_s() == pytest.approx(0.1)
    assert traffic(trace=str(trace), duration_s=60).rate_per_s() == pytest.approx(0.05)


def test_nothing_has_settled_while_the_oldest_is_older_than_any_that_has_ended() -> None:
    course = InFlightCourse()
    for _ in range(5):
        course.ended(1.0)
    for tenth in range(100):
        course.note(tenth / 10, 3)
    assert course.has_settled(0.5)
    assert not course.has_settled(2.0)
