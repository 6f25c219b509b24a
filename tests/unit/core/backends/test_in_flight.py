"""A request on its way: its answers, their times, and how it ends."""

import pytest

from llenergymeasure.core.backends.in_flight import Counts, InFlight
from llenergymeasure.domain.inference import Request, tokens_digest


def begun(most: int = 3) -> InFlight:
    return InFlight(Request(index=4, token_ids=(7, 8), max_output_tokens=most), sent_s=10.0, due_s=9.5)


def test_a_token_is_there_when_the_last_answer_that_gets_so_far_has_it() -> None:
    each, counts = begun(), Counts()
    each.take([1, 2], 11.0)
    each.take([5], 12.0, place=1, reason="stop")
    each.take([3], 13.0, reason="length")
    each.n_cached = 2
    output = each.ended(counts, "An engine", "engine.room")
    assert output.output_ids == ((1, 2, 3), (5,))
    assert output.token_times_s == (12.0, 11.0, 13.0)
    assert (output.output_tokens, output.finish_reason, output.end_s) == (4, "length", 13.0)
    assert output.output_digest == tokens_digest((1, 2, 3), (5,))
    assert (output.index, output.input_tokens, output.sent_s, output.due_s) == (4, 2, 10.0, 9.5)
    assert (counts.n_requests, counts.n_cached) == (1, 2)


@pytest.mark.parametrize(
    ("ids", "reason", "why"),
    [
        ([1], "length", "there was no room for more after 1 of 3 tokens; raise engine.room"),
        ([], "length", "there was no room for more after 0 of 3 tokens; raise engine.room"),
        ([1, 2, 3], "abort", "An engine gave it up (abort)"),
    ],
)
def test_what_ends_otherwise_has_failed_and_is_not_counted(ids: list[int], reason: str, why: str) -> None:
    each, counts = begun(), Counts()
    each.take(ids, 11.0, reason=reason)
    output = each.ended(counts, "An engine", "engine.room")
    assert (output.error, output.finish_reason, output.output_ids) == (why, "error", ())
    assert counts == Counts()


def test_what_is_cancelled_has_what_was_there() -> None:
    each = begun()
    each.take([1], 11.0)
    output = each.told("cancelled", 14.0)
    assert (output.output_ids, output.token_times_s, output.end_s) == (((1,),), (11.0,), 14.0)
