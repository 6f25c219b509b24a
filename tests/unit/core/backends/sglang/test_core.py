"""Requests through SGLang's engine: tokens, times, limits, cancelling, an engine that dies, and what it leaves."""

import asyncio
import itertools
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from llenergymeasure.core.backends.in_flight import Counts
from llenergymeasure.core.backends.sglang.core import Core
from llenergymeasure.core.backends.sglang.serving import Serving
from llenergymeasure.core.backends.streamed import StreamedRun
from llenergymeasure.domain.inference import Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import BackendError, ExperimentError
from tests.fakes.sglang.library import FakeEngine, FakeSGLang

# Since Python 3.14 it is deprecated to ask for the policy of event loops, which SGLang may set.
pytestmark = pytest.mark.filterwarnings("ignore:.*event_loop_policy.*:DeprecationWarning")
END = 24
ARGUMENTS = {"model_path": "/m", "disable_radix_cache": True, "skip_tokenizer_init": True}


def counting(ids: Sequence[int], sampling: dict[str, Any]) -> list[int]:
    """A model that goes on counting from a prompt's last token."""
    return [ids[-1] + 1 + i for i in range(sampling["max_new_tokens"])]


@pytest.fixture
def library() -> FakeSGLang:
    return FakeSGLang(counting, lambda ids: [-t / 10 for t in ids[1:]], ends=[END])


@pytest.fixture
def core(library: FakeSGLang) -> Iterator[Core]:
    opened = Core(library, ARGUMENTS)
    yield opened
    opened.close()


def engine_of(library: FakeSGLang) -> FakeEngine:
    assert library.engine is not None
    return library.engine


def requests_of(*lengths: int, n_read: int = 3, first: int = 10) -> list[Request]:
    """Prompts 10, 11, 12 ..., 20, 21, 22 ..., whose answers go on counting."""
    return [
        Request(index=i, token_ids=tuple(range(10 * i + first, 10 * i + first + n_read)), max_output_tokens=length)
        for i, length in enumerate(lengths)
    ]


def sampling(request: Request) -> dict[str, Any]:
    return {"max_new_tokens": request.max_output_tokens, "stop_token_ids": [END], "ignore_eos": False}


def served(
    core: Core,
    requests: list[Request],
    load: Load,
    counts: Counts | None = None,
    ends: frozenset[int] = frozenset({END}),
) -> dict[int, RequestOutput]:
    done: list[RequestOutput] = []
    StreamedRun(Serving(core, sampling, ends), counts or Counts()).serve(requests, load, done.append)
    return {output.index: output for output in done}


def test_tokens_are_those_that_are_new_and_the_end_token_is_one(core: Core) -> None:
    began_s = time.monotonic()
    done = served(core, requests_of(3, 6), Load.all_at_once())
    ended_s = time.monotonic()
    assert (done[0].output_ids, done[0].finish_reason) == (((13, 14, 15),), "length")
    # 20, 21, 22 goes on with 23, and 24 ends an answer.
    assert (done[1].output_ids, done[1].finish_reason) == (((23, 24),), "stop")
    assert (done[0].input_tokens, done[0].input_digest) == (3, tokens_digest([10, 11, 12]))
    assert done[0].sent_s is not None
    times_s = [began_s, done[0].sent_s, *done[0].token_times_s, ended_s]
    assert times_s == sorted(times_s)
    assert (len(done[0].token_times_s), done[0].end_s) == (3, done[0].token_times_s[-1])


def test_each_token_has_the_time_of_the_step_that_said_it(core: Core) -> None:
    (output,) = served(core, requests_of(8), Load.all_at_once()).values()
    assert len(set(output.token_times_s)) == 8


def test_as_many_at_a_time_as_the_load_says_and_when_they_are_due(core: Core) -> None:
    done = served(core, requests_of(2, 2, 2), Load.at_most(1))
    ends = [(done[i].sent_s, done[i].end_s) for i in range(3)]
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends))  # type: ignore[operator]
    due = served(core, requests_of(1, 1), Load.at_due_times([0.0, 0.08]))
    assert all(o.due_s is not None and o.sent_s is not None and 0 <= o.sent_s - o.due_s < 0.1 for o in due.values())


def test_a_prompt_that_does_not_fit_fails_alone(library: FakeSGLang) -> None:
    core = Core(library, {**ARGUMENTS, "context_length": 64})
    done = served(
        core, [*requests_of(2), Request(index=9, token_ids=(1,) * 70, max_output_tokens=2)], Load.all_at_once()
    )
    # 64 tokens of room, 59 read, two of SGLang's own: three are left.
    short = served(core, requests_of(5, n_read=59), Load.all_at_once())
    core.close()
    assert done[0].finish_reason == "length"
    assert done[9].finish_reason == "error"
    assert (done[9].error or "").startswith(
        "SGLang does not take it: Requested token count exceeds the model's maximum"
    )
    assert short[0].error == (
        "there was no room for more after 3 of 5 tokens; raise sglang.context_length or sglang.mem_fraction_static"
    )


def test_an_end_that_is_none_of_the_models_is_a_failure_and_no_answer(core: Core) -> None:
    done = served(core, requests_of(3, 6), Load.all_at_once(), ends=frozenset({7}))
    assert done[0].finish_reason == "length"
    assert done[1].error == "SGLang gave it up (stopped at 24, which ends no answer)"


def test_tokens_that_are_counted_and_not_told_make_no_answer(core: Core, library: FakeSGLang) -> None:
    library.n_lost = 1
    (output,) = served(core, requests_of(3), Load.all_at_once()).values()
    assert output.error == "SGLang gave it up (4 tokens were counted, and 3 told)"


def test_a_cancelled_load_aborts_what_is_in_flight(core: Core, library: FakeSGLang) -> None:
    began_s = time.monotonic()
    load = Load(kind="concurrency", n_at_once=2, cancelled=lambda: time.monotonic() > began_s + 0.1)
    done = served(core, requests_of(2000, 2000, 2000, first=100), load)
    assert [done[i].finish_reason for i in sorted(done)] == ["cancelled"] * 2
    assert engine_of(library).log.count("abort") == 2
    assert engine_of(library).tokenizer_manager.states == {}
    assert 0 < done[0].output_tokens < 2000
    # It can be used again.
    assert served(core, requests_of(2), Load.all_at_once())[0].finish_reason == "length"


def test_cached_tokens_are_counted_until_the_cache_is_emptied(library: FakeSGLang) -> None:
    counts, core = Counts(), Core(library, {**ARGUMENTS, "disable_radix_cache": False})
    for expected in (0, 4, 4):
        served(core, requests_of(2, 2), Load.all_at_once(), counts)
        assert counts.n_cached == expected
        if expected:
            core.forget_prefixes()
    core.close()


def test_probabilities_are_those_that_were_told(core: Core) -> None:
    told = core.scored("a", [10, 20, 30])
    assert told["meta_info"]["input_token_logprobs"] == [(None, 10, None), (-2.0, 20, None), (-3.0, 30, None)]


def test_a_scheduler_that_is_killed_fails_the_experiment_with_what_it_wrote(core: Core, library: FakeSGLang) -> None:
    with core.journal.taking():
        os.write(2, b"Scheduler hit an exception: Traceback ...\ntorch.OutOfMemoryError: CUDA out of memory\n")
    threading.Timer(0.1, engine_of(library).die).start()
    began_s = time.monotonic()
    with pytest.raises(ExperimentError, match=r"SGLang's engine ended .* wrote: torch\.OutOfMemoryError: CUDA out of"):
        served(core, requests_of(2000, first=100), Load.all_at_once())
    # A dead engine aborts nothing, and is not waited for.
    assert time.monotonic() - began_s < 5
    assert "abort" not in engine_of(library).log


def test_what_waits_for_a_dead_scheduler_does_not_wait_for_ever(core: Core, library: FakeSGLang) -> None:
    engine_of(library).die()
    with pytest.raises(ExperimentError, match=r"ended in the middle of a run, and it wrote nothing before"):
        core.scored("a", [10, 20])


def process_wide() -> dict[str, Any]:
    """What of this process belongs to others."""
    root = logging.getLogger()
    return {
        "handlers": list(root.handlers),
        "level": root.level,
        "signals": [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)],
        "environment": dict(os.environ),
        "method": multiprocessing.get_start_method(allow_none=True),
        "policy": asyncio.get_event_loop_policy(),
        "folder for files": tempfile.gettempdir(),
        "children": {process.pid for process in psutil.Process().children(recursive=True)},
        "files": {path.name for path in Path(tempfile.gettempdir()).glob("llem-sglang-*")},
        "threads": {thread.name for thread in threading.enumerate()},
    }


def test_it_leaves_the_process_as_it_was(library: FakeSGLang, monkeypatch: pytest.MonkeyPatch) -> None:
    before = process_wide()
    other = psutil.Popen(["sleep", "60"])
    core = Core(library, ARGUMENTS)
    during = process_wide()
    # While it serves, its own handlers of signals are gone, and so is what it set for logs and files.
    assert [during[name] for name in ("handlers", "level", "folder for files")] == [
        before[name] for name in ("handlers", "level", "folder for files")
    ]
    assert during["signals"][0] == before["signals"][0]
    served(core, requests_of(2), Load.all_at_once())
    engine = engine_of(library)
    assert os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] == "8"
    # What others set meanwhile stays.
    monkeypatch.setenv("SET_BY_OTHERS", "1")
    before["environment"]["SET_BY_OTHERS"] = "1"
    assert Path(engine.socket).parent == core.started.folder
    core.close()
    # What somebody else has started lives on: its own shutdown would have killed it.
    assert other.is_running()
    assert other.status() != psutil.STATUS_ZOMBIE
    other.kill()
    other.wait()
    assert process_wide() == before
    assert engine.log == ["close 0"]
    assert engine.loop.is_closed()


def test_loading_that_fails_tells_why_and_leaves_nothing_but_a_harmless_handler() -> None:
    before = process_wide()
    try:
        with pytest.raises(BackendError, match=r"SGLang could not load it: ValueError: Unrecognized model type x"):
            Core(
                FakeSGLang(counting, fails="Scheduler hit: Traceback\nValueError: Unrecognized model type x\n"),
                ARGUMENTS,
            )
        after = process_wide()
        # Something of it may still tell by SIGQUIT that a process of its own has ended.
        assert after["signals"][1] is not signal.SIG_DFL
        assert {**after, "signals": 0} == {**before, "signals": 0}
    finally:
        signal.signal(signal.SIGQUIT, before["signals"][1])


def test_an_option_that_it_has_not_is_an_error_of_loading(library: FakeSGLang) -> None:
    handler = signal.getsignal(signal.SIGQUIT)
    with pytest.raises(BackendError, match=r"SGLang could not load it: Unexpected keyword argument 'tensor_parallel'"):
        Core(library, {**ARGUMENTS, "tensor_parallel": 2})
    assert signal.getsignal(signal.SIGQUIT) is handler


def test_it_is_loaded_in_the_main_thread_only(library: FakeSGLang) -> None:
    found: list[BaseException] = []

    def load() -> None:
        try:
            Core(library, ARGUMENTS)
        except BackendError as error:
            found.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    thread.join()
    assert "the sglang engine runs in a process's main thread only" in str(found[0])
    assert library.engine is None
