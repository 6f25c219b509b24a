"""Which requests were at work at an edge of a window, and which in it at all."""

import pytest

from llenergymeasure.core.window.edges import in_flight_at, never_began
from llenergymeasure.domain.inference import FinishReason, RequestOutput
from llenergymeasure.domain.window import touches


def output(
    sent_s: float | None, end_s: float | None, reason: FinishReason = "length", tokens: int = 0
) -> RequestOutput:
    return RequestOutput(
        index=0,
        input_tokens=1,
        output_tokens=tokens,
        output_digest="",
        sent_s=sent_s,
        end_s=end_s,
        finish_reason=reason,
    )


@pytest.mark.parametrize(
    ("sent_s", "end_s", "is_there"),
    [
        # Just before and just behind the edge at 4 s; at one moment, what ends is gone and what begins is not there.
        (3.9, 4.1, True),
        (3.9, 4.0, False),
        (4.0, 5.0, False),
        (4.1, 5.0, False),
        # An engine that does not tell when it sent, or that has not ended.
        (None, 5.0, True),
        (3.9, None, True),
    ],
)
def test_a_request_is_at_work_at_an_edge_between_its_beginning_and_its_end(
    sent_s: float | None, end_s: float | None, *, is_there: bool
) -> None:
    assert in_flight_at(output(sent_s, end_s), 4.0) is is_there


def test_one_that_was_cancelled_was_at_work_until_it_was_told() -> None:
    assert in_flight_at(output(3.0, 4.0, "cancelled"), 4.0)
    assert not in_flight_at(output(4.5, 5.0, "cancelled"), 4.0)


@pytest.mark.parametrize(
    ("sent_s", "end_s", "is_its"),
    [
        # A window from 4 to 8 s holds what happens at its end, and not what happens at its start.
        (1.0, 4.0, False),
        (1.0, 4.1, True),
        (8.0, 9.0, True),
        (8.1, 9.0, False),
        (1.0, 9.0, True),
        (None, None, True),
    ],
)
def test_a_window_has_the_requests_that_were_there_in_it(
    sent_s: float | None, end_s: float | None, *, is_its: bool
) -> None:
    assert touches(output(sent_s, end_s), 4.0, 8.0) is is_its


def test_what_was_cancelled_before_it_was_sent_never_began() -> None:
    assert never_began(output(None, 5.0, "cancelled"))
    assert not never_began(output(3.0, 5.0, "cancelled"))
    assert not never_began(output(None, 5.0, "cancelled", tokens=2))
    assert not never_began(output(None, 5.0, "length"))
