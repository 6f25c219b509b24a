"""Requests through vLLM's engine: tokens, times, limits, cancelling, and an engine that dies."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest

from llenergymeasure.core.backends.in_flight import Counts
from llenergymeasure.core.backends.vllm.core import Core
from llenergymeasure.core.backends.vllm.scheduling import Run, scored
from llenergymeasure.domain.inference import Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import BackendError, ExperimentError
from tests.fakes.vllm_library import FakeEngine, FakeVllm


@pytest.fixture
def library() -> FakeVllm:
    return FakeVllm()


@pytest.fixture
def core(library: FakeVllm) -> Iterator[Core]:
    opened = Core(library, {})
    yield opened
    opened.close()


def requests_of(*lengths: int, n_read: int = 3) -> list[Request]:
    """Prompts 10, 11, 12 ..., 20, 21, 22 ..., whose answers go on counting."""
    return [
        Request(index=i, token_ids=tuple(range(10 * i + 10, 10 * i + 10 + n_read)), max_output_tokens=length)
        for i, length in enumerate(lengths)
    ]


def sampling(request: Request) -> dict[str, Any]:
    return {"max_tokens": request.max_output_tokens, "stop_token_ids": [24]}


def served(core: Core, requests: list[Request], load: Load, counts: Counts | None = None) -> list[RequestOutput]:
    done: list[RequestOutput] = []
    Run(core, counts or Counts(), sampling).serve(requests, load, done.append)
    return done


def engine_of(library: FakeVllm) -> FakeEngine:
    assert library.engine is not None
    return library.engine


def test_tokens_are_those_of_the_steps_and_the_end_token_is_one(core: Core) -> None:
    began_s = time.monotonic()
    first, second = sorted(served(core, requests_of(3, 6), Load.all_at_once()), key=lambda output: output.index)
    ended_s = time.monotonic()
    assert (first.output_ids, first.finish_reason) == (((13, 14, 15),), "length")
    # 20, 21, 22 goes on with 23, and 24 ends an answer.
    assert (second.output_ids, second.finish_reason) == (((23, 24),), "stop")
    assert (first.input_tokens, first.input_digest) == (3, tokens_digest([10, 11, 12]))
    assert first.sent_s is not None
    times_s = [began_s, first.sent_s, *first.token_times_s, ended_s]
    assert times_s == sorted(times_s)
    assert (len(first.token_times_s), first.end_s) == (3, first.token_times_s[-1])


def test_tokens_of_one_step_have_one_time(core: Core) -> None:
    outputs = served(core, requests_of(3, 1, 3), Load.all_at_once())
    by_place = {output.index: output.token_times_s for output in outputs}
    assert by_place[0] == by_place[2]
    assert by_place[1] == by_place[0][:1]


def test_as_many_at_a_time_as_the_load_says(core: Core, library: FakeVllm) -> None:
    outputs = served(core, requests_of(2, 2, 2), Load.at_most(1))
    assert [output.index for output in outputs] == [0, 1, 2]
    assert all(a.end_s is not None and b.sent_s is not None and a.end_s <= b.sent_s for a, b in pairwise(outputs))
    assert engine_of(library).log == ["add 0", "add 1", "add 2"]


def test_requests_begin_when_they_are_due(core: Core) -> None:
    outputs = served(core, requests_of(1, 1), Load.at_due_times([0.0, 0.12]))
    assert [output.index for output in outputs] == [0, 1]
    assert all(o.due_s is not None and o.sent_s is not None and 0 <= o.sent_s - o.due_s < 0.1 for o in outputs)
    assert outputs[1].due_s is not None
    assert outputs[0].due_s is not None
    assert outputs[1].due_s - outputs[0].due_s == pytest.approx(0.12)


def test_a_prompt_that_does_not_fit_fails_alone(core: Core) -> None:
    long = replace(requests_of(2)[0], index=9, token_ids=tuple(range(100, 170)))
    outputs = {output.index: output for output in served(core, [*requests_of(2), long], Load.all_at_once())}
    assert outputs[0].finish_reason == "length"
    assert outputs[9].finish_reason == "error"
    assert outputs[9].error == "vLLM does not take it: the prompt has 70 tokens, and the most is 64"


def test_an_answer_that_has_no_room_fails(core: Core) -> None:
    # 60 tokens of 64 leave room for four.
    (output,) = served(core, requests_of(9, n_read=60), Load.all_at_once())
    assert output.finish_reason == "error"
    assert output.error == "there was no room for more after 4 of 9 tokens; raise vllm.max_model_len"


def test_a_cancelled_load_aborts_what_is_in_flight(core: Core, library: FakeVllm) -> None:
    asked = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > 3

    done: list[RequestOutput] = []
    load = Load(kind="concurrency", n_at_once=2, cancelled=cancelled)
    Run(core, Counts(), sampling).serve(requests_of(30, 2, 30), load, done.append)
    # Three steps: 0 and 1 for two, then 0 and 2 for one; 21, 22, 23 of request 1 would have ended at two.
    assert [(o.index, o.finish_reason, o.output_tokens) for o in done] == [
        (1, "stop", 2),
        (0, "cancelled", 3),
        (2, "cancelled", 1),
    ]
    assert engine_of(library).log[-1] == "abort 2"
    assert not engine_of(library).has_unfinished_requests()


def test_further_answers_are_counted_and_timed_together(core: Core) -> None:
    def several(request: Request) -> dict[str, Any]:
        return {**sampling(request), "n": 2}

    done: list[RequestOutput] = []
    Run(core, Counts(), several).serve(requests_of(2), Load.all_at_once(), done.append)
    (output,) = done
    assert output.output_ids == ((13, 14), (14, 15))
    assert (output.output_tokens, len(output.token_times_s)) == (4, 2)
    assert output.output_digest == tokens_digest([13, 14], [14, 15])


def test_every_request_runs_with_the_adapter(core: Core, library: FakeVllm) -> None:
    core.put_on(Path("/adapter"))
    served(core, requests_of(1, 1), Load.all_at_once())
    assert engine_of(library).log == ["adapter /adapter", "add 0 with adapter", "add 1 with adapter"]


def test_an_adapter_that_vllm_refuses_is_told_with_its_reason(core: Core) -> None:
    with pytest.raises(BackendError, match=r"lora\.path: vLLM does not take the adapter: vLLM does not yet support"):
        core.put_on(Path("/broken"))


def test_cached_tokens_are_counted() -> None:
    counts, core = Counts(), Core(FakeVllm(), {"enable_prefix_caching": True})
    served(core, requests_of(2, 2), Load.all_at_once(), counts)
    assert counts.n_cached == 0
    served(core, requests_of(2, 2), Load.all_at_once(), counts)
    core.close()
    assert (counts.n_cached, counts.n_requests) == (4, 4)


def test_scores_are_of_all_tokens_but_the_first(core: Core) -> None:
    given = {"prompt_logprobs": 0, "max_tokens": 1}
    assert scored(core, [10, 20, 30], given) == [-2.0, -3.0]
    with pytest.raises(ExperimentError, match=r"vLLM does not score 64 tokens: the prompt has 64"):
        scored(core, [1] * 64, given)


def test_an_engine_that_dies_ends_the_run_instead_of_waiting_for_ever() -> None:
    library = FakeVllm(apart=True)
    core = Core(library, {})
    engine_of(library).die()
    with pytest.raises(ExperimentError, match=r"engine ended in the middle of a run, and it wrote nothing"):
        served(core, requests_of(3), Load.all_at_once())
    core.close()


def test_what_an_engine_wrote_last_is_told_when_it_dies() -> None:
    library = FakeVllm(apart=True)
    core = Core(library, {})
    with core.journal.taking():
        os.write(
            2, b"Traceback ...\n(EngineCore pid=9) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB\n"
        )
    served_by = Run(core, Counts(), sampling)
    done: list[RequestOutput] = []

    def dies() -> bool:
        engine_of(library).die()
        return False

    load = Load(kind="all_at_once", cancelled=dies)
    with pytest.raises(ExperimentError, match=r"wrote: torch\.OutOfMemoryError: CUDA out of memory"):
        served_by.serve(requests_of(3), load, done.append)
    core.close()


def test_a_worker_that_was_killed_is_told_before_what_follows_from_it(core: Core) -> None:
    journal = core.journal
    with journal.taking():
        os.write(2, b"Worker proc VllmWorker-0 died unexpectedly, shutting down executor.\n")
        os.write(2, b"(EngineCore pid=9) Traceback\n(EngineCore pid=9) RuntimeError: cancelled\n")
    assert journal.cause() == "Worker proc VllmWorker-0 died unexpectedly, shutting down executor."


def test_loading_that_fails_tells_why_and_leaves_nothing() -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    variable = os.environ.get("VLLM_RPC_BASE_PATH")
    with pytest.raises(BackendError, match=r"vLLM could not load it: No available memory for the cache blocks"):
        Core(FakeVllm(fails=ValueError("No available memory for the cache blocks")), {})
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before
    assert os.environ.get("VLLM_RPC_BASE_PATH") == variable
