"""A server of OpenAI's kind whose answers and times are known, and which can fail in every way that clients meet.

In a test it runs in a thread, ``with FakeServer(FakeSettings(n_slots=4)) as server``; a process of its own is
``python -m llenergymeasure.testing.fake_server --port 0``, which prints its address. Nothing is computed: tokens follow
from the prompt (``fake_answers.answer_to``), times from the settings.
"""

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from llenergymeasure.testing.fake_answers import FakeSettings, answer_to
from llenergymeasure.testing.fake_stream import Head, Telling, tell

# How long what is still to be sent has.
_CLOSES_S = 0.5
_TURNS = 10
__all__ = ["FakeServer", "FakeSettings", "Seen"]

_PLACES = ("/v1/completions", "/v1/chat/completions")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it came in: ``body`` is its JSON, None where it has none; ``at_s`` is on the monotonic clock."""

    method: str
    place: str
    headers: Mapping[str, str]
    body: Any
    at_s: float


class FakeServer:
    """The server, in a thread of its own while the context lasts."""

    def __init__(
        self,
        settings: FakeSettings | None = None,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        on_work: Callable[[int], None] | None = None,
    ) -> None:
        """Prepare one.

        Args:
            settings: how it answers.
            port: 0 takes a free one.
            tls: None is plain HTTP.
            on_work: is told how many requests are at work whenever that changes, in the server's thread.
        """
        self.settings = settings or FakeSettings()
        self.seen: list[Seen] = []
        self.port = port
        self._tls, self._on_work = tls, on_work
        self._n_asked = self._n_at_work = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[Seen]:
        """The requests for answers, in the order in which they came."""
        return [each for each in self.seen if each.place in _PLACES]

    def __enter__(self) -> Self:
        listens = threading.Event()
        self._thread = threading.Thread(target=self._in_a_thread, args=(listens,), name="fake-server", daemon=True)
        self._thread.start()
        listens.wait()
        return self

    def __exit__(self, *error: object) -> None:
        if self._loop is not None and self._ended is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # it has ended already
                self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join()

    def _in_a_thread(self, listens: threading.Event) -> None:
        asyncio.run(self.serve(lambda _: listens.set()))

    async def serve(self, on_listening: Callable[[str], None]) -> None:
        """Serve until the context ends, or this is cancelled; ``on_listening`` is told the address."""
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self._began_s, self._slots = self._loop.time(), asyncio.Semaphore(self.settings.n_slots)
        server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self._tls, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        self._open: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        on_listening(self.url)
        try:
            await self._ended.wait()
        finally:
            server.close()
            # Connections that were just accepted become ones that can be closed.
            await _turns()
            for task in tuple(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            for writer in tuple(self._writers):
                writer.transport.abort()
            # Transports are closed by the loop's next turns.
            await _turns()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # whoever asked has gone, or this ends
        finally:
            self._open.discard(task)
            with contextlib.suppress(OSError, RuntimeError, TimeoutError, asyncio.CancelledError):
                writer.close()
                # What is still to be sent may never be taken.
                async with asyncio.timeout(_CLOSES_S):
                    await writer.wait_closed()
            writer.transport.abort()
            self._writers.discard(writer)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; whether the connection lasts."""
        seen = await _read(reader)
        self.seen.append(seen)
        head = Head(writer)
        if seen.place in _PLACES and isinstance(seen.body, dict):
            return await self._answer(seen, writer)
        return await head.json(*self._told(seen))

    def _told(self, seen: Seen) -> tuple[int, Any]:
        """Status and JSON of what is no request for an answer."""
        settings, loop = self.settings, self._loop
        if seen.place == "/health" and settings.has_health:
            is_ready = loop is None or loop.time() - self._began_s >= settings.ready_after_s
            return (200, {}) if is_ready else (503, {"error": {"message": "loading"}})
        if seen.place == "/v1/models":
            listed = [{"id": name, "object": "model", "owned_by": settings.owned_by} for name in settings.model_ids]
            return 200, {"object": "list", "data": listed}
        if seen.place in ("/version", "/reset_prefix_cache", "/flush_cache"):
            return 200, {"version": "0.fake"}
        return 404, {"error": {"message": f"there is nothing at {seen.place}"}}

    async def _answer(self, seen: Seen, writer: asyncio.StreamWriter) -> bool:
        number, self._n_asked = self._n_asked, self._n_asked + 1
        fault = self.settings.faults.get(str(number), self.settings.faults.get("*"))
        prompt, limit = _prompt_of(seen.body), int(seen.body.get("max_tokens", 16))
        if len(prompt) + limit > self.settings.n_context:
            too_long = f"this model has room for {self.settings.n_context} tokens, not {len(prompt)} + {limit}"
            return await Head(writer).json(400, {"error": {"message": too_long}})
        seed = int(seen.body.get("seed", 0)) if seen.body.get("temperature") else 0
        tokens, ended = answer_to(prompt, limit, seed=seed, ignore_eos=bool(seen.body.get("ignore_eos")))
        telling = Telling(
            number=number, request=seen.body, is_chat=seen.place.startswith("/v1/chat"), n_prompt=len(prompt),
            tokens=tokens, ended=ended, fault=fault, settings=self.settings,
        )  # fmt: skip
        async with self._slots:
            self._at_work(+1)
            try:
                return await tell(telling, writer)
            finally:
                self._at_work(-1)

    def _at_work(self, change: int) -> None:
        self._n_at_work += change
        if self._on_work is not None:
            self._on_work(self._n_at_work)


async def _turns() -> None:
    """Let the loop do what has been handed to it, and what that hands to it."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _prompt_of(body: Mapping[str, Any]) -> list[int]:
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        return list(map(int, prompt))
    text = "".join(str(m.get("content", "")) for m in body.get("messages", ())) if prompt is None else str(prompt)
    return list(text.encode())


async def _read(reader: asyncio.StreamReader) -> Seen:
    """A request, whole.

    Raises:
        asyncio.IncompleteReadError: whoever asks has closed.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.splitlines()
    method, place, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
    }
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    at_s = asyncio.get_running_loop().time()
    return Seen(method=method, place=place, headers=headers, body=json.loads(raw) if raw else None, at_s=at_s)


if __name__ == "__main__":
    from llenergymeasure.testing.fake_server_process import main

    main()
