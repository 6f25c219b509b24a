"""Requests through TensorRT-LLM's workers: tokens, times, limits, cancelling, and a worker that dies."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from llenergymeasure.core.backends.in_flight import Counts
from llenergymeasure.core.backends.started import Started
from llenergymeasure.core.backends.streamed import StreamedRun
from llenergymeasure.core.backends.tensorrt.core import Core
from llenergymeasure.domain.inference import Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import BackendError, ExperimentError
from tests.fakes.tensorrt_llm_library import SHAPE, FakeLLM, FakeTensorRT


def sampling(request: Request, **more: Any) -> dict[str, Any]:
    given = {"max_tokens": request.max_output_tokens, "end_id": 24, "stop_token_ids": [35]}
    return {**given, "include_stop_str_in_output": True, **more}


def endless(request: Request) -> dict[str, Any]:
    return sampling(request, ignore_eos=True, stop_token_ids=None)


@contextmanager
def loaded(library: Any, sample: Callable[[Request], dict[str, Any]] = sampling, **arguments: Any) -> Iterator[Core]:
    core = Core(lambda: library, lambda _: {"model": "/folder", **arguments}, sample)
    try:
        yield core
    finally:
        core.close()


@pytest.fixture
def library() -> FakeTensorRT:
    return FakeTensorRT()


@pytest.fixture
def core(library: FakeTensorRT) -> Iterator[Core]:
    with loaded(library) as opened:
        yield opened


def requests_of(*lengths: int, n_read: int = 3) -> list[Request]:
    """Prompts 10, 11, 12 ..., 20, 21, 22 ..., whose answers go on counting."""
    return [
        Request(index=i, token_ids=tuple(range(10 * i + 10, 10 * i + 10 + n_read)), max_output_tokens=length)
        for i, length in enumerate(lengths)
    ]


def served(core: Core, requests: list[Request], load: Load, counts: Counts | None = None) -> dict[int, RequestOutput]:
    done: list[RequestOutput] = []
    StreamedRun(core, counts or Counts()).serve(requests, load, done.append)
    assert len({output.index for output in done}) == len(done)
    return {output.index: output for output in done}


def llm_of(library: FakeTensorRT) -> FakeLLM:
    return library.llms[-1]


def test_tokens_are_those_of_the_steps_and_what_ends_an_answer_is_one(core: Core) -> None:
    began_s = time.monotonic()
    done = served(core, requests_of(3, 6, 6), Load.all_at_once())
    ended_s = time.monotonic()
    assert (done[0].output_ids, done[0].finish_reason) == (((13, 14, 15),), "length")
    # 20, 21, 22 goes on with 23, and 24 is the end token; 35 is another one.
    assert (done[1].output_ids, done[1].finish_reason) == (((23, 24),), "stop")
    assert (done[2].output_ids, done[2].finish_reason) == (((33, 34, 35),), "stop")
    assert (done[0].input_tokens, done[0].input_digest) == (3, tokens_digest([10, 11, 12]))
    assert done[0].sent_s is not None
    times_s = [began_s, done[0].sent_s, *done[0].token_times_s, ended_s]
    assert all(earlier < later for earlier, later in pairwise(times_s))
    assert (len(done[0].token_times_s), done[0].end_s) == (3, done[0].token_times_s[-1])


def test_as_many_at_a_time_as_the_load_says(core: Core) -> None:
    done = served(core, requests_of(2, 2, 2), Load.at_most(1))
    spans = [(done[i].sent_s, done[i].end_s) for i in range(3)]
    assert all(a[1] is not None and b[0] is not None and a[1] <= b[0] for a, b in pairwise(spans))


def test_requests_begin_when_they_are_due(core: Core) -> None:
    done = served(core, requests_of(1, 1), Load.at_due_times([0.0, 0.12]))
    assert all(o.due_s is not None and o.sent_s is not None and 0 <= o.sent_s - o.due_s < 0.1 for o in done.values())


def test_a_prompt_that_does_not_fit_fails_alone(core: Core) -> None:
    long = Request(index=9, token_ids=tuple(range(100, 170)), max_output_tokens=2)
    done = served(core, [*requests_of(2), long], Load.all_at_once())
    assert done[0].finish_reason == "length"
    assert (done[9].finish_reason, done[9].output_tokens) == ("error", 0)
    assert done[9].error == "TensorRT-LLM does not take it: the prompt has 70 tokens, most are 64"


def test_a_prompt_that_no_step_takes_fails_alone(library: FakeTensorRT) -> None:
    with loaded(library, max_num_tokens=4) as core:
        done = served(core, [*requests_of(2), requests_of(2, 2, n_read=5)[1]], Load.all_at_once())
    assert done[0].finish_reason == "length"
    assert done[1].error == "TensorRT-LLM does not take it: The sum of prompt length (5) should not exceed 4"


def test_an_answer_that_has_no_room_fails(core: Core) -> None:
    # 60 tokens of 64 leave room for four.
    (output,) = served(core, requests_of(9, n_read=60), Load.all_at_once()).values()
    assert output.error == "there was no room for more after 4 of 9 tokens; raise tensorrt.max_seq_len"


def test_a_cancelled_load_aborts_what_is_in_flight_and_the_engine_serves_on(core: Core, library: FakeTensorRT) -> None:
    done: list[RequestOutput] = []
    load = Load(kind="concurrency", n_at_once=2, cancelled=lambda: bool(done))
    StreamedRun(core, Counts()).serve(requests_of(50, 1, 50), load, done.append)
    assert [(o.index, o.finish_reason) for o in done] == [(1, "length"), (0, "cancelled")]
    assert llm_of(library).log.count("abort") == 1
    assert not llm_of(library).at_work
    assert served(core, requests_of(2), Load.all_at_once())[0].output_ids == ((13, 14),)


def test_further_answers_are_counted_and_timed_together(library: FakeTensorRT) -> None:
    with loaded(library, lambda request: sampling(request, n=2, temperature=0.5)) as core:
        (output,) = served(core, requests_of(2), Load.all_at_once()).values()
    assert output.output_ids == ((13, 14), (14, 15))
    assert (output.output_tokens, len(output.token_times_s)) == (4, 2)
    assert output.output_digest == tokens_digest([13, 14], [14, 15])


def test_cached_tokens_are_counted_and_none_are_found_under_another_salt(library: FakeTensorRT) -> None:
    counts = Counts()
    with loaded(library, kv_cache_config={"enable_block_reuse": True}) as core:
        core.salt = "warm-up"
        served(core, requests_of(2, 2), Load.all_at_once(), counts)
        core.salt = "window"
        served(core, requests_of(2, 2), Load.all_at_once(), counts)
        assert counts.n_cached == 0
        served(core, requests_of(2, 2), Load.all_at_once(), counts)
    assert (counts.n_cached, counts.n_requests) == (4, 6)


@pytest.mark.parametrize("recorded", SHAPE["streamed"], ids=lambda each: each["of"])
def test_recorded_answers_are_read_as_they_were_meant(recorded: dict[str, Any]) -> None:
    steps = recorded["steps"]

    class Played:
        args = None
        _executor = SimpleNamespace(is_shutdown=lambda: False)

        async def generate_async(self, *_: Any, **__: Any) -> AsyncIterator[Any]:
            for step in steps:
                await asyncio.sleep(0)
                outputs = [SimpleNamespace(**output) for output in step["outputs"]]
                yield SimpleNamespace(outputs=outputs, cached_tokens=0)

        def shutdown(self) -> None:
            pass

    library = SimpleNamespace(LLM=lambda **_: Played(), SamplingParams=SimpleNamespace)
    last = steps[-1]["outputs"]
    request = Request(index=0, token_ids=(1,), max_output_tokens=max(len(output["token_ids"]) for output in last))
    with loaded(library) as core:
        (output,) = served(core, [request], Load.all_at_once()).values()
    if last[0]["finish_reason"] == "cancelled":
        assert output.error == "TensorRT-LLM gave it up (cancelled)"
    else:
        assert output.output_ids == tuple(tuple(each["token_ids"]) for each in last)
        assert output.finish_reason == last[0]["finish_reason"]


def test_a_worker_that_is_killed_ends_the_run_instead_of_waiting_for_ever() -> None:
    library = FakeTensorRT(room=1000, worker=True)

    def dies() -> bool:
        llm = llm_of(library)
        if not llm.dead and llm.at_work:
            llm.dead = True
            assert llm.process is not None
            os.kill(llm.process.pid, signal.SIGKILL)
        return False

    with (
        loaded(library, endless) as core,
        pytest.raises(ExperimentError, match=r"engine ended in the middle of a run, and it wrote nothing before"),
    ):
        StreamedRun(core, Counts()).serve(requests_of(900), Load(kind="all_at_once", cancelled=dies), lambda _: None)
    assert not [each for each in psutil.Process().children(recursive=True) if "mpi4py.futures.server" in each.cmdline()]


def test_what_a_worker_wrote_last_is_told_when_it_fails() -> None:
    library = FakeTensorRT(room=1000)

    def fails() -> bool:
        llm = llm_of(library)
        if llm.at_work and not llm.dead:
            llm.dead = True
            assert llm._executor is not None
            llm._executor.mpi_futures[0].set_exception(RuntimeError("Executor worker returned error"))
        return False

    with loaded(library, endless) as core:
        with core.journal.taking():
            os.write(2, b"Traceback ...\ntorch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB\n")
        with pytest.raises(ExperimentError, match=r"wrote: torch\.OutOfMemoryError: CUDA out of memory"):
            StreamedRun(core, Counts()).serve(
                requests_of(900), Load(kind="all_at_once", cancelled=fails), lambda _: None
            )


def test_loading_that_fails_tells_why_and_leaves_nothing() -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    failing = FakeTensorRT(fails=RuntimeError("Executor worker returned error"))

    def imported() -> Any:
        os.write(2, b"torch.OutOfMemoryError: CUDA out of memory\n")
        return failing

    with pytest.raises(BackendError, match=r"could not load it: torch\.OutOfMemoryError: CUDA out of memory"):
        Core(imported, lambda _: {"model": "m"}, sampling)
    with pytest.raises(BackendError, match=r"tensorrt_llm cannot be imported"):
        Core(_refused, lambda _: {"model": "m"}, sampling)
    assert {process.pid for process in psutil.Process().children(recursive=True)} == before


def _refused() -> Any:
    raise BackendError("tensorrt_llm cannot be imported: no MPI; install it anew")


def test_a_shutdown_that_never_ends_is_not_waited_for() -> None:
    may_end = threading.Event()

    class Hanging(FakeLLM):
        def shutdown(self) -> None:
            may_end.wait(60.0)

    library = FakeTensorRT()
    hanging = SimpleNamespace(LLM=lambda **given: Hanging(library, given), SamplingParams=library.SamplingParams)
    core = Core(lambda: hanging, lambda _: {"model": "m"}, sampling)
    began_s = time.monotonic()
    core.close(patience_s=0.05)
    took_s = time.monotonic() - began_s
    may_end.set()
    assert took_s < 30.0


@pytest.mark.linux
def test_mpis_daemon_is_no_process_to_be_ended() -> None:
    started = Started("test", spared=("python3-spared",))
    code = "import ctypes, time; ctypes.CDLL(None).prctl(15, b'python3-spared'); print(1, flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"1\n"
        assert child.pid not in [process.pid for process in started.processes()]
        started.end()
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        child.stdout.close()  # type: ignore[union-attr]
