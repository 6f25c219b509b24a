"""Requests through an engine on an event loop: tokens, times, cancelling, refusals, and an engine that dies."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import pairwise

import pytest

from llenergymeasure.core.backends.in_flight import Counts
from llenergymeasure.core.backends.streamed import Piece, StreamedRun
from llenergymeasure.domain.inference import Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import ExperimentError

_TOKEN_S = 0.01


class Counting:
    """An engine whose answers go on counting from the prompt's last token."""

    name = "Counting"
    room = "counting.room"

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.aborted: set[str] = set()
        self.n_at_work = self.most_at_work = 0
        self.problem: dict[int, Exception] = {}
        self.reason: dict[int, str | None] = {}
        self.dies_after_s = float("inf")
        self.died = False

    async def stream(self, request_name: str, request: Request) -> AsyncIterator[Iterable[Piece]]:
        self.n_at_work += 1
        self.most_at_work = max(self.most_at_work, self.n_at_work)
        try:
            last, most = request.token_ids[-1], request.max_output_tokens
            for i in range(most):
                await asyncio.sleep(_TOKEN_S)
                if request_name in self.aborted:
                    yield [Piece(tokens=(), reason="abort")]
                    return
                if i == 1 and request.index in self.problem:
                    raise self.problem[request.index]
                ended = i == most - 1
                reason = self.reason.get(request.index, "length") if ended else None
                yield [Piece(tokens=[last + 1 + i], reason=reason, n_cached=2)]
        finally:
            self.n_at_work -= 1

    async def abort(self, request_names: Sequence[str]) -> None:
        self.aborted.update(request_names)

    def must_live(self) -> None:
        if time.monotonic() > self.dies_after_s:
            self.died = True
            raise ExperimentError("Counting ended in the middle of a run")


@pytest.fixture
def engine() -> Iterator[Counting]:
    made = Counting()
    yield made
    made.loop.close()


def requests_of(*lengths: int) -> list[Request]:
    return [
        Request(index=i, token_ids=(10 * i, 10 * i + 1), max_output_tokens=length) for i, length in enumerate(lengths)
    ]


def served(
    engine: Counting, requests: list[Request], load: Load, counts: Counts | None = None
) -> dict[int, RequestOutput]:
    done: list[RequestOutput] = []
    StreamedRun(engine, counts or Counts()).serve(requests, load, done.append)
    assert len({each.index for each in done}) == len(done)
    return {each.index: each for each in done}


def test_tokens_are_those_of_the_pieces_and_each_has_the_time_it_came_at(engine: Counting) -> None:
    counts, began_s = Counts(), time.monotonic()
    done = served(engine, requests_of(3, 2), Load.all_at_once(), counts)
    ended_s = time.monotonic()
    assert done[0].output_ids == ((2, 3, 4),)
    assert done[1].output_ids == ((12, 13),)
    assert done[1].output_digest == tokens_digest((12, 13))
    assert [each.finish_reason for each in done.values()] == ["length", "length"]
    times_s = done[0].token_times_s
    assert all(later - earlier > _TOKEN_S / 2 for earlier, later in pairwise((began_s, *times_s)))
    assert times_s[-1] == done[0].end_s <= ended_s  # type: ignore[operator]
    assert (counts.n_requests, counts.n_cached) == (2, 4)


def test_as_many_at_a_time_as_the_load_says(engine: Counting) -> None:
    assert len(served(engine, requests_of(2, 2, 2, 2, 2), Load.at_most(2))) == 5
    assert engine.most_at_work == 2
    assert len(served(engine, requests_of(2, 2, 2, 2, 2), Load.all_at_once())) == 5
    assert engine.most_at_work == 5


def test_requests_begin_when_they_are_due(engine: Counting) -> None:
    done = served(engine, requests_of(1, 1), Load.at_due_times([0.0, 0.08]))
    first, second = done[0], done[1]
    assert second.due_s is not None
    assert first.due_s is not None
    assert second.due_s - first.due_s == pytest.approx(0.08)
    assert second.sent_s is not None
    assert second.sent_s >= second.due_s


@pytest.mark.parametrize(
    ("problem", "reason", "why"),
    [
        (ValueError("too long\nand more"), "length", "Counting does not take it: too long"),
        (None, "abort", "Counting gave it up (abort)"),
        (None, None, "Counting ended the answer without a reason"),
    ],
)
def test_what_fails_is_that_request_alone(
    engine: Counting, problem: Exception | None, reason: str | None, why: str
) -> None:
    if problem is not None:
        engine.problem[1] = problem
    engine.reason[1] = reason
    counts = Counts()
    done = served(engine, requests_of(3, 3, 3), Load.all_at_once(), counts)
    assert [done[i].finish_reason for i in range(3)] == ["length", "error", "length"]
    assert done[1].error == why
    assert counts.n_requests == 2


def test_a_request_that_no_model_could_have_is_not_sent(engine: Counting) -> None:
    done: list[RequestOutput] = []
    refused = StreamedRun(engine, Counts(), lambda request: "no such token" if request.index == 0 else None)
    refused.serve(requests_of(1, 1), Load.all_at_once(), done.append)
    assert [(each.index, each.error) for each in done] == [(0, "no such token"), (1, None)]
    assert engine.most_at_work == 1


def test_a_cancelled_load_tells_what_was_there_and_leaves_nothing_at_work(engine: Counting) -> None:
    began_s = time.monotonic()
    load = Load(kind="concurrency", n_at_once=2, cancelled=lambda: time.monotonic() > began_s + 0.1)
    done = served(engine, requests_of(1000, 1000, 1000), load)
    assert time.monotonic() - began_s < 5
    assert sorted(done) == [0, 1]
    assert {each.finish_reason for each in done.values()} == {"cancelled"}
    assert 0 < done[0].output_tokens < 1000
    assert len(done[0].token_times_s) == done[0].output_tokens
    assert engine.n_at_work == 0
    assert len(engine.aborted) == 2
    # The next run is none of theirs.
    assert [each.finish_reason for each in served(engine, requests_of(1), Load.all_at_once()).values()] == ["length"]


def test_an_engine_that_dies_ends_the_run(engine: Counting) -> None:
    engine.dies_after_s = time.monotonic() + 0.05
    with pytest.raises(ExperimentError, match="Counting ended in the middle of a run"):
        served(engine, requests_of(1000, 1000), Load.all_at_once())
    assert engine.n_at_work == 0


def test_whoever_is_told_may_stop_the_run(engine: Counting) -> None:
    def stops(_: RequestOutput) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StreamedRun(engine, Counts()).serve(requests_of(1, 1000), Load.all_at_once(), stops)
    assert engine.n_at_work == 0
