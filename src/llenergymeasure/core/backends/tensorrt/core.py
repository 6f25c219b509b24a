"""TensorRT-LLM's ``LLM``: MPI workers beside this process, whose answers come to an event loop of ours."""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import psutil

from llenergymeasure.core.backends.journal import Journal
from llenergymeasure.core.backends.known_errors import advised
from llenergymeasure.core.backends.started import Started
from llenergymeasure.core.backends.streamed import Piece
from llenergymeasure.domain.inference import Request
from llenergymeasure.exceptions import BackendError, ExperimentError, contained, first_line

# How often it is looked whether the workers live: that reads a file of each of them.
_LOOKS_S = 0.25
# What it has to end by itself; that has no end of its own where a worker is gone.
_SETTLES_S = 30.0
# Says that a worker failed, and not why.
_SAYS_NOTHING = ("Executor worker returned error", "Executor worker died during initialization")
# As Open MPI tells of a process that was killed.
_KILLED = r".*(?:exited on signal|noticed that process rank) .+"
# MPI's own, which live and end with this process: without them MPI ends it.
_DAEMONS = ("orted", "prted", "prterun", "prte", "hydra_pmi_proxy", "hydra_nameserver")
# By what the command line of a worker is known.
_WORKER = "mpi4py.futures"


class Core:
    """An ``LLM`` with what it has started; a ``StreamingEngine``."""

    name = "TensorRT-LLM"
    room = "tensorrt.max_seq_len"

    def __init__(
        self,
        imported: Callable[[], Any],
        arguments: Callable[[Any], dict[str, Any]],
        sampling: Callable[[Request], dict[str, Any]],
    ) -> None:
        """Load.

        Args:
            imported: gives the module ``tensorrt_llm``, which starts MPI and writes when it is imported.
            arguments: of its ``LLM``, made with the module.
            sampling: arguments of ``SamplingParams`` for a request.

        Raises:
            BackendError: TensorRT-LLM cannot be imported or load it, with what it wrote.
        """
        self.journal = Journal(_SAYS_NOTHING, also=_KILLED)
        self.started = Started("tensorrt", spared=_DAEMONS)
        self.loop = asyncio.new_event_loop()
        # Prompts are looked up among those of the same salt only; None where none are kept.
        self.salt: str | None = None
        self._sampling = sampling
        self._llm: Any = None
        self._why: str | None = None
        self._died: str | None = None
        self._looked_s, self._workers = 0.0, list[psutil.Process]()
        self._streams: dict[str, Any] = {}
        try:
            with self.journal.taking(), contained():
                self._library = imported()
                self._llm = self._library.LLM(**arguments(self._library))
        except BaseException as error:
            self.close()
            if isinstance(error, BackendError) or not isinstance(error, Exception):
                raise
            why = f"TensorRT-LLM could not load it: {self._why or first_line(error)}"
            raise BackendError(advised(why, error)) from error
        self._workers = [process for process in self.started.processes() if _is_worker(process)]

    @property
    def arguments(self) -> Any:
        """The ``TorchLlmArgs`` as they were resolved."""
        return self._llm.args

    async def stream(self, request_name: str, request: Request) -> AsyncIterator[Iterable[Piece]]:
        """Give a request to the workers, and take its tokens as they come."""
        params = self._library.SamplingParams(**self._sampling(request))
        salted = {} if self.salt is None else {"cache_salt": self.salt}
        answers = self._llm.generate_async(list(request.token_ids), sampling_params=params, streaming=True, **salted)
        self._streams[request_name] = answers
        n_told: dict[int, int] = {}
        try:
            async for step in answers:
                # Tokens stay in it, and new ones come behind them.
                yield [_piece(answer, n_told, int(step.cached_tokens or 0)) for answer in step.outputs]
        finally:
            self._streams.pop(request_name, None)

    async def abort(self, request_names: Sequence[str]) -> None:
        """Have requests ended; each ends with an answer of the workers'.

        Raises:
            ExperimentError: a worker is gone, so that none would come.
        """
        self.must_live()
        for name in request_names:
            if name in self._streams:
                self._streams[name].abort()

    def must_live(self) -> None:
        """Look whether the workers are there: TensorRT-LLM's own way to wait has no end where one is not.

        Raises:
            ExperimentError: one is gone, with the last that was written.
        """
        why = self._gone()
        if why is not None and self._died is None:
            said = self.journal.cause() or why or self.journal.tail()
            told = f"; the last that it wrote: {said}" if said else ", and it wrote nothing before"
            self._died = f"TensorRT-LLM's engine ended in the middle of a run{told}"
        if self._died is not None:
            raise ExperimentError(self._died)

    def close(self, patience_s: float = _SETTLES_S) -> None:
        """End TensorRT-LLM and its workers; MPI's daemon ends with this process.

        Args:
            patience_s: how long it has to end by itself.
        """
        llm, self._llm = self._llm, None
        try:
            with contextlib.suppress(Exception), contained(), self.journal.taking():
                if llm is not None:
                    # It waits for a worker that is gone as for one that is there.
                    _within(patience_s if self._died is None else 0.0, llm.shutdown)
        finally:
            del llm
            gc.collect()
            self.started.end()
            self._why = self.journal.cause()
            self.journal.close()
            self.loop.close()

    def _gone(self) -> str | None:
        """What is known of why a worker is gone, maybe nothing; None where all are there."""
        executor = getattr(self._llm, "_executor", None)
        if executor is None or executor.is_shutdown():
            return ""
        for future in getattr(executor, "mpi_futures", ()):
            if future.done():
                error = None if future.cancelled() else future.exception()
                return "" if error is None else first_line(error)
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOKS_S:
            return None
        self._looked_s = now_s
        return None if all(map(_lives, self._workers)) else ""


def _piece(answer: Any, n_told: dict[int, int], n_cached: int) -> Piece:
    tokens = list(answer.token_ids)
    new = tokens[n_told.get(answer.index, 0) :]
    n_told[answer.index] = len(tokens)
    reason = answer.finish_reason
    return Piece(tokens=new, place=answer.index, reason=None if reason is None else str(reason), n_cached=n_cached)


def _is_worker(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return any(_WORKER in part for part in process.cmdline())
    return False


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _within(seconds: float, work: Callable[[], object]) -> None:
    """Do something in a thread, and wait for it no longer than so; an error of it is passed over."""

    def alone() -> None:
        with contextlib.suppress(Exception):
            work()

    thread = threading.Thread(target=alone, name="tensorrt-shutdown", daemon=True)
    thread.start()
    thread.join(seconds)
