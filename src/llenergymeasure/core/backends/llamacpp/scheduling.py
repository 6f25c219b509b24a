"""Requests on their way: as many at a time as there are slots, each token stamped when it comes in."""

import json
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llenergymeasure.core.backends.llamacpp.spelling import Speller
from llenergymeasure.core.backends.llamacpp.stream import AnswerStream
from llenergymeasure.core.backends.outputs import UNTOLD, answered, failed
from llenergymeasure.domain.inference import FinishReason, Request, RequestOutput
from llenergymeasure.domain.load import Load

# How soon a run that waits sees that it was cancelled.
_PATIENCE_S = 0.05
_MOST_BYTES = 1 << 20
# For what is no inference: a step that all slots wait for may take longer than one would think.
_PATIENCE_WITH_A_QUESTION_S = 120.0


@dataclass
class Counts:
    """What was seen since the last seed."""

    n_requests: int = 0
    n_cached: int = 0
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
    """A request that llama.cpp is at work on."""

    request: Request
    connection: socket.socket
    sent_s: float
    due_s: float | None
    stream: AnswerStream = field(default_factory=AnswerStream)
    ids: list[int] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
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
        most = min(self._n_slots, load.n_at_once or self._n_slots)
        began_s = time.monotonic()
        due_s: list[float | None] = [began_s + wait_s for wait_s in load.due_s] or [None] * len(requests)
        waiting = deque(zip(requests, due_s, strict=True))
        opened: list[_Open] = []
        with selectors.DefaultSelector() as selector:
            try:
                while (waiting or opened) and not load.cancelled():
                    while waiting and len(opened) < most and _is_due(waiting[0][1]):
                        self._begin(*waiting.popleft(), opened, selector)
                    for key, _ in selector.select(_wait_s(waiting, len(opened) < most)):
                        self._take(key.data, opened, selector)
            finally:
                for each in opened:
                    each.connection.close()
        for each in opened:
            on_done(_answer(each, "cancelled", time.monotonic()))

    def _begin(
        self, request: Request, due_s: float | None, opened: list[_Open], selector: selectors.BaseSelector
    ) -> None:
        body = json.dumps(self._server.body_of(request)).encode()
        sent_s = time.monotonic()
        try:
            connection = self._server.asked("POST", "/completion", body)
        except OSError as error:
            why = f"llama.cpp does not answer: {error}"
            self._on_done(failed(request, why, sent_s=sent_s, due_s=due_s))
            return
        connection.setblocking(False)
        each = _Open(request=request, connection=connection, sent_s=sent_s, due_s=due_s)
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
        told, n_new = list(event["tokens"]), event["tokens_predicted"] - len(each.ids)
        n_lost = max(n_new - len(told), 0)
        lost = self._speller.lost_tokens(event.get("content", ""), n_lost, told) if n_lost and told else None
        new = [*(lost or [UNTOLD] * n_lost), *told[max(len(told) - n_new, 0) :]] if n_new > 0 else []
        each.ids += new
        each.times_s += [now_s] * len(new)
        if event.get("stop"):
            each.last = event

    def _ended(self, each: _Open) -> RequestOutput:
        request, last = each.request, each.last
        if each.stream.problem is not None or last is None:
            why = each.stream.problem or "llama.cpp ended the connection before the answer"
            return failed(request, why, sent_s=each.sent_s, due_s=each.due_s)
        if last["tokens_evaluated"] != len(request.token_ids):
            read = f"llama.cpp read {last['tokens_evaluated']} tokens of {len(request.token_ids)}"
            return failed(request, read, sent_s=each.sent_s, due_s=each.due_s)
        ended_itself = last["stop_type"] == "eos"
        if not ended_itself and len(each.ids) < request.max_output_tokens:
            short = (
                f"its slot was full after {len(each.ids)} of {request.max_output_tokens} tokens; raise llamacpp.n_ctx"
            )
            return failed(request, short, sent_s=each.sent_s, due_s=each.due_s)
        self._counts.n_requests += 1
        self._counts.n_cached += last.get("timings", {}).get("cache_n", 0)
        self._counts.n_untold_requests += UNTOLD in each.ids
        return _answer(each, "stop" if ended_itself else "length")


def _answer(each: _Open, finish_reason: FinishReason, end_s: float | None = None) -> RequestOutput:
    """What is there of an answer; with its last token it ends, where nothing else is said."""
    return answered(
        each.request, each.ids, each.times_s, finish_reason, sent_s=each.sent_s, due_s=each.due_s, end_s=end_s
    )


def _is_due(due_s: float | None) -> bool:
    return due_s is None or due_s <= time.monotonic()


def _wait_s(waiting: Sequence[tuple[Request, float | None]], has_room: bool) -> float:
    """How long to wait for an answer: until the next request is due, where it can begin."""
    due_s = waiting[0][1] if waiting and has_room else None
    return _PATIENCE_S if due_s is None else min(max(due_s - time.monotonic(), 0.0), _PATIENCE_S)
