"""Requests on their way: as many at a time as there are slots, each token stamped when it comes in."""

import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llenergymeasure.core.backends import in_flight
from llenergymeasure.core.backends.arrivals import Arrivals
from llenergymeasure.core.backends.in_flight import InFlight
from llenergymeasure.core.backends.llamacpp.spelling import Speller
from llenergymeasure.core.backends.llamacpp.stream import AnswerStream
from llenergymeasure.core.backends.outputs import UNTOLD
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load

_MOST_BYTES = 1 << 20
# For what is no inference: a step that all slots wait for may take longer than one would think.
_PATIENCE_WITH_A_QUESTION_S = 120.0


@dataclass
class Counts(in_flight.Counts):
    """What was seen since the last seed; of ``n_untold_requests`` not every token is known."""

    n_untold_requests: int = 0


@dataclass(frozen=True, kw_only=True)
class Server:
    """How requests get to llama.cpp: the path of its socket, and what it is told for a request."""

    path: str
    body_of: Callable[[Request], dict[str, Any]]

    def asked(self, method: str, place: str, body: bytes = b"") -> socket.socket:
        """A connection on which something was asked for; the answer ends where it is closed.

        Raises:
            OSError: nobody listens.
        """
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self.path)
            connection.sendall(
                f"{method} {place} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def get(self, place: str) -> Any:
        """The JSON at a place of the server.

        Raises:
            OSError, ValueError: there is none.
        """
        with self.asked("GET", place) as connection:
            connection.settimeout(_PATIENCE_WITH_A_QUESTION_S)
            answer = b"".join(iter(lambda: connection.recv(_MOST_BYTES), b""))
        return json.loads(answer.partition(b"\r\n\r\n")[2])


@dataclass
class _Open:
    """A request that llama.cpp is at work on, and where it answers."""

    begun: InFlight
    connection: socket.socket
    stream: AnswerStream = field(default_factory=AnswerStream)
    last: dict[str, Any] | None = None


class Run:
    """One ``run`` of the model: requests of a load, at most ``n_slots`` of them at a time."""

    def __init__(self, server: Server, speller: Speller, counts: Counts, n_slots: int) -> None:
        self._server, self._speller, self._counts = server, speller, counts
        self._n_slots = n_slots
        self._on_done: Callable[[RequestOutput], None] = lambda _: None

    def serve(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve [n] requests; those in flight when the load is cancelled are told as that."""
        self._on_done = on_done
        # Where requests come at times of their own, those that find no slot wait in llama.cpp.
        waiting = Arrivals(requests, load, None if load.kind == "due_times" else self._n_slots)
        opened: list[_Open] = []
        with selectors.DefaultSelector() as selector:
            try:
                while (waiting or opened) and not load.cancelled():
                    while (due := waiting.due(len(opened))) is not None:
                        self._begin(*due, opened, selector)
                    for key, _ in selector.select(waiting.wait_s(len(opened))):
                        self._take(key.data, opened, selector)
            finally:
                for each in opened:
                    each.connection.close()
        for each in opened:
            on_done(each.begun.told("cancelled", time.monotonic()))

    def _begin(
        self, request: Request, due_s: float | None, opened: list[_Open], selector: selectors.BaseSelector
    ) -> None:
        body = json.dumps(self._server.body_of(request)).encode()
        begun = InFlight(request, time.monotonic(), due_s)
        try:
            connection = self._server.asked("POST", "/completion", body)
        except OSError as error:
            self._on_done(begun.failed(f"llama.cpp does not answer: {error}"))
            return
        connection.setblocking(False)
        each = _Open(begun, connection)
        opened.append(each)
        selector.register(connection, selectors.EVENT_READ, each)

    def _take(self, each: _Open, opened: list[_Open], selector: selectors.BaseSelector) -> None:
        """Read what is there of an answer, and tell it when it has ended."""
        try:
            data = each.connection.recv(_MOST_BYTES)
            now_s = time.monotonic()
            for event in each.stream.feed(data):
                self._note(each, event, now_s)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            each.stream.problem, data = f"what llama.cpp answers cannot be read: {error}", b""
        if data and each.last is None and each.stream.problem is None:
            return
        each.stream.end()
        selector.unregister(each.connection)
        each.connection.close()
        opened.remove(each)
        self._on_done(self._ended(each))

    def _note(self, each: _Open, event: dict[str, Any], now_s: float) -> None:
        """Count the tokens of an event by the server's own count; those that it did not tell are looked for."""
        told, n_new = list(event["tokens"]), event["tokens_predicted"] - len(each.begun.ids.get(0, ()))
        n_lost = max(n_new - len(told), 0)
        lost = self._speller.lost_tokens(event.get("content", ""), n_lost, told) if n_lost and told else None
        new = [*(lost or [UNTOLD] * n_lost), *told[max(len(told) - n_new, 0) :]] if n_new > 0 else []
        each.begun.take(new, now_s)
        if event.get("stop"):
            each.last = event

    def _ended(self, each: _Open) -> RequestOutput:
        begun, last = each.begun, each.last
        n_given = len(begun.request.token_ids)
        if each.stream.problem is not None or last is None:
            return begun.failed(each.stream.problem or "llama.cpp ended the connection before the answer")
        if last["tokens_evaluated"] != n_given:
            return begun.failed(f"llama.cpp read {last['tokens_evaluated']} tokens of {n_given}")
        begun.take((), time.monotonic(), reason="stop" if last["stop_type"] == "eos" else "length")
        begun.n_cached = last.get("timings", {}).get("cache_n", 0)
        output = begun.ended(self._counts, "llama.cpp", "llamacpp.n_ctx")
        self._counts.n_untold_requests += output.succeeded and UNTOLD in begun.ids[0]
        return output
