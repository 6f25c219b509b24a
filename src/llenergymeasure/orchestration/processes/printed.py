"""What another process prints, line by line: of code that is asked, lines of the log, as many as anybody reads."""

import logging
import re
from collections.abc import Callable

_log = logging.getLogger(__name__)
# A bar of progress writes over itself.
_END = re.compile(rb"[\r\n]+")
_MOST_LINES, _MOST_BYTES = 100, 2000


class Printed:
    """Bytes as they come, told line by line."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        """``tell`` is given every line; None makes lines of the log, and no more than anybody reads."""
        self._told = tell or self._told_of_others
        self._rest = b""
        self._n_lines = 0
        self._last = ""

    @property
    def last_words(self) -> str:
        """The last line of all, as it continues a sentence; empty where there is none."""
        return f"; the last that it printed is: {self._last}" if self._last else ""

    def add(self, found: bytes) -> None:
        """Tell the lines that have ended; of one that does not end its beginning."""
        *lines, rest = _END.split(self._rest + found)
        for line in lines:
            self._tell(line)
        self._rest = rest[:_MOST_BYTES]

    def close(self) -> None:
        """Tell what has no end of a line."""
        self._tell(self._rest)
        self._rest = b""

    def _tell(self, line: bytes) -> None:
        text = line[:_MOST_BYTES].decode(errors="backslashreplace").strip()
        if not text:
            return
        self._last = text
        self._told(text)

    def _told_of_others(self, text: str) -> None:
        self._n_lines += 1
        if self._n_lines <= _MOST_LINES:
            _log.info("printed while it was asked: %s", text)
        elif self._n_lines == _MOST_LINES + 1:
            _log.info("more was printed than is told")
