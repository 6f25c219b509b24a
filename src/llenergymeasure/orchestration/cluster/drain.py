"""Being asked to take no more: SIGUSR1 and SIGUSR2, which end nothing.

A scheduler sends its warning to every process of a job. Those that measure would be killed by it, so it is blocked
here, and in all that is started from here on, for a mask is handed down and a handler is not.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

WARNINGS = frozenset({signal.SIGUSR1, signal.SIGUSR2})


class Drain:
    """Whether this process was asked to take no more."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._came: str | None = None

    def asked_by(self) -> str | None:
        """The signal by which it was asked, by its name; None where it was not."""
        # One that is blocked stays pending, and says all that there is to say.
        pending = sorted(WARNINGS & signal.sigpending())
        return self._came or (signal.Signals(pending[0]).name if pending else None)

    def note(self, number: int, _: FrameType | None = None) -> None:
        """Note a signal; for a thread of a library that was there before they were blocked, which may get it."""
        self._came = signal.Signals(number).name


@contextlib.contextmanager
def warnings_blocked() -> Iterator[None]:
    """While the body runs this thread, and what it starts, is not told of them; they come when it is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def drained_by_signals() -> Iterator[Drain]:
    """While the body runs they are taken for what they are, and no process that is started is ended by them."""
    drain = Drain()
    if threading.current_thread() is not threading.main_thread():
        yield drain
        return
    handlers = {number: signal.signal(number, drain.note) for number in WARNINGS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, WARNINGS)
    try:
        yield drain
    finally:
        # One that is pending goes to the handler that notes it, not to what would end this process.
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)
