"""Interruptions of a run: what they leave word of, and what they have to wait for."""

import _thread
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

_INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def noted_when_interrupted(note: Callable[[], str]) -> Iterator[None]:
    """Leave word of what is kept, on Ctrl-C and whatever else ends the program, for whoever tells the user."""
    try:
        with taken_for_what_it_is():
            yield
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note(note())
        raise


@contextlib.contextmanager
def signals_noted() -> Iterator[Callable[[], bool]]:
    """Whether a signal came while the body ran, by which an interruption is told from an error of an engine's own.

    Where somebody took the place of the handlers meanwhile, nobody knows, and one may have come.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # where no interruption is ever raised
        return
    came: list[int] = []

    def noting(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], object]:
        def note(number: int, frame: FrameType | None) -> object:
            came.append(number)
            return handler(number, frame)

        return note

    before = {number: found for number in signal.valid_signals() if callable(found := signal.getsignal(number))}
    ours = {number: noting(handler) for number, handler in before.items()}
    for number, handler in ours.items():
        signal.signal(number, handler)
    try:
        yield lambda: bool(came) or any(signal.getsignal(number) is not ours[number] for number in ours)
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is ours[number]:
                signal.signal(number, handler)


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
    try:
        with contextlib.ExitStack() as putting_back:
            for number, handler in before.items():
                # All of them, also where one that is back already interrupts this.
                putting_back.callback(signal.signal, number, handler)
                signal.signal(number, lambda came_now, _: came.append(came_now))
            yield
    finally:
        for each in came:
            # Raised here, as it would have been.
            signal.raise_signal(each)


# Signals that were to end the program, in the order in which they came; whoever handles them notes them here.
CAME: list[signal.Signals] = []
_BY_A_SIGNAL = 128


def raise_if_lost() -> None:
    """Raise anew what a signal has raised; for where nobody would be if that had got through.

    Some libraries drop it, such as while they are imported: what their C code asks for and does without may be ended
    by it.

    Raises:
        KeyboardInterrupt: there was Ctrl-C.
        SystemExit: there was another.
    """
    if CAME and threading.current_thread() is threading.main_thread():
        if CAME[0] is signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(_BY_A_SIGNAL + CAME[0])


@contextlib.contextmanager
def taken_for_what_it_is() -> Iterator[None]:
    """An error that something made of an interruption is that interruption, as of a library that is being imported.

    Raises:
        KeyboardInterrupt, SystemExit: as ``raise_if_lost``, in the place of an error.
    """
    try:
        yield
    except Exception:
        # What it was made of stays its context.
        raise_if_lost()
        raise


_AGAIN_AFTER_S = 0.01


def come_again(number: int) -> None:
    """Have a signal come once more, a moment from now."""

    def send() -> None:
        time.sleep(_AGAIN_AFTER_S)
        # Whatever the main thread waits for, it is told.
        signal.pthread_kill(main, number)

    main = threading.main_thread().ident or 0
    # Not one of threading's: its start waits, and the signal may not come before this has returned.
    _thread.start_new_thread(send, ())
