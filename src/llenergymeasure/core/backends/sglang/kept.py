"""What SGLang changes in the process that loads it, and how it is put back."""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.core.backends.sglang import quits

# Those that it handles while it loads, or once it serves.
_HANDLED = (signal.SIGTERM, signal.SIGQUIT)


class Kept:
    """Made before SGLang is imported, in the main thread."""

    def __init__(self) -> None:
        # Variables that loading changed, as they were.
        self._environment: dict[str, str | None] = {}
        self._method = multiprocessing.get_start_method(allow_none=True)
        with _no_deprecation():
            self._policy = asyncio.get_event_loop_policy()
        self._handlers = {number: signal.getsignal(number) for number in _HANDLED}
        quits.forget()

    @contextlib.contextmanager
    def loading(self, sockets: Path) -> Iterator[None]:
        """Keep the root logger's handlers, which SGLang would close, and have the files of its sockets in a folder."""
        root, before = logging.getLogger(), tempfile.tempdir
        level, handlers, environment = root.level, list(root.handlers), dict(os.environ)
        for handler in handlers:
            root.removeHandler(handler)
        tempfile.tempdir = str(sockets)
        try:
            yield
        finally:
            tempfile.tempdir = before
            names = {*environment, *os.environ}
            changed = (name for name in names if environment.get(name) != os.environ.get(name))
            self._environment = {name: environment.get(name) for name in changed}
            for handler in list(root.handlers):
                root.removeHandler(handler)
            for handler in handlers:
                root.addHandler(handler)
            root.setLevel(level)

    def take_signals_back(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have signals handled as before, and that a process of SGLang failed noted; its own would end this process."""
        for number in _HANDLED:
            loop.remove_signal_handler(number)
        self._restore(signal.SIGTERM)
        signal.signal(signal.SIGQUIT, quits.note)

    def put_back(self, *, quit_too: bool) -> None:
        """All else as it was.

        Args:
            quit_too: that SIGQUIT, too; not while something of SGLang's may still send it.
        """
        self._restore(signal.SIGTERM)
        if quit_too:
            self._restore(signal.SIGQUIT)
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        multiprocessing.set_start_method(self._method, force=True)
        with _no_deprecation():
            asyncio.set_event_loop_policy(self._policy)

    def _restore(self, number: signal.Signals) -> None:
        handler = self._handlers[number]
        # None: one that Python did not set, and could not set back.
        if handler is not None:
            signal.signal(number, handler)


@contextlib.contextmanager
def _no_deprecation() -> Iterator[None]:
    """Policies of event loops go in Python 3.16, and until then SGLang, or what it loads, may set one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
