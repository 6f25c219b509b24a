"""Latency figures of requests, worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.domain.inference import (
    ChatMessage,
    InferenceOutput,
    Prompt,
    RequestOutput,
    decode_period_s,
    latency_statistics,
    tokens_digest,
)


def row(output_tokens: int, ttft_s: float | None, e2e_s: float | None, times: tuple[float, ...] = ()) -> RequestOutput:
    fields: dict[str, Any] = {"index": 0, "input_tokens": 3, "finish_reason": "stop", "output_digest": ""}
    # Begun at 100 s of a clock that nobody knows the start of.
    return RequestOutput(
        **fields,
        output_tokens=output_tokens,
        sent_s=100.0,
        first_token_s=None if ttft_s is None else 100.0 + ttft_s,
        end_s=None if e2e_s is None else 100.0 + e2e_s,
        token_times_s=tuple(100.0 + time_s for time_s in times),
    )


def test_latencies_of_two_requests() -> None:
    found = latency_statistics([[row(3, 1.0, 2.0, (1.0, 1.25, 2.0)), row(5, 0.5, 4.5, (0.5, 1.5, 2.5, 3.5, 4.5))]])
    assert found is not None
    assert found.ttft_s is not None
    assert found.tpot_s is not None
    assert found.itl_s is not None
    assert found.e2e_s is not None
    assert (found.ttft_s.n, found.ttft_s.mean) == (2, 0.75)
    # (2 - 1) / 2 and (4.5 - 0.5) / 4
    assert (found.tpot_s.n, found.tpot_s.mean, found.tpot_s.p50) == (2, 0.75, 0.75)
    # 0.25, 0.75, and four times 1: 5 s over 6 gaps
    assert (found.itl_s.n, found.itl_s.p50) == (6, 1.0)
    assert found.itl_s.mean == pytest.approx(5 / 6)
    assert (found.e2e_s.n, found.e2e_s.mean) == (2, 3.25)


def test_one_token_has_no_time_per_output_token_and_no_gap() -> None:
    found = latency_statistics([[row(1, 1.0, 1.0, (1.0,))]])
    assert found is not None
    assert (found.tpot_s, found.itl_s) == (None, None)
    assert found.ttft_s == found.e2e_s
    assert found.ttft_s is not None


def test_what_the_engine_cannot_tell_is_absent_and_not_zero() -> None:
    found = latency_statistics([[row(4, None, 2.0), row(4, None, None)]])
    assert found is not None
    assert (found.ttft_s, found.tpot_s, found.itl_s) == (None, None, None)
    assert found.e2e_s is not None
    assert found.e2e_s.n == 1


def test_no_requests_have_no_latencies() -> None:
    assert latency_statistics([]) is None
    assert latency_statistics([[], []]) is None


def counts(*processes: list[RequestOutput]) -> tuple[list[tuple[int, int | None]], str | None]:
    """Values and independent ones of TTFT, TPOT, ITL and E2E, and where latencies count from."""
    found = latency_statistics(processes)
    assert found is not None
    kinds = [found.ttft_s, found.tpot_s, found.itl_s, found.e2e_s]
    return [(d.n, d.n_independent) for d in kinds if d is not None], found.counted_from


def batches(n_batches: int, n_each: int) -> list[RequestOutput]:
    """Requests of three tokens, all of a batch at the same times; one of each ends a token sooner."""
    times = (1.0, 1.5, 2.0)
    return [
        replace(row(3 - (i == 0), 1.0, times[-1 - (i == 0)], times[: 3 - (i == 0)]), sent_s=100.0 - b, batch=b)
        for b in range(n_batches)
        for i in range(n_each)
    ]


def test_the_requests_of_a_batch_are_one_observation_and_their_common_steps_are_one_each() -> None:
    # 8 requests a batch: 7 of two gaps and one of one; the steps of the batches are at the same times here.
    assert counts(batches(3, 8)) == ([(24, 3), (24, 3), (45, 2), (24, 3)], "batch")
    # The batches of another process are others.
    assert counts(batches(3, 8), batches(2, 8)) == ([(40, 5), (40, 5), (75, 4), (40, 5)], "batch")


def test_batches_of_one_and_requests_by_themselves_count_from_the_request() -> None:
    assert counts(batches(3, 1)) == ([(3, 3), (3, 3), (3, 1), (3, 3)], "request")
    alone = [row(2, 0.5 + i, 1.0 + i, (0.5 + i, 1.0 + i)) for i in range(4)]
    assert counts(alone) == ([(4, 4), (4, 4), (4, 4), (4, 4)], "request")
    # Two that were begun together and have their first token at the same step, and end apart.
    together = [row(2, 0.5, 1.0, (0.5, 1.0)), row(3, 0.5, 2.0, (0.5, 1.0, 2.0))]
    assert counts(together) == ([(2, 1), (2, 2), (3, 2), (2, 2)], "request")


def test_the_period_of_decoding_is_the_median_gap_and_tokens_that_come_together_have_none() -> None:
    assert decode_period_s([]) is None
    assert decode_period_s([row(1, 1.0, 1.0, (1.0,)), row(4, None, 2.0)]) is None
    # gaps 0.25, 0.5 and 1, then 0.25 twice with a drafted token between
    rows = [row(4, 1.0, 2.75, (1.0, 1.25, 1.75, 2.75)), row(4, 0.5, 1.0, (0.5, 0.75, 0.75, 1.0))]
    assert decode_period_s(rows) == 0.25
    assert decode_period_s(rows[:1]) == 0.5


def test_tokens_are_summed_over_requests() -> None:
    output = InferenceOutput(requests=(row(4, None, None), row(6, None, None)))
    assert (output.input_tokens, output.output_tokens) == (6, 10)


def test_digests_tell_outputs_apart() -> None:
    digests = [tokens_digest(ids) for ids in ([], [1], [1, 23], [12, 3], [1, 2, 3], [3, 2, 1])]
    assert len(set(digests)) == 6
    assert tokens_digest((1, 23)) == tokens_digest([1, 23])


def test_the_text_of_a_prompt_is_its_turns() -> None:
    turns = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello"))
    assert Prompt(index=0, messages=turns).text == "Be brief.\n\nHello"
