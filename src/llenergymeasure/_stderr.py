"""A stderr that nobody reads any more holds nobody: what it does not take within seconds is dropped."""

import io
import os
import select
import stat
import sys
import time
from collections.abc import Callable
from typing import Any

# Longer than a terminal or a log's writer takes to catch up, and no more than a measurement can spare.
PATIENCE_S = 5.0


class PatientWriter(io.RawIOBase):
    """Writes to a pipe, a terminal or a socket, and waits for room there only so long.

    Where that was in vain it does not wait again before something has been taken.
    """

    def __init__(
        self, descriptor: int, patience_s: float = PATIENCE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._given = descriptor
        self._used = _that_never_waits(descriptor)
        self._patience_s = patience_s
        self._clock = clock
        self._waits = True

    def write(self, data: Any) -> int:
        """All of it is done with: written, or dropped.

        Raises:
            OSError: nobody can read it any more.
        """
        left = memoryview(data).cast("B")
        n_bytes, end_s = len(left), self._clock() + (self._patience_s if self._waits else 0.0)
        while left and self._has_room(end_s):
            try:
                # A pipe that has room takes so much without waiting.
                left = left[os.write(self._used, left[: select.PIPE_BUF]) :]
            except BlockingIOError:
                continue
        self._waits = not left
        return n_bytes

    def writable(self) -> bool:
        """It is nothing else."""
        return True

    def fileno(self) -> int:
        """The number under which it was given."""
        return self._given

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._given)

    def _has_room(self, end_s: float) -> bool:
        poll = select.poll()
        poll.register(self._used, select.POLLOUT)
        return bool(poll.poll(max(0.0, 1000 * (end_s - self._clock()))))


def use_patient_stderr() -> None:
    """Have this process's own stderr be one that holds nobody, where it can be full: a file cannot."""
    before = sys.stderr
    # What was put in its place, as by tests, is somebody else's.
    if before is not sys.__stderr__ or before is None:
        return
    try:
        descriptor = before.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):  # it is closed
        return
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor):
        sys.stderr = io.TextIOWrapper(
            PatientWriter(descriptor),  # as Python's own with -u
            encoding=before.encoding,
            errors=before.errors,
            write_through=True,
        )


def _that_never_waits(descriptor: int) -> int:
    """A number of its own for the same pipe or terminal: others who have it open go on waiting, as they mean to."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a socket, somebody else's terminal, another system: it is written to only where it has room
        return descriptor
