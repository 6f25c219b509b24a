"""What an engine tells is looked at before it counts."""

import contextlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from llenergymeasure.core.window.told import Told
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.testing import FakeClock

REQUESTS = [Request(index=i, token_ids=(1, 2), max_output_tokens=3) for i in range(3)]
GOOD = RequestOutput(
    index=0,
    input_tokens=2,
    output_tokens=3,
    finish_reason="length",
    output_digest="0",
    sent_s=10.0,
    first_token_s=11.0,
    token_times_s=(11.0, 12.0, 13.0),
    end_s=13.0,
    output_ids=((7, 8, 9),),
)


def told_by(*outputs: Any, cancelled: bool = False) -> list[RequestOutput]:
    clock = FakeClock(10.0)
    told = Told(REQUESTS, lambda: cancelled, clock)
    clock.time_s = 20.0
    for output in outputs:
        told.take(output)
    told.check()
    return told.outputs


def others() -> list[RequestOutput]:
    return [replace(GOOD, index=1), replace(GOOD, index=2)]


def test_what_can_be_is_taken_as_it_is() -> None:
    given = [replace(GOOD, index=i) for i in (2, 0, 1)]
    assert told_by(*given) == given


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"index": 1}, "request 1 was told twice"),
        ({"index": 99}, "request 99 was not asked for"),
        ({"input_tokens": -500}, "request 0: input_tokens is -500"),
        ({"output_tokens": -5}, "request 0: output_tokens is -5"),
        ({"output_tokens": 2.5}, "request 0: output_tokens is 2.5"),
        ({"output_tokens": 4}, "output_tokens is 4, and output_ids has 3"),
        ({"finish_reason": "eos"}, "finish_reason is 'eos'"),
        ({"error": "no room"}, "it has an error (no room) and ended by itself (length)"),
        ({"output_ids": (), "token_times_s": (11.0,)}, "there are 1 token_times_s for 3 tokens"),
        ({"output_ids": ((7, 8, 9, 9),), "output_tokens": 4, "token_times_s": ()}, "an answer has 4 tokens, and 3"),
        ({"token_times_s": (11.0, 13.0, 12.0)}, "its times run backwards"),
        ({"first_token_s": 9.0}, "its times run backwards"),
        ({"token_times_s": (), "chunk_times_s": (11.0, 13.0, 12.0)}, "its times run backwards"),
        ({"token_times_s": (), "chunk_times_s": (11.0, 14.0)}, "its times run backwards"),
        ({"chunk_times_s": (11.0, 13.0)}, "it has token_times_s and chunk_times_s"),
        ({"end_s": float("nan")}, "a time of it is no number"),
        ({"sent_s": 9.0}, "it went from 9.000 to 13.000 s, and the run from 10.000 to 20.000 s"),
        ({"end_s": 21.0}, "it went from 10.000 to 21.000 s"),
        ({"due_s": 1.7e9}, "it was due at 1700000000.000 s, and the run began at 10.000 s"),
        ({"due_s": 10.5}, "it was sent at 10.000000 s, before it was due at 10.500000 s"),
        ({"cached_tokens": 3}, "cached_tokens is 3 of 2"),
        ({"output_digest": None}, "output_digest is None"),
        ({"output_ids": (("a", "b", "c"),)}, "output_ids holds what is no token id"),
        ({"input_tokens": True}, "input_tokens is True"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_what(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        told_by(*others(), replace(GOOD, **changed))
    assert said in str(caught.value)


def test_whole_numbers_of_other_libraries_are_whole_numbers() -> None:
    found = told_by(replace(GOOD, input_tokens=np.int64(2)), *others())  # type: ignore[arg-type]
    assert (found[0], type(found[0].input_tokens)) == (GOOD, int)


@pytest.mark.parametrize(
    ("changed", "left_out"),
    [
        ({"output_tokens": 0, "token_times_s": (11.0, 12.0)}, "there are 2 token_times_s for 0 tokens"),
        ({"output_tokens": None, "token_times_s": ()}, "output_tokens is None"),
        ({"output_tokens": 0, "token_times_s": (), "end_s": float("nan")}, "a time of it is no number"),
    ],
)
def test_a_request_that_failed_is_a_row_whatever_is_told_of_it(changed: dict[str, Any], left_out: str) -> None:
    failed = replace(GOOD, finish_reason="error", error="the stream broke", output_ids=(), first_token_s=None)
    found = told_by(replace(failed, **changed), *others())
    assert found[0].error == f"the stream broke (what it told is left out: {left_out})"
    assert (found[0].output_tokens, found[0].token_times_s, found[0].sent_s, found[0].end_s) == (0, (), 10.0, 20.0)


@pytest.mark.parametrize("broken", [{"token_times_s": None}, {"output_ids": None}, {"sent_s": "now"}])
def test_one_that_cannot_be_read_is_a_row_if_it_failed_and_an_error_if_not(broken: dict[str, Any]) -> None:
    failed = replace(GOOD, finish_reason="error", error="oom", output_ids=(), first_token_s=None)
    found = told_by(replace(failed, **broken), *others())
    assert found[0].finish_reason == "error"
    assert str(found[0].error).startswith("oom (what it told is left out: ")
    assert (found[0].output_tokens, found[0].end_s) == (0, 20.0)
    with pytest.raises(ExperimentError):
        told_by(replace(GOOD, **broken), *others())


def test_one_that_cannot_be_read_is_told_again_where_an_engine_swallows_the_error() -> None:
    told = Told(REQUESTS, lambda: False, FakeClock(20.0))
    with contextlib.suppress(ExperimentError):
        told.take(replace(GOOD, token_times_s=None))  # type: ignore[arg-type]
    with pytest.raises(ExperimentError, match="request 0 cannot be read"):
        told.check()


def test_rows_of_other_libraries_are_rows() -> None:
    rows: dict[str, Any] = {"token_times_s": np.array([11.0, 12.0, 13.0]), "output_ids": (np.array([7, 8, 9]),)}
    assert told_by(replace(GOOD, **rows), *others())[0] == GOOD
    failed = replace(GOOD, finish_reason="error", error=ValueError("oom"))  # type: ignore[arg-type]
    assert told_by(failed, *others())[0].error == "oom"


def test_of_several_answers_that_nobody_tells_apart_the_longest_has_times_and_all_have_a_limit() -> None:
    def told(n_tokens: int) -> None:
        clock = FakeClock(10.0)
        told = Told(REQUESTS[:1], lambda: False, clock, n_answers=2)
        clock.time_s = 20.0
        told.take(replace(GOOD, output_tokens=n_tokens, output_ids=()))
        told.check()

    told(5)
    with pytest.raises(ExperimentError, match="it has 7 tokens, and 3 were asked for"):
        told(7)


def test_what_is_no_output_is_an_error() -> None:
    with pytest.raises(ExperimentError, match="it gave NoneType None where a RequestOutput belongs"):
        told_by(None)


def test_requests_that_were_never_told_of_are_an_error_but_after_a_cancelled_run() -> None:
    with pytest.raises(ExperimentError, match="2 of 3 requests were never told of; the first is 1"):
        told_by(GOOD)
    assert told_by(GOOD, cancelled=True) == [GOOD]


def test_an_engine_that_swallows_the_error_is_told_again() -> None:
    told = Told(REQUESTS, lambda: False)
    told.take(GOOD)
    for _ in range(2):
        with pytest.raises(ExperimentError, match="request 0 was told twice"):
            told.take(GOOD)
    with pytest.raises(ExperimentError, match="cannot be counted: request 0 was told twice"):
        told.check()


def test_what_is_left_open_of_an_end_is_added() -> None:
    untimed = replace(GOOD, end_s=None, token_times_s=(), first_token_s=None)
    silent = replace(GOOD, index=1, finish_reason="error", output_ids=(), output_tokens=0, token_times_s=(), end_s=None)
    gone = replace(silent, index=2, finish_reason="cancelled")
    found = told_by(untimed, silent, gone)
    assert found[0].end_s == 20.0, "it was told then"
    assert [output.finish_reason for output in found] == ["length", "error", "error"]
    assert [output.end_s for output in found] == [20.0, 20.0, 20.0]
    assert [output.error for output in found[1:]] == [
        "the engine gives no reason", "cancelled, and nobody had asked for it",
    ]  # fmt: skip
    assert told_by(GOOD, silent, gone, cancelled=True)[2] == gone
