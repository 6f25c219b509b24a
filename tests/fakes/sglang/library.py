"""A module ``sglang`` whose ``Engine`` refuses what the recorded shape of the real one has no place for.

Around it it does to its process what the real one does: it replaces the root logger's handlers, handles SIGTERM and
SIGQUIT, makes files of sockets, sets variables, and starts a process that may die. Its model is a function that gives a
prompt's answer; a scheduler on the event loop gives each request that has begun one token a step.
"""

import asyncio
import atexit
import inspect
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
import typing
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

SHAPE: dict[str, Any] = json.loads((Path(__file__).parent / "shape.json").read_text("utf-8"))
STEP_S = 0.002
Answer = Callable[[Sequence[int], dict[str, Any]], Sequence[int]]
Scores = Callable[[Sequence[int]], Sequence[float]]


def refuse_what_it_has_not(arguments: dict[str, Any], known: dict[str, Any]) -> None:
    """As its own class of arguments would: a name that it has not, or a value of another type or choice."""
    for name, value in arguments.items():
        if name not in known:
            raise TypeError(f"Unexpected keyword argument {name!r}")
        about = known[name] if isinstance(known[name], dict) else {"type": known[name][0]}
        TypeAdapter(eval(about["type"], {**vars(typing), "CudaGraphConfig": Any})).validate_python(value, strict=True)
        if value is not None and value not in about.get("choices", [value]):
            raise ValueError(f"{name}: {value!r} is none of {about['choices']}")


class FakeSGLang:
    """Stands for the module ``sglang``.

    ``answer`` gives the tokens of an answer from a prompt and sampling parameters, ``scores`` logarithms of the
    probabilities of a prompt's tokens but the first. ``ends`` are the end tokens of the model's files, ``fails`` what
    its scheduler writes where loading fails.
    """

    def __init__(
        self, answer: Answer, scores: Scores | None = None, *, ends: Sequence[int] = (), fails: str | None = None
    ) -> None:
        self.answer, self.scores, self.ends, self.fails = answer, scores, set(ends), fails
        self.engine: FakeEngine | None = None
        # Tokens that it counts and does not tell.
        self.n_lost = 0

    def Engine(self, **arguments: Any) -> "FakeEngine":  # noqa: N802 - its name
        self.engine = FakeEngine(self, arguments)
        return self.engine


class FakeEngine:
    """An ``Engine``; ``log`` has what it was asked for."""

    def __init__(self, library: FakeSGLang, arguments: dict[str, Any]) -> None:
        refuse_what_it_has_not(arguments, SHAPE["server_args"])
        self.library, self.arguments, self.log = library, arguments, list[str]()
        self.dead = False
        self.room: int = arguments.get("context_length") or 4096
        logging.basicConfig(level=logging.ERROR, force=True)
        os.environ["CUDA_DEVICE_MAX_CONNECTIONS"] = "8"
        signal.signal(signal.SIGQUIT, arguments.get("custom_sigquit_handler") or _dies)
        multiprocessing.set_start_method("spawn", force=True)
        with tempfile.NamedTemporaryFile(delete=False) as file:
            self.socket = file.name
        atexit.register(self.shutdown)
        self.scheduler = Scheduler([sys.executable, "-c", "import time; time.sleep(600)"])
        if library.fails is not None:
            os.write(2, library.fails.encode())
            self.scheduler.kill()
            self.scheduler.wait()
            os.kill(os.getpid(), signal.SIGQUIT)
            raise RuntimeError("Rank 0 scheduler died during initialization (exit code: -9).")
        self.tokenizer_manager = FakeManager(self)
        self.send_to_rpc = types.SimpleNamespace(close=lambda linger: self.log.append(f"close {linger}"))
        self.loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self.loop)

    def die(self) -> None:
        """As when its scheduler is killed: nothing comes any more."""
        self.dead = True
        self.scheduler.kill()

    def get_all_child_pids(self) -> list[int]:
        return [self.scheduler.pid]

    def shutdown(self) -> None:
        """The real one kills whatever this process has started."""
        self.log.append("shutdown")

    async def async_generate(self, *positional: Any, **named: Any) -> Any:
        asked = _bound(SHAPE["engine"]["async_generate"], positional, named)
        return await self.tokenizer_manager.begin(asked)


class Scheduler(subprocess.Popen[bytes]):
    """A process that does nothing and may be reaped by others."""

    def __del__(self) -> None:
        self.poll()


class FakeManager:
    """A ``TokenizerManager`` and, on the loop, the scheduler behind it."""

    def __init__(self, engine: FakeEngine) -> None:
        self.engine = engine
        self._subprocess_watchdog = Watchdog(engine.scheduler)
        self.event_loop: asyncio.AbstractEventLoop | None = None
        self.states: dict[str, State] = {}
        self.kept: set[tuple[int, ...]] = set()
        self.leaving = False

    def auto_create_handle_loop(self) -> None:
        if self.event_loop is None:
            self.event_loop = asyncio.get_running_loop()
            self.steps = self.event_loop.create_task(self.step())
            for number in (signal.SIGTERM, signal.SIGQUIT):
                self.event_loop.add_signal_handler(number, _dies)

    async def get_internal_state(self) -> list[dict[str, Any]]:
        self.auto_create_handle_loop()
        defaults = {name: _default(about) for name, about in SHAPE["server_args"].items()}
        settled = {**defaults, **self.engine.arguments, "effective_max_running_requests_per_dp": 4}
        return [{name: value for name, value in settled.items() if name != "custom_sigquit_handler"}]

    async def flush_cache(self, *positional: Any, **named: Any) -> Any:
        """It is refused while a request is at work; the scheduler is at one for a step more than it tells."""
        asked = _bound(SHAPE["tokenizer_manager"]["flush_cache"], positional, named)
        ends_s = time.monotonic() + asked.get("timeout_s", 0.0)
        while self.leaving and time.monotonic() < ends_s:
            await asyncio.sleep(STEP_S)
        self.engine.log.append("flush")
        if self.states or self.leaving:
            return types.SimpleNamespace(success=False)
        self.kept.clear()
        return types.SimpleNamespace(success=True)

    def abort_request(self, *positional: Any, **named: Any) -> None:
        rid = _bound(SHAPE["tokenizer_manager"]["abort_request"], positional, named)["rid"]
        self.engine.log.append("abort")
        if rid in self.states and not self.engine.dead:
            self.states.pop(rid).tell({"type": "abort", "message": "Abort in waiting queue"})

    async def begin(self, asked: dict[str, Any]) -> Any:
        self.auto_create_handle_loop()
        ids, sampling = asked["input_ids"], asked["sampling_params"]
        refuse_what_it_has_not(
            {name: set(value) if name == "stop_token_ids" else value for name, value in sampling.items()},
            SHAPE["sampling_params"],
        )
        if len(ids) + sampling["max_new_tokens"] > self.engine.room:
            raise ValueError(f"Requested token count exceeds the model's maximum context length of {self.engine.room}")
        state = State(asked["rid"], ids, list(self.engine.library.answer(ids, sampling)), sampling)
        state.n_lost = self.engine.library.n_lost
        state.most = min(sampling["max_new_tokens"], self.engine.room - 1 - len(ids) - 1)
        state.ends = set() if sampling["ignore_eos"] else {*sampling["stop_token_ids"], *self.ends()}
        is_kept = not self.engine.arguments["disable_radix_cache"] and tuple(ids) in self.kept
        state.n_cached = len(ids) - 1 if is_kept else 0
        self.states[state.rid] = state
        if asked.get("stream"):
            return state.stream()
        if asked.get("return_logprob"):
            assert self.engine.library.scores is not None
            scores = self.engine.library.scores(ids)
            state.rows = [(None, ids[0], None), *zip(scores, ids[1:], [None] * len(scores), strict=True)]
        return [told async for told in state.stream()][-1]

    def ends(self) -> set[int]:
        override = json.loads(self.engine.arguments.get("json_model_override_args", "{}"))
        return set(override.get("eos_token_id", self.engine.library.ends))

    async def step(self) -> None:
        while True:
            await asyncio.sleep(STEP_S)
            if self.engine.dead:
                continue
            self.leaving = False
            for state in list(self.states.values())[:4]:
                if state.advance():
                    self.kept.add(tuple(state.ids))
                    del self.states[state.rid]
                    self.leaving = True


class State:
    """A request; ``told`` is the list that each piece refers to, which goes on growing."""

    def __init__(self, rid: str, ids: Sequence[int], answer: list[int], sampling: dict[str, Any]) -> None:
        self.rid, self.ids, self.answer, self.sampling = rid, ids, answer, sampling
        self.most, self.n_cached, self.n_lost, self.ends = 0, 0, 0, set[int]()
        self.told, self.rows = list[int](), list[Any]()
        self.finish: dict[str, Any] | None = None
        self.event = asyncio.Event()

    def advance(self) -> bool:
        """Say one token more; whether it was the last."""
        token = self.answer[len(self.told)]
        self.told.append(token)
        if token in self.ends:
            self.tell({"type": "stop", "matched": token})
        elif len(self.told) == self.most:
            self.tell({"type": "length", "length": self.most})
        self.event.set()
        return self.finish is not None

    def tell(self, finish: dict[str, Any]) -> None:
        self.finish = finish
        self.event.set()

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            await self.event.wait()
            self.event.clear()
            finish = self.finish
            about: dict[str, Any] = {
                "id": self.rid, "finish_reason": finish, "prompt_tokens": len(self.ids), "weight_version": "default",
                "num_retractions": 0, "reasoning_tokens": 0, "completion_tokens": len(self.told) + self.n_lost,
                "cached_tokens": self.n_cached,
            }  # fmt: skip
            assert set(about) <= set(SHAPE["meta_info"])
            if self.rows:
                about["input_token_logprobs"] = self.rows
            yield {"output_ids": self.told, "meta_info": about}
            if finish is not None:
                return


class Watchdog:
    """Tells its own process that the scheduler has died, unless it was stopped."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler, self.ended = scheduler, threading.Event()
        self.thread = threading.Thread(target=self.watch, name="subprocess-watchdog", daemon=True)
        self.thread.start()

    def watch(self) -> None:
        while not self.ended.wait(0.05):
            if self.scheduler.poll() is not None:
                os.kill(os.getpid(), signal.SIGQUIT)
                return

    def stop(self) -> None:
        self.ended.set()
        self.thread.join()


def _dies(*_: Any) -> None:
    """The real handlers kill the process without a word; here that would be the tests' own."""
    raise AssertionError(f"SGLang's own handler of a signal was called at {time.monotonic():.3f} s")


def _bound(names: Sequence[str], positional: Sequence[Any], named: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name; a TypeError where the recorded signature has no place for them."""
    kinds = [inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY]
    split = names.index("*") if "*" in names else len(names)
    parameters = [inspect.Parameter(name, kinds[0], default=None) for name in names[:split]]
    parameters += [inspect.Parameter(name, kinds[1], default=None) for name in names[split + 1 :]]
    return dict(inspect.Signature(parameters).bind(*positional, **named).arguments)


def _default(about: dict[str, Any]) -> Any:
    try:
        return eval(about.get("default", "None"), {})
    except NameError:
        return None
