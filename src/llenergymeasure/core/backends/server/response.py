"""An answer of HTTP as its bytes come in, read by httptools."""

from typing import Any

from llenergymeasure.core.backends.server.events import MOST_LINE_BYTES, EventStream, TooLongError

# httptools has no limit of its own.
_MOST_HEAD_BYTES = 64 * 2**10
# Of an answer that says that something is wrong nobody reads more.
_MOST_ERROR_BYTES = 64 * 2**10
_OK, _INFORMATIONAL = 200, range(100, 200)


class UnreadableError(ValueError):
    """What the server sends is no answer."""


class Response:
    """Takes the bytes of one answer and gives the data of its events.

    ``status`` is None before its head is there. ``is_whole`` says that nothing more belongs to it, ``keeps`` that the
    connection may be asked again then. An answer that is one JSON object, and not a stream, is one event; of a status
    other than 200 the body is kept in ``said``.
    """

    def __init__(self, most_line_bytes: int = MOST_LINE_BYTES) -> None:
        from httptools import HttpResponseParser

        self._most = most_line_bytes
        self._parser: Any = HttpResponseParser(self)
        self._stream = EventStream(most_line_bytes)
        self._events: list[bytes] = []
        self._n_head_bytes = 0
        self._headers: dict[str, str] = {}
        self._is_stream: bool | None = None
        self.status: int | None = None
        self.said = bytearray()
        self.is_whole = self.keeps = self._is_beyond = False

    @property
    def retry_after(self) -> str | None:
        """What the server says of when to come back."""
        return self._headers.get("retry-after")

    @property
    def location(self) -> str | None:
        """Where the server sends to."""
        return self._headers.get("location")

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that these bytes complete.

        Raises:
            UnreadableError: this is no answer, or one with a part that is too large.
        """
        from httptools import HttpParserError, HttpParserUpgrade

        if self.status is None:
            self._n_head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as error:
            raise UnreadableError("it goes on in another protocol than HTTP") from error
        except HttpParserError as error:
            cause = error.__context__ if isinstance(error.__context__, ValueError) else None
            if isinstance(cause, UnreadableError | TooLongError):
                raise UnreadableError(str(cause)) from error
            if not self.is_whole:
                raise UnreadableError(f"this is no HTTP ({error or type(error).__name__})") from error
            self.keeps = False
        if self.status is None and self._n_head_bytes > _MOST_HEAD_BYTES:
            raise UnreadableError(f"its head has more than {_MOST_HEAD_BYTES} bytes")
        events, self._events = self._events, []
        return events

    def close(self) -> list[bytes]:
        """The server has closed: what was left, where an answer may end so.

        Raises:
            UnreadableError: it may not.
        """
        ends_so = "content-length" not in self._headers and "transfer-encoding" not in self._headers
        if self.status is not None and ends_so and not self.is_whole:
            self.on_message_complete()
        self.keeps = False
        events, self._events = self._events, []
        return events

    def on_message_begin(self) -> None:
        """Called by the parser; what comes behind the answer belongs to nobody."""
        self._is_beyond = self.is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if self._is_beyond:
            return
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self._is_beyond:
            self.keeps = False
            return
        status = int(self._parser.get_status_code())
        if status in _INFORMATIONAL:
            self._headers.clear()
            return
        self.status = status
        encoding = self._headers.get("content-encoding", "identity").lower()
        if encoding not in ("", "identity"):
            raise UnreadableError(f"it is packed ({encoding}), which was not asked for")

    def on_body(self, data: bytes) -> None:
        """Called by the parser."""
        if self._is_beyond:
            return
        if self.status != _OK:
            self.said += data[: max(_MOST_ERROR_BYTES - len(self.said), 0)]
            return
        if self._is_stream is None:
            begins = data.lstrip()[:1]
            self._is_stream = None if not begins else begins != b"{"
        if self._is_stream is not False:
            self._events += self._stream.feed(data)
            return
        self.said += data
        if len(self.said) > self._most:
            raise UnreadableError(f"a body of more than {self._most} bytes")

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self.status is None or self.is_whole:
            return
        self.is_whole, self.keeps = True, bool(self._parser.should_keep_alive())
        if self.status == _OK:
            self._events += [bytes(self.said)] if self._is_stream is False else self._stream.end()
