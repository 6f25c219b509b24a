"""What an engine and its processes write while they load and run: kept apart, so that a failure can be told by it."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence

from llenergymeasure._telling import in_a_line

# Nobody reads more of it in one error.
_MOST_BYTES, _N_LINES, _MOST_SHOWN = 64_000, 4, 400
# As Python writes an error at the end of a traceback, maybe behind the engine's own mark of the process.
_ERROR = r"(?:\w+\.)*\w*(?:Error|Exception|Exit)\b: .+"
_OUTPUTS = (1, 2)


class Journal:
    """A file without a name. Processes that are started in ``taking`` write to it as long as they live."""

    def __init__(self, says_nothing: Sequence[str] = (), *, also: str | None = None) -> None:
        """Begin one.

        Args:
            says_nothing: words of errors that say that a process failed, and not why.
            also: pattern of what tells a cause without being an error of Python's.
        """
        self._says_nothing = says_nothing
        self._error = re.compile(rf"(?:^|\s)({'|'.join(filter(None, (_ERROR, also)))})$")
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - close() closes it

    @contextlib.contextmanager
    def taking(self) -> Iterator[None]:
        """Let this process's standard output and error, and those of what it starts, lead here meanwhile."""
        kept = []
        try:
            for number in _OUTPUTS:
                kept.append((number, os.dup(number)))
                _flushed()
                os.dup2(self._file.fileno(), number)
            yield
        finally:
            _flushed()
            for number, before in kept:
                os.dup2(before, number)
                os.close(before)

    def fileno(self) -> int:
        """The file, for what is started with it as its output."""
        return self._file.fileno()

    def cause(self) -> str | None:
        """The last error that was written which says why; None where there is none."""
        found = [match[1] for line in self._lines() if (match := self._error.search(line)) is not None]
        told = [error for error in found if not any(words in error for words in self._says_nothing)]
        return in_a_line(told[-1])[:_MOST_SHOWN] if told else None

    def tail(self) -> str:
        """Its last lines, in one; empty where nothing was written."""
        return in_a_line(" | ".join(self._lines()[-_N_LINES:]))[-_MOST_SHOWN:]

    def close(self) -> None:
        """The file goes when the last process that writes to it has ended."""
        self._file.close()

    def _lines(self) -> list[str]:
        size = os.fstat(self._file.fileno()).st_size
        # Those who write share its place, so it is read without moving that.
        written = os.pread(self._file.fileno(), _MOST_BYTES, max(size - _MOST_BYTES, 0)).decode("utf-8", "replace")
        return [line.strip() for line in written.splitlines() if line.strip()]


def _flushed() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
