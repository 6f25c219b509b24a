"""What a process asks of the files in a folder, one step after the other, each of which may be its last or fail."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.utime", "os.link")


class Killed(BaseException):
    """Nothing goes on."""


@dataclass
class Steps:
    """The steps of this thread that change something in a folder.

    From the one with the number ``at`` on, counted from 1, each raises ``error``; of ``n_failing`` no more do, which
    is all of them where it is None. ``taken`` are those that there were.
    """

    folder: Path
    at: int | None = None
    error: BaseException | None = None
    n_failing: int | None = None
    taken: list[str] = field(default_factory=list)

    def take(self, step: str) -> None:
        """One more."""
        self.taken.append(step)
        if self.at is None or self.error is None or len(self.taken) < self.at:
            return
        if self.n_failing is None or len(self.taken) < self.at + self.n_failing:
            # Each time anew: what handles one may change it.
            raise type(self.error)(*self.error.args)


class _Hook:
    """One for the whole process, since nobody can take one away."""

    def __init__(self) -> None:
        self.steps: Steps | None = None
        self.thread = 0
        self.is_there = False

    def watch(self) -> None:
        if not self.is_there:
            sys.addaudithook(self._heard)
            self.is_there = True

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        steps = self.steps
        if steps is None or threading.get_ident() != self.thread or not arguments:
            return
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & _WRITING:
                return
        elif event not in _CHANGING:
            return
        path = arguments[0]
        if isinstance(path, (str, os.PathLike)) and Path(path).is_relative_to(steps.folder):
            steps.take(f"{event} {Path(path).relative_to(steps.folder)}")


_HOOK = _Hook()


@contextmanager
def counted(steps: Steps) -> Iterator[Steps]:
    """Count the steps of this thread in the body."""
    _HOOK.watch()
    _HOOK.steps, _HOOK.thread = steps, threading.get_ident()
    try:
        yield steps
    finally:
        _HOOK.steps = None
