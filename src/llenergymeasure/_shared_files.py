"""Files by which workers on several hosts agree: the one place where those are listed, read, made and kept fresh.

On a file system that is shared, such as NFS, the server decides who creates a file. Whatever is read, listed or asked
of a file may be as it was some seconds ago; a process sees at once what it wrote itself.
"""

import contextlib
import errno
import os
import stat
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

_T = TypeVar("_T")

# What such a file system answers while it finds its way again, as after its server was started anew.
_PASSING = frozenset({errno.ESTALE, errno.EINTR, errno.EAGAIN})
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_TRIES = 5
_FIRST_WAIT_S = 0.02


@dataclass(frozen=True)
class ReadFile:
    """What a file had in it, and when it was last changed or kept fresh: seconds by the file system's clock."""

    content: bytes
    changed_s: float


class SharedFiles(Protocol):
    """How shared files are seen and made. What cannot be asked or made raises ``OSError``."""

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, in any order; none where there is no such folder."""

    def exists(self, path: str | Path) -> bool:
        """Whether there is a file or folder."""

    def read(self, path: str | Path, most_bytes: int) -> ReadFile:
        """A regular file.

        Args:
            path: the file.
            most_bytes: no more is read of it.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read, or is something else.
        """

    def create(self, path: str | Path, content: bytes) -> None:
        """Make a file that only one can make.

        Raises:
            FileExistsError: somebody else has.
            OSError: it may be there, with a part of its content.
        """

    def touch(self, path: str | Path) -> None:
        """Have a file say that it was changed now."""

    def now_s(self, folder: Path) -> float:
        """What time it is by the file system's clock, in seconds, where all hosts see the same."""


@dataclass(frozen=True)
class FilesOfTheSystem:
    """The files as the operating system shows them; an answer that passes is asked for again, a few times.

    ``sleep`` is called with the seconds between two tries, which are a third of a second in all.
    """

    sleep: Callable[[float], None] = time.sleep

    def names(self, folder: Path) -> list[str]:
        """See ``SharedFiles``."""
        try:
            return self._patiently(lambda: _names(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def exists(self, path: str | Path) -> bool:
        """See ``SharedFiles``."""
        try:
            self._patiently(lambda: os.stat(path))  # noqa: PTH116 - of a text
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise
        return True

    def read(self, path: str | Path, most_bytes: int) -> ReadFile:
        """See ``SharedFiles``; a file is opened before it is asked for its age, which has NFS ask the server."""
        return self._patiently(lambda: _read(path, most_bytes))

    def create(self, path: str | Path, content: bytes) -> None:
        """See ``SharedFiles``."""
        # What the server answered in this way it has not done.
        descriptor = self._patiently(lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            while content:
                content = content[os.write(descriptor, content) :]
        finally:
            # Of a file that is far away this may be where writing fails.
            os.close(descriptor)

    def touch(self, path: str | Path) -> None:
        """See ``SharedFiles``."""
        self._patiently(lambda: os.utime(path))

    def now_s(self, folder: Path) -> float:
        """See ``SharedFiles``: what it says of a file that is made now; this machine's where none can be made."""
        probe = folder / f".{uuid.uuid4().hex}.now"
        try:
            self.create(probe, b"")
            return probe.stat().st_mtime
        except OSError:
            # A folder that may only be read, or is full.
            return time.time()
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()

    def _patiently(self, work: Callable[[], _T]) -> _T:
        wait_s = _FIRST_WAIT_S
        for _ in range(_TRIES - 1):
            try:
                return work()
            except OSError as error:
                if error.errno not in _PASSING:
                    raise
            self.sleep(wait_s)
            wait_s *= 2
        return work()


ON_DISK = FilesOfTheSystem()


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _read(path: str | Path, most_bytes: int) -> ReadFile:
    # A pipe in its place is opened without waiting, and refused.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        return ReadFile(os.read(descriptor, most_bytes), found.st_mtime)
    finally:
        os.close(descriptor)
