"""Waiting for sockets to the microsecond, without doing anything meanwhile."""

import contextlib
import ctypes
import select
import selectors
from types import TracebackType
from typing import Self

# linux/prctl.h
_PR_SET_TIMERSLACK, _PR_GET_TIMERSLACK = 29, 30
_LEAST_SLACK_NS = 1
# select(2) takes no larger numbers of files.
_MOST_FILES = 1024


class Waiting:
    """Waits for the files of a selector, a context manager.

    Python rounds the waits of epoll up to milliseconds, a fifth of the gap between requests at 200 per second; the one
    file that stands for all of them is waited for by select(2), which takes microseconds. The kernel may add its timer
    slack, 50 microseconds unless told otherwise: while ``exact`` it is told, for this thread.
    """

    def __init__(self, selector: selectors.BaseSelector, *, exact: bool) -> None:
        self._selector = selector
        self._file = _file_of(selector)
        self._exact = exact
        self._slack_ns = 0

    def __enter__(self) -> Self:
        if self._exact:
            self._slack_ns = _prctl(_PR_GET_TIMERSLACK, 0)
            _prctl(_PR_SET_TIMERSLACK, _LEAST_SLACK_NS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._slack_ns > 0:
            _prctl(_PR_SET_TIMERSLACK, self._slack_ns)

    def ready(self, within_s: float) -> list[selectors.SelectorKey]:
        """The files at which there is something to do, as soon as there is one; none where that takes too long."""
        if self._file is None:
            return [key for key, _ in self._selector.select(within_s)]
        found, _, _ = select.select([self._file], [], [], max(within_s, 0.0))
        return [key for key, _ in self._selector.select(0)] if found else []


def _file_of(selector: selectors.BaseSelector) -> int | None:
    """The file that stands for all that a selector waits for; None where it has none that select(2) takes."""
    number = getattr(selector, "fileno", lambda: _MOST_FILES)()
    return number if number < _MOST_FILES else None


def _prctl(option: int, value: int) -> int:
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        return int(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0))
    return -1
