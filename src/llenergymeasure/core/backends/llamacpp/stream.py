"""Answers of llama.cpp's server as they come in: HTTP, chunks, and an event of JSON for each step."""

import json
from collections.abc import Iterator
from typing import Any

_HEAD_END, _LINE_END, _EVENT_END = b"\r\n\r\n", b"\r\n", b"\n\n"
_DATA = b"data: "
_OK = 200


class AnswerStream:
    """Takes the bytes of one response, however they are cut, and gives its events.

    ``problem`` says why there is no answer, once the server has said so.
    """

    def __init__(self) -> None:
        self._raw = self._body = b""
        self._status: int | None = None
        self._is_chunked = False
        self.problem: str | None = None

    def feed(self, data: bytes) -> list[dict[str, Any]]:
        """The events that these bytes complete.

        Raises:
            ValueError: this is no answer of the server.
        """
        self._raw += data
        if self._status is None and not self._read_head():
            return []
        self._body += b"".join(self._chunks()) if self._is_chunked else self._take_all()
        if self._status != _OK:
            return []
        *events, self._body = self._body.split(_EVENT_END)
        return [event for text in events if (event := self._event(text)) is not None]

    def end(self) -> None:
        """Nothing more will come: note why, where the server refused."""
        if self._status is not None and self._status != _OK:
            self.problem = _message(self._body) or f"llama.cpp answered with status {self._status}"

    def _read_head(self) -> bool:
        head, found, rest = self._raw.partition(_HEAD_END)
        if not found:
            return False
        lines = head.split(_LINE_END)
        self._status = int(lines[0].split(b" ", 2)[1])
        self._is_chunked = any(line.lower().startswith(b"transfer-encoding: chunked") for line in lines)
        self._raw = rest
        return True

    def _take_all(self) -> bytes:
        taken, self._raw = self._raw, b""
        return taken

    def _chunks(self) -> Iterator[bytes]:
        """What is whole of the chunks of a body: a line with the size in hexadecimal, so many bytes, a line's end."""
        while True:
            line, found, rest = self._raw.partition(_LINE_END)
            size = int(line.split(b";")[0], 16) if found else 0
            if not found or len(rest) < size + len(_LINE_END):
                return
            self._raw = rest[size + len(_LINE_END) :]
            yield rest[:size]

    def _event(self, text: bytes) -> dict[str, Any] | None:
        if not text.startswith(_DATA):
            # Lines with a colon before them are there to keep a connection open.
            return None
        event: dict[str, Any] = json.loads(text.removeprefix(_DATA))
        if "error" in event:
            self.problem = _message(text.removeprefix(_DATA)) or "llama.cpp gave up and did not say why"
            return None
        return event


def _message(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return None
