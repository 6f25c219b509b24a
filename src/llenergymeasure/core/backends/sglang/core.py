"""SGLang's engine, whose scheduler runs in processes of its own, asked on its event loop in this one."""

import asyncio
import atexit
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import psutil

from llenergymeasure.core.backends.journal import Journal
from llenergymeasure.core.backends.known_errors import advised
from llenergymeasure.core.backends.sglang import quits
from llenergymeasure.core.backends.sglang.kept import Kept
from llenergymeasure.core.backends.started import Started
from llenergymeasure.exceptions import BackendError, ExperimentError, contained, first_line

_Result = TypeVar("_Result")
# How soon it shows that one of its processes has died.
_LOOKS_S = 0.25
_SETTLES_S = 10.0
# Says that a process failed, and not why.
_SAYS_NOTHING = ("scheduler died during initialization", "Initialization failed", "Error: cancelled")


class Core:
    """An ``Engine`` with what it has started; ``library`` is the module ``sglang``."""

    def __init__(self, library: Any, arguments: dict[str, Any]) -> None:
        """Load.

        Raises:
            BackendError: SGLang cannot load it, with what it wrote.
        """
        if threading.current_thread() is not threading.main_thread():
            raise BackendError(
                "the sglang engine runs in a process's main thread only, for its processes tell by a signal that they "
                "failed; use execution.launcher: subprocess"
            )
        self.journal, self.started = Journal(_SAYS_NOTHING), Started("sglang")
        self._kept = Kept()
        self._engine: Any = None
        self._why: str | None = None
        self._processes: list[psutil.Process] = []
        self._looked_s, self._is_dead = 0.0, False
        try:
            with self.journal.taking(), contained(), self._kept.loading(self.started.folder):
                self._engine = library.Engine(**arguments, custom_sigquit_handler=quits.note)
                self._processes = [psutil.Process(pid) for pid in self._engine.get_all_child_pids()]
                self.loop: asyncio.AbstractEventLoop = self._engine.loop
                # As its scheduler has resolved them.
                self.settings: dict[str, Any] = self.awaited(self._taken_over())
        except BaseException as error:
            self.close()
            if not isinstance(error, Exception):
                raise
            why = f"SGLang could not load it: {self._why or first_line(error)}"
            raise BackendError(advised(why, error)) from error

    async def answers(
        self, name: str, token_ids: Sequence[int], sampling: dict[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        """Give a request to the scheduler, and take what is told of it, all of its tokens again each time."""
        opened = await self._engine.async_generate(
            input_ids=list(token_ids), sampling_params=sampling, stream=True, rid=name
        )
        async for told in opened:
            yield told

    def scored(self, name: str, token_ids: Sequence[int]) -> dict[str, Any]:
        """What is told of a request that asks for the probabilities of its own tokens."""
        sampling = {"max_new_tokens": 1, "temperature": 0.0, "ignore_eos": True}
        told: dict[str, Any] = self.awaited(
            self._engine.async_generate(
                input_ids=list(token_ids), sampling_params=sampling, return_logprob=True, logprob_start_len=0, rid=name
            )
        )
        return told

    def abort(self, names: Sequence[str]) -> None:
        """Have requests ended; each tells so where it is waited for.

        Raises:
            ExperimentError: the engine has died, and none will.
        """
        self.must_live()
        for name in names:
            self._engine.tokenizer_manager.abort_request(rid=name)

    def forget_prefixes(self) -> None:
        """Empty the cache of prompts.

        Raises:
            ExperimentError: it was not emptied, or the engine has died.
        """
        # Its scheduler is at work a little longer than it tells, and empties nothing meanwhile.
        if not self.awaited(self._engine.tokenizer_manager.flush_cache(timeout_s=_SETTLES_S)).success:
            raise ExperimentError("SGLang did not empty its cache of prompts; run it again")

    def awaited(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of what the engine does; its own way to wait has no end when one of its processes dies.

        Raises:
            ExperimentError: one has.
        """
        return self.loop.run_until_complete(self._watched(work))

    def must_live(self) -> None:
        """Look whether all of its processes live; not each time that it is asked.

        Raises:
            ExperimentError: one has died, with the last that it wrote.
        """
        now_s = time.monotonic()
        if quits.came() or now_s - self._looked_s >= _LOOKS_S:
            self._looked_s = now_s
            self._is_dead = self._is_dead or quits.came() or not all(map(_lives, self._processes))
        if self._is_dead:
            said = self.journal.cause() or self.journal.tail()
            told = f"; the last that it wrote: {said}" if said else ", and it wrote nothing before"
            raise ExperimentError(f"SGLang's engine ended in the middle of a run{told}")

    def close(self) -> None:
        """End SGLang and all that it started; nothing is left of either.

        Its own ``shutdown`` kills whatever this process has started, and stays registered for its exit.
        """
        stopped = False
        try:
            with contextlib.suppress(Exception), contained(), self.journal.taking():
                if self._engine is not None:
                    stopped = self._leave()
                self._engine = None
                # Sockets of a loop that is closed complain when they go.
                gc.collect()
        finally:
            self._engine = None
            self.started.end(patience_s=0.0)
            self._kept.put_back(quit_too=stopped)
            self._why = self.journal.cause()
            self.journal.close()

    async def _taken_over(self) -> dict[str, Any]:
        manager = self._engine.tokenizer_manager
        # It sets its handlers of signals now, and else with the first request.
        manager.auto_create_handle_loop()
        self._kept.take_signals_back(asyncio.get_running_loop())
        states = await manager.get_internal_state()
        return dict(states[0])

    async def _watched(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([task], timeout=_LOOKS_S))[0]:
                self.must_live()
        except BaseException:
            task.cancel()
            raise
        return task.result()

    def _leave(self) -> bool:
        """Stop what runs of it in this process; whether nothing of it sends this process a signal any more."""
        atexit.unregister(self._engine.shutdown)
        # It would take the end of the others for a failure.
        watchdog = getattr(self._engine.tokenizer_manager, "_subprocess_watchdog", None)
        if watchdog is not None:
            watchdog.stop()
        socket = getattr(self._engine, "send_to_rpc", None)
        if socket is not None:
            socket.close(linger=0)
        loop = self._engine.loop
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_LOOKS_S))
        loop.close()
        asyncio.set_event_loop(None)
        return watchdog is not None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
