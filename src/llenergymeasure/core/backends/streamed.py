"""Requests whose answers are streamed by an engine that lives on an event loop, each piece stamped when it is there."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from llenergymeasure.core.backends.arrivals import Arrivals
from llenergymeasure.core.backends.in_flight import Counts, InFlight
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import first_line

_Result = TypeVar("_Result")

# How long the engine has to let go of requests that were aborted.
_SETTLES_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What is new of an answer: its ``place`` among the answers, tokens, and why it ended, where it has.

    ``reason`` is ``stop``, ``length`` or another word of the engine's, which is a fault. ``n_cached`` tokens of the
    prompt were not computed.
    """

    tokens: Sequence[int]
    place: int = 0
    reason: str | None = None
    n_cached: int = 0


class StreamingEngine(Protocol):
    """What an engine that streams its answers gives to ``StreamedRun``."""

    name: str
    loop: asyncio.AbstractEventLoop
    # Of the section: what gives answers more room.
    room: str

    def stream(self, request_name: str, request: Request) -> AsyncIterator[Iterable[Piece]]:
        """Give a request to the engine, and take its pieces as they come; what it refuses is raised."""

    async def abort(self, request_names: Sequence[str]) -> None:
        """Have requests ended."""

    def must_live(self) -> None:
        """Look whether the engine is alive.

        Raises:
            ExperimentError: it has died, with the last that it wrote.
        """


class StreamedRun:
    """One ``run`` of a model: requests of a load, all of them in the engine unless the load says otherwise."""

    _numbers = itertools.count()

    def __init__(
        self, engine: StreamingEngine, counts: Counts, refusal: Callable[[Request], str | None] = lambda _: None
    ) -> None:
        """Serve requests.

        Args:
            engine: takes them.
            counts: what is seen is added to it.
            refusal: why a request is not given to the engine at all; None where it is.
        """
        self._engine, self._counts, self._refusal = engine, counts, refusal
        self._opened: dict[asyncio.Task[None], tuple[str, InFlight]] = {}
        # Names of an earlier run may still be on their way out.
        self._number = next(self._numbers)

    def serve(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve [n] requests; those in flight when the load is cancelled are told as that.

        Raises:
            ExperimentError: the engine has died.
        """
        try:
            self._until(self._serve(Arrivals(requests, load), load, on_done))
        except BaseException:
            # Whoever uses the model again must not find these in it; a dead engine has none.
            with contextlib.suppress(Exception):
                self._until(self._let_go())
            raise
        now_s = time.monotonic()
        outputs = [begun.told("cancelled", now_s) for _, begun in self._opened.values()]
        self._until(self._let_go())
        for output in outputs:
            on_done(output)

    def _until(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        return self._engine.loop.run_until_complete(work)

    async def _serve(self, waiting: Arrivals, load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        while (waiting or self._opened) and not load.cancelled():
            while (due := waiting.due(len(self._opened))) is not None:
                self._begin(*due, on_done)
                # Pieces that are there are stamped before more requests are begun.
                await asyncio.sleep(0)
            wait_s = waiting.wait_s(len(self._opened))
            if not self._opened:
                await asyncio.sleep(wait_s if waiting else 0)
                continue
            ended, _ = await asyncio.wait(self._opened, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
            self._engine.must_live()
            for task in ended:
                _, begun = self._opened.pop(task)
                on_done(self._told(task, begun))

    def _begin(self, request: Request, due_s: float | None, on_done: Callable[[RequestOutput], None]) -> None:
        name, begun = f"{self._number}-{request.index}", InFlight(request, time.monotonic(), due_s)
        why = self._refusal(request)
        if why is not None:
            on_done(begun.failed(why))
            return
        self._opened[self._engine.loop.create_task(self._take(name, begun))] = name, begun

    async def _take(self, name: str, begun: InFlight) -> None:
        async for pieces in self._engine.stream(name, begun.request):
            now_s = time.monotonic()
            for piece in pieces:
                begun.take(piece.tokens, now_s, place=piece.place, reason=piece.reason)
                begun.n_cached = max(begun.n_cached, piece.n_cached)

    def _told(self, task: asyncio.Task[None], begun: InFlight) -> RequestOutput:
        error = task.exception()
        if error is not None and not isinstance(error, Exception):
            raise error
        if error is not None:
            return begun.failed(f"{self._engine.name} does not take it: {first_line(error)}")
        if set(begun.reasons) != set(begun.ids) or not begun.reasons:
            return begun.failed(f"{self._engine.name} ended the answer without a reason")
        return begun.ended(self._counts, self._engine.name, self._engine.room)

    async def _let_go(self) -> None:
        """Have what is in flight aborted, and wait until the engine has done so, or for a while."""
        tasks = list(self._opened)
        if not tasks:
            return
        try:
            # One that is dying may never answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLES_S):
                    await self._engine.abort([name for name, _ in self._opened.values()])
                    await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
