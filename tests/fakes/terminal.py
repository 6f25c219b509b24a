"""A program on a terminal of its own: what it writes there, and what is to be seen of that."""

import contextlib
import os
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyte

from tests.fakes.effort import PATIENCE_S

_MANY_ROWS = 400
INTERRUPT = b"\x03"
# Makes its stdin the terminal that rules it, as a shell's, and becomes the program. Forking here would do the same, but
# for the threads that a process of tests has.
_LEAD = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


@dataclass
class Terminal:
    """What a program has written, as it came, and how to type."""

    process: subprocess.Popen[bytes]
    descriptor: int
    columns: int
    written: bytes = b""

    @property
    def text(self) -> str:
        """All of it; a terminal has a carriage return before each line's end."""
        return self.written.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait_for(self, what: str | Callable[[], bool]) -> None:
        """Read until this pattern was written, or until it is so.

        Raises:
            AssertionError: the program ended without it, or it takes too long.
        """
        end_s = time.monotonic() + PATIENCE_S
        while not (re.search(what, self.text) if isinstance(what, str) else what()):
            assert self._read(), f"it ended without {what!r}: {self.text}"
            assert time.monotonic() < end_s, f"no {what!r}: {self.text}"

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.descriptor, keys)

    def ended(self) -> int:
        """The exit code, once nobody has the terminal any more."""
        end_s = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < end_s, f"it goes on: {self.text}"
        return self.process.wait(PATIENCE_S)

    def _read(self) -> bool:
        """Whether there is more to come."""
        if select.select([self.descriptor], [], [], 0.2)[0]:
            try:
                came = os.read(self.descriptor, 65536)
            except OSError:  # nobody has its other end
                return False
            self.written += came
            return bool(came)
        return True

    def lines(self) -> list[str]:
        """What is to be seen in the end, without the breaks that a narrow terminal makes in long lines."""
        return [_seen(line) for line in self.text.split("\n")]

    def rows(self) -> list[str]:
        """What is to be seen in the end on a terminal as wide as this one, and as high as it takes."""
        screen = pyte.Screen(self.columns, _MANY_ROWS)
        pyte.ByteStream(screen).feed(self.written)
        return [row.rstrip() for row in screen.display[: screen.cursor.y + 1]]

    def widest_overwritten(self) -> int:
        """Characters of the longest of those parts that were written over by what came after them, such as bars."""
        parts = [part for line in self.text.split("\n") for part in line.split("\r")[:-1]]
        return max(map(len, parts), default=0)

    def controls(self) -> set[str]:
        """What was written that moves a cursor or changes a colour, apart from going back to a line's beginning."""
        return set(re.findall(r"[^\n\r\x20-\x7e\u00a0-\uffff]", self.text))


def _seen(line: str) -> str:
    cells = ""
    for part in line.split("\r"):
        cells = part + cells[len(part) :]
    return cells.rstrip()


@contextlib.contextmanager
def on_a_terminal(
    command: Sequence[str], columns: int, environ: Mapping[str, str], folder: Path, rows: int = 24
) -> Iterator[Terminal]:
    """Start a program whose three streams are a terminal so wide; it is ended with the body."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (rows, columns))
    process = subprocess.Popen(
        [sys.executable, "-c", _LEAD, *command],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=environ,
        cwd=folder,
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours, columns)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
