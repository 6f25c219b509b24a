"""As much of TensorRT-LLM's Python API as its engine here uses, made from the recorded shape, with a model that counts.

What the recorded signatures refuse is refused. An answer goes on counting from its prompt's last token, a further one
from one more; each step gives each answer a token, told one answer after the other. Two tokens of a prompt are in the
cache from its second time on, where blocks are reused and the salt is the same.
"""

import asyncio
import dataclasses
import enum
import inspect
import json
import subprocess
import sys
import typing
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel, ConfigDict, create_model
from pydantic import Field as PydanticField

RECORDED = Path(__file__).parents[1] / "golden" / "tensorrt_llm-1.2.1.json"
SHAPE = json.loads(RECORDED.read_text("utf-8"))
_STEP_S = 0.002
_FACTORY = "<factory>"


class RequestError(RuntimeError):
    """As TensorRT-LLM tells of one request."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


def _enums() -> dict[str, Any]:
    kinds: dict[str, Any] = {"LoadFormat": enum.Enum}
    return {
        name: kinds.get(name, enum.StrEnum)(name, {member: member for member in members})
        for name, members in SHAPE["enums"].items()
    }


def _model(name: str, fields: dict[str, list[Any]], known: dict[str, Any], base: Any = _Strict) -> Any:
    made: dict[str, Any] = {}
    for field, (kind, *default) in fields.items():
        made_of = eval(kind, vars(typing) | {"Path": Path} | known)
        factory = known.get(kind.removeprefix("Optional[").removesuffix("]"), dict)
        value = PydanticField(default_factory=factory) if default == [_FACTORY] else default[0] if default else ...
        made[field] = (made_of, value)
    return create_model(name, __base__=base, **made)


class _Arguments(_Strict):
    @property
    def quant_config(self) -> Any:
        return SimpleNamespace(quant_algo=None, kv_cache_quant_algo=None)


def _sampling_params() -> Any:
    def check(self: Any) -> None:
        self.best_of = self.best_of or self.n
        if self.top_p is not None and not 0 <= self.top_p <= 1:
            raise ValueError(f"require 0 <= top_p <= 1, got top_p={self.top_p}")
        greedy = self.temperature == 0 or self.top_k == 1 or {self.temperature, self.top_p, self.top_k} == {None}
        if self.best_of > 1 and greedy:
            raise ValueError(f"Greedy decoding in the LLM API does not allow multiple returns, got {self.best_of}")

    fields = [(name, Any, default) for name, (_, default) in SHAPE["SamplingParams"].items()]
    return dataclasses.make_dataclass("SamplingParams", fields, kw_only=True, namespace={"__post_init__": check})


def _signature(name: str) -> inspect.Signature:
    return inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default[0])
            if default
            else inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for name, (_, *default) in SHAPE["LLM"][name].items()
        ]
    )


class FakeTensorRT:
    """Stands for the module ``tensorrt_llm``.

    ``room`` are the most tokens of a request, ``worker`` says whether there is a process, ``fails`` is what loading
    raises.
    """

    def __init__(self, room: int = 64, *, worker: bool = False, fails: Exception | None = None) -> None:
        self.room, self.worker, self.fails = room, worker, fails
        self.llms: list[FakeLLM] = []
        known = _enums()
        for name, fields in SHAPE["configurations"].items():
            known[name] = _model(name, fields, known)
        drafting = {
            name: _model(name, each["fields"], known, known["DecodingBaseConfig"])
            for name, each in SHAPE["drafting"].items()
        }
        for name, made in drafting.items():
            made.decoding_type = SHAPE["drafting"][name]["decoding_type"]
        self.llmapi = SimpleNamespace(**drafting)
        self.LoadFormat = known["LoadFormat"]
        self.TorchLlmArgs = _model("TorchLlmArgs", SHAPE["TorchLlmArgs"], known, _Arguments)
        self.SamplingParams = _sampling_params()

    def LLM(self, model: Any, **kwargs: Any) -> "FakeLLM":  # noqa: N802 - a name of theirs
        if self.fails is not None:
            raise self.fails
        self.llms.append(FakeLLM(self, {"model": model, **kwargs}))
        return self.llms[-1]


class _Executor:
    def __init__(self) -> None:
        self.mpi_futures: list[Future[None]] = [Future()]
        self.doing_shutdown = False

    def is_shutdown(self) -> bool:
        return self.doing_shutdown


class FakeLLM:
    """An ``LLM``; ``log`` has what it was asked for."""

    def __init__(self, library: FakeTensorRT, given: dict[str, Any]) -> None:
        self.library, self.given = library, given
        self.args = library.TorchLlmArgs(**given)
        self.args.load_format = library.LoadFormat[str(given.get("load_format", "auto")).upper()]
        self.log: list[str] = []
        self.at_work: dict[int, FakeOutput] = {}
        self.seen: set[tuple[Any, ...]] = set()
        self.dead = False
        self._executor: _Executor | None = _Executor()
        self.process: subprocess.Popen[bytes] | None = None
        if library.worker:
            code = "import time; time.sleep(600)"
            self.process = subprocess.Popen([sys.executable, "-c", code, "mpi4py.futures.server"])

    def generate_async(self, *args: Any, **kwargs: Any) -> "FakeOutput":
        bound = _signature("generate_async").bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        params, ids = given["sampling_params"], given["inputs"]
        if params.end_id is None:
            raise ValueError("tokenizer is required to reset end_id if it is None")
        if not self.args.enable_chunked_prefill and len(ids) > self.args.max_num_tokens:
            raise RequestError(f"The sum of prompt length ({len(ids)}) should not exceed {self.args.max_num_tokens}")
        assert given["streaming"], "the fake streams"
        output = FakeOutput(self, len(self.log), ids, params)
        self.log.append(f"add {len(ids)}")
        key = (given["cache_salt"], *ids)
        output.n_cached = 2 if self.args.kv_cache_config.enable_block_reuse and key in self.seen else 0
        self.seen.add(key)
        if not self.at_work:
            self._work_soon(asyncio.get_running_loop())
        self.at_work[output.request_id] = output
        return output

    def shutdown(self) -> None:
        self.log.append("shutdown")
        if self.process is not None:
            self.process.kill()
        if self._executor is not None:
            self._executor.doing_shutdown = True

    def _work_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(_STEP_S, self._work, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        for output in list(self.at_work.values())[: self.args.max_batch_size or 2048]:
            if not self.dead and output.step():
                del self.at_work[output.request_id]
        if self.at_work:
            self._work_soon(loop)


class FakeOutput:
    """A ``RequestOutput``: awaited step by step, with all tokens so far."""

    def __init__(self, llm: FakeLLM, request_id: int, ids: list[int], params: Any) -> None:
        self.llm, self.request_id, self.prompt_token_ids, self.params = llm, request_id, ids, params
        fields = {name: default[0] if default else None for name, (_, *default) in SHAPE["CompletionOutput"].items()}
        self.outputs = [SimpleNamespace(**{**fields, "index": i, "token_ids": []}) for i in range(params.n)]
        self.cached_tokens = self.n_cached = 0
        self.finished = self._aborted = False
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def abort(self) -> None:
        self.llm.log.append("abort")
        self._aborted = True

    def step(self) -> bool:
        """One token for each answer; whether that was the last."""
        room, params = self.llm.library.room, self.params
        if len(self.prompt_token_ids) >= room:
            self._queue.put_nowait(RequestError(f"the prompt has {len(self.prompt_token_ids)} tokens, most are {room}"))
            return True
        if self._aborted:
            self._queue.put_nowait([(answer.index, (), "cancelled") for answer in self.outputs])
            return True
        self.said = getattr(self, "said", 0) + 1
        ended = []
        for answer in self.outputs:
            token = self.prompt_token_ids[-1] + self.said + answer.index
            full = len(self.prompt_token_ids) + self.said == room
            why = "length" if full or self.said == params.max_tokens else None
            if token == params.end_id and not params.ignore_eos:
                why = "stop"
            is_word = token in (params.stop_token_ids or ())
            kept = [token] if not is_word or params.include_stop_str_in_output else []
            ended.append("stop" if is_word else why)
            self._queue.put_nowait([(answer.index, kept, ended[-1])])
        return None not in ended

    def __aiter__(self) -> "FakeOutput":
        return self

    async def __anext__(self) -> "FakeOutput":
        if self.finished:
            raise StopAsyncIteration
        told = await self._queue.get()
        if isinstance(told, Exception):
            raise told
        for place, tokens, why in told:
            self.outputs[place].token_ids.extend(tokens)
            self.outputs[place].finish_reason = why
        self.cached_tokens = self.n_cached
        self.finished = all(answer.finish_reason is not None for answer in self.outputs)
        return self
