"""vLLM's engine, driven step by step, in its own process or, where the user has set that, in this one."""

import contextlib
import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llenergymeasure.core.backends.journal import Journal
from llenergymeasure.core.backends.known_errors import advised
from llenergymeasure.core.backends.started import Started
from llenergymeasure.exceptions import BackendError, ExperimentError, contained, first_line

# How soon it shows that the engine's process has died.
_LOOKS_S = 0.25
_SETTLES_S = 10.0
# Where it puts the files of its sockets.
_SOCKETS = "VLLM_RPC_BASE_PATH"
# Says that a process failed, and not why.
_SAYS_NOTHING = (
    "Engine core initialization failed",
    "EngineCore encountered an issue",
    "WorkerProc initialization",
    "Error: cancelled",
)
_DIED = r"Worker proc .+ died unexpectedly.*"


class RefusedError(Exception):
    """vLLM does not take a request, and says why."""


class Core:
    """An ``LLMEngine`` with what it has started; ``library`` is the module ``vllm``."""

    def __init__(self, library: Any, arguments: dict[str, Any]) -> None:
        """Load.

        Raises:
            BackendError: vLLM cannot load it, with what it wrote.
        """
        self._library, self.journal = library, Journal(_SAYS_NOTHING, also=_DIED)
        self.started = Started("vllm", _SOCKETS)
        self._engine: Any = None
        self._adapter: Any = None
        self._why: str | None = None
        try:
            with self.journal.taking(), contained():
                self._engine = library.LLMEngine.from_engine_args(library.EngineArgs(**arguments))
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            why = f"vLLM could not load it: {self._why or first_line(error)}"
            raise BackendError(advised(why, error)) from error

    @property
    def config(self) -> Any:
        """The ``VllmConfig`` as it was resolved."""
        return self._engine.vllm_config

    @property
    def is_own_process(self) -> bool:
        """Whether the model runs in a process of its own."""
        return self._answers is not None

    def put_on(self, folder: Path) -> None:
        """Load an adapter, which every request runs with from now on.

        Raises:
            BackendError: vLLM does not take it.
        """
        try:
            with self.journal.taking(), contained():
                self._adapter = self._library.lora.request.LoRARequest("adapter", 1, str(folder))
                taken = self._engine.add_lora(self._adapter)
        except Exception as error:
            raise BackendError(f"lora.path: vLLM does not take the adapter: {first_line(error)}") from error
        if not taken:
            raise BackendError("lora.path: vLLM does not take the adapter, and does not say why")

    def add(self, name: str, token_ids: Sequence[int], sampling: dict[str, Any]) -> None:
        """Give a request to the scheduler.

        Raises:
            RefusedError: it takes none like this.
            ExperimentError: the engine has died.
        """
        self._must_live()
        try:
            with contained():
                new_ones = self._library.sampling_params.RequestOutputKind.DELTA
                params = self._library.SamplingParams(**{**sampling, "output_kind": new_ones})
                prompt = self._library.TokensPrompt(prompt_token_ids=list(token_ids))
                self._engine.add_request(name, prompt, params, lora_request=self._adapter)
        except Exception as error:
            self._must_live()
            raise RefusedError(first_line(error)) from error

    def has_answers(self) -> bool:
        """Whether a step has ended whose tokens were not taken yet."""
        return bool(self._answers is not None and not self._answers.empty())

    def step(self, within_s: float) -> Sequence[Any]:
        """What the next step gave, ``RequestOutput``s; nothing where none has ended within so many seconds.

        Raises:
            ExperimentError: the engine has died.
        """
        if not self._wait(within_s):
            return ()
        try:
            with contained():
                given: Sequence[Any] = self._engine.step()
        except Exception as error:
            # One that has died in its own process says that it did; why is in what it wrote.
            if type(error).__name__ != "EngineDeadError":
                raise ExperimentError(f"vLLM's engine failed in the middle of a run: {first_line(error)}") from error
            raise self._died() from error
        return given

    def abort(self, names: Sequence[str]) -> None:
        """Have requests ended; returns when nothing is at work any more, or after a while."""
        with contained():
            self._engine.abort_request(list(names))
        ends_s = time.monotonic() + _SETTLES_S
        while self._engine.has_unfinished_requests() and time.monotonic() < ends_s:
            self.step(_LOOKS_S)

    def forget_prefixes(self) -> None:
        """Empty the cache of prompts."""
        self._engine.reset_prefix_cache()

    def close(self) -> None:
        """End vLLM and all that it started; nothing is left of either."""
        try:
            with contextlib.suppress(Exception), contained(), self.journal.taking():
                if self._engine is not None:
                    self._engine.engine_core.shutdown()
        finally:
            self._engine = None
            gc.collect()
            self.started.end()
            self._why = self.journal.cause()
            self.journal.close()

    @property
    def _answers(self) -> Any:
        return getattr(self._engine.engine_core, "outputs_queue", None)

    def _wait(self, within_s: float) -> bool:
        """Wait for an answer of the engine's process: its own way to wait has no end when that dies."""
        answers = self._answers
        if answers is None:
            return True
        ends_s = time.monotonic() + within_s
        while answers.empty():
            left_s = ends_s - time.monotonic()
            with answers.not_empty:
                if not answers.queue:
                    answers.not_empty.wait(max(min(left_s, _LOOKS_S), 0.0))
            if answers.empty():
                self._must_live()
                if left_s <= 0:
                    return False
        return True

    def _must_live(self) -> None:
        if getattr(getattr(self._engine.engine_core, "resources", None), "engine_dead", False):
            raise self._died()

    def _died(self) -> ExperimentError:
        said = self.journal.cause() or self.journal.tail()
        told = f"; the last that it wrote: {said}" if said else ", and it wrote nothing before"
        return ExperimentError(f"vLLM's engine ended in the middle of a run{told}")
