"""Interruptions of a run: what they leave word of, and what they have to wait for."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def noted_when_interrupted(note: Callable[[], str]) -> Iterator[None]:
    """Leave word of what is kept, on Ctrl-C and whatever else ends the program, for whoever tells the user."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note(note())
        raise


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Interruptions wait until the body is through: what is measured is written first.

    A mask would not do: the kernel gives the signal to another thread, and Python handles it in this one.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # where no interruption is ever raised
        return
    came: list[int] = []
    # None is a handler that is not Python's, which cannot be put back; what is ignored interrupts nobody.
    handlers = {number: signal.getsignal(number) for number in _INTERRUPTING}
    before = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda came_now, _: came.append(came_now))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            # Raised here, as it would have been.
            signal.raise_signal(came[0])
