"""Locks between processes, which the kernel frees where one that holds them ends."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def locked(path: Path, patience_s: float | None = None, mode: int = 0o644) -> Iterator[bool | None]:
    """Hold the lock of a file to the end of the body, which is run in any case.

    Args:
        path: the file, made where there is none, with its folder. It stays: one that is removed could be held by two.
        patience_s: how long to wait for others; None for ever.
        mode: permissions of a file that is made; what all users share has to be writable by all.

    Returns:
        Whether it is held: False where others had it all the time, None where nothing can be locked.
    """
    lock = FileLock(path, mode=mode)
    held: bool | None = True
    try:
        lock.acquire(timeout=-1 if patience_s is None else patience_s)
    except Timeout:
        held = False
    except (OSError, NotImplementedError):  # no right to write there, or a file system without locks
        held = None
    try:
        yield held
    finally:
        lock.release()
