"""Requests on their way: each sent when it is due, each chunk stamped when it was read, in one thread that sleeps."""

import json
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.core.backends.arrivals import Arrivals
from llenergymeasure.core.backends.server.answer import Answer, Judge
from llenergymeasure.core.backends.server.connections import Connection, Pool, UnreachableError
from llenergymeasure.core.backends.server.parts import FailedError, said_in
from llenergymeasure.core.backends.server.response import Response, UnreadableError
from llenergymeasure.core.backends.server.waiting import Waiting
from llenergymeasure.domain.inference import ErrorKind, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.exceptions import ExperimentError

_OK = 200
_REFUSED = {429: "too many requests", 503: "not now"}
_REDIRECTS = range(300, 400)
# How soon a request that took too long is noticed.
_LOOKS_EVERY_S = 0.05
# How long is waited for the end of a body behind its last event.
_LAST_WORD_S = 0.5
# Answers are read again before more begin than this.
_BEGUN_IN_A_TURN = 64
# So many in a row that cannot reach the server, none having reached it before, end the run; or so many at any time.
_UNREACHED_AT_FIRST, _UNREACHED = 20, 1000


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How the server is asked.

    ``head`` is all of a request but its length and its body, which ``body_of`` makes; a request that has none raises
    ValueError. No request takes longer than ``timeout_s``, or is silent for ``silence_timeout_s``. ``must_live`` raises
    where a server of ours has ended: nobody waits then for what else is to come.
    """

    pool: Pool
    head: bytes
    body_of: Callable[[Request], Mapping[str, Any]]
    timeout_s: float
    silence_timeout_s: float
    must_live: Callable[[], None]

    def bytes_of(self, request: Request) -> bytes:
        """What is sent for a request."""
        body = json.dumps(self.body_of(request), separators=(",", ":")).encode()
        return b"%bContent-Length: %d\r\n\r\n%b" % (self.head, len(body), body)


class _Open:
    """A request that the server is at work on."""

    def __init__(self, answer: Answer, connection: Connection) -> None:
        self.answer, self.connection, self.response = answer, connection, Response()
        self.file = connection.socket.fileno()
        self.awaits = connection.awaits
        self.heard_s = answer.sent_s
        self.n_chunks = 0


class Run:
    """One ``run`` of the model: requests of a load."""

    def __init__(self, asking: Asking, judge: Judge) -> None:
        self._asking, self._judge = asking, judge
        self._on_done: Callable[[RequestOutput], None] = lambda _: None
        self._opened: dict[int, _Open] = {}
        self._looked_s = 0.0
        self._n_unreached, self._has_reached = 0, False

    def serve(self, requests: Sequence[Request], load: Load, on_done: Callable[[RequestOutput], None]) -> None:
        """Serve [n] requests; those in flight when the load is cancelled are told as that.

        Raises:
            ExperimentError: the server cannot be reached again and again.
        """
        self._on_done = on_done
        waiting = Arrivals(requests, load)
        with selectors.DefaultSelector() as selector, Waiting(selector, exact=load.kind == "due_times") as wait:
            try:
                while (waiting or self._opened) and not load.cancelled():
                    for _ in range(_BEGUN_IN_A_TURN):
                        due = None if load.cancelled() else waiting.due(len(self._opened))
                        if due is None:
                            break
                        self._begin(*due, selector)
                    for key in wait.ready(waiting.wait_s(len(self._opened))):
                        self._go_on(key.data, selector)
                    self._look_at_the_clock(selector)
            finally:
                for each in self._opened.values():
                    each.connection.close()
        now_s = time.monotonic()
        for each in self._opened.values():
            on_done(each.answer.cancelled(self._judge, now_s))

    def _begin(self, request: Request, due_s: float | None, selector: selectors.BaseSelector) -> None:
        try:
            sent = self._asking.bytes_of(request)
        except ValueError as error:
            now_s = time.monotonic()
            self._on_done(Answer(request, now_s, due_s).failed("engine", str(error), now_s))
            return
        answer = Answer(request, time.monotonic(), due_s)
        try:
            connection = self._asking.pool.taken(answer.sent_s)
        except UnreachableError as error:
            self._on_done(answer.failed("unreachable", f"the server cannot be reached: {error}", time.monotonic()))
            self._n_unreached += 1
            if self._n_unreached >= (_UNREACHED if self._has_reached else _UNREACHED_AT_FIRST):
                raise ExperimentError(
                    f"{self._n_unreached} requests in a row could not reach the server; the last: {error}"
                ) from None
            return
        self._n_unreached, self._has_reached = 0, True
        try:
            connection.send(sent)
        except OSError as error:
            connection.close()
            self._on_done(answer.failed("closed", f"the server closed the connection: {error}", time.monotonic()))
            return
        each = _Open(answer, connection)
        self._opened[each.file] = each
        selector.register(each.file, each.awaits, each)

    def _go_on(self, each: _Open, selector: selectors.BaseSelector) -> None:
        """Read what is there of an answer, and tell it when it has ended."""
        try:
            data = each.connection.go_on()
            now_s = time.monotonic()
            if data is not None:
                each.heard_s = now_s
                for event in each.response.feed(data) if data else each.response.close():
                    each.n_chunks += 1
                    each.answer.take(event, now_s)
            if each.response.is_whole or (data == b"" and each.answer.is_done):
                self._end(each, self._judged(each, now_s), selector)
            elif data == b"":
                after = f"after {each.n_chunks} parts of the answer" if each.n_chunks else "before an answer"
                self._fail(each, "closed", f"the server closed the connection {after}", selector)
            elif each.awaits != each.connection.awaits:
                each.awaits = each.connection.awaits
                selector.modify(each.file, each.awaits, each)
        except FailedError as error:
            self._fail(each, error.kind, str(error), selector)
        except UnreadableError as error:
            self._fail(each, "unreadable", f"what the server sends cannot be read: {error}", selector)
        except UnreachableError as error:
            self._fail(each, "unreachable", f"the server cannot be reached: {error}", selector)
        except ValueError as error:
            self._fail(each, "unreadable", f"what the server sends cannot be read: {error}", selector)
        except OSError as error:
            self._fail(each, "closed", f"the server closed the connection: {error}", selector)

    def _go_on_without(self, each: _Open, now_s: float, selector: selectors.BaseSelector) -> None:
        try:
            self._end(each, self._judged(each, now_s), selector)
        except FailedError as error:
            self._fail(each, error.kind, str(error), selector)

    def _judged(self, each: _Open, now_s: float) -> RequestOutput:
        response = each.response
        if response.status == _OK and each.n_chunks:
            return each.answer.ended(self._judge, now_s)
        if response.status == _OK:
            raise FailedError("unreadable", "the answer has status 200, and neither events nor JSON in it")
        raise _status_error(response)

    def _fail(self, each: _Open, kind: ErrorKind, why: str, selector: selectors.BaseSelector) -> None:
        self._end(each, each.answer.failed(kind, why, time.monotonic()), selector)

    def _end(self, each: _Open, output: RequestOutput, selector: selectors.BaseSelector) -> None:
        selector.unregister(each.file)
        del self._opened[each.file]
        if each.response.is_whole and each.response.keeps:
            self._asking.pool.give_back(each.connection, time.monotonic())
        else:
            each.connection.close()
        self._on_done(output)

    def _look_at_the_clock(self, selector: selectors.BaseSelector) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOKS_EVERY_S:
            return
        self._looked_s = now_s
        self._asking.must_live()
        for each in tuple(self._opened.values()):
            if each.answer.is_done and now_s - each.heard_s > _LAST_WORD_S:
                # Only the end of the body is missing.
                self._go_on_without(each, now_s, selector)
            elif now_s - each.answer.sent_s > self._asking.timeout_s:
                took = f"it had not ended after {self._asking.timeout_s:g} s (server.timeout_s)"
                self._fail(each, "timeout", took, selector)
            elif now_s - each.heard_s > self._asking.silence_timeout_s:
                silent = f"nothing came for {self._asking.silence_timeout_s:g} s (server.silence_timeout_s)"
                self._fail(each, "timeout", silent, selector)


def _status_error(response: Response) -> FailedError:
    """What a status other than 200 says."""
    status, said = response.status or 0, _said(response)
    words = f"; it says: {said}" if said else ""
    if status in _REFUSED:
        later = f", and to come back after {response.retry_after:.40} s" if response.retry_after else ""
        return FailedError("refused", f"the server refused it with status {status} ({_REFUSED[status]}){later}{words}")
    if status in _REDIRECTS:
        place = (response.location or "nowhere")[:200]
        return FailedError("status", f"the server sends elsewhere (status {status}, to {place}), which is not followed")
    return FailedError("status", f"the server answered with status {status}{words}")


def _said(response: Response) -> str:
    try:
        return said_in(json.loads(bytes(response.said))) or ""
    except (ValueError, RecursionError):
        return bytes(response.said[:300]).decode("utf-8", "replace").strip()
