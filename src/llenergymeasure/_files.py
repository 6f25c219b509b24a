"""Files that are whole or absent."""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

_BLOCK = 2**17
# Names of what is written aside, which a process that was killed may leave.
ASIDE = ".*.tmp"


def open_regular(path: Path) -> BinaryIO:
    """A file, open for reading; a pipe, a device or a socket is none: it may have no end, or never begin.

    What is none is not opened. What takes the place of a file meanwhile is opened without waiting, and refused.

    Raises:
        OSError: it cannot be opened, or is no regular file; it is named.
    """
    _refuse_others(path.stat().st_mode, path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _refuse_others(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _refuse_others(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder; give a regular file", str(path))
    if not stat.S_ISREG(mode):
        told = "it is no regular file (a pipe, a device or a socket); give a regular file"
        raise OSError(errno.EINVAL, told, str(path))


def read_regular(path: Path, most_bytes: int) -> bytes:
    """All of a file.

    Args:
        path: the file.
        most_bytes: what such a file has at most.

    Raises:
        OSError: it cannot be opened, is no regular file, or is larger; the file is named.
    """
    parts, left = [], most_bytes + 1
    with open_regular(path) as file:
        while left > 0:
            # For all that is allowed at once a buffer of that size would be made each time.
            asked = min(left, _BLOCK)
            parts.append(file.read(asked))
            left -= len(parts[-1])
            if len(parts[-1]) < asked:
                break
    content = b"".join(parts)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has over {most_bytes / 1e6:,.0f} MB, which no such file has", str(path))
    return content


def is_own(path: Path) -> bool:
    """Whether it is there, this user's, and no link: in a folder of everybody's anybody may put anything."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)


def is_private_folder(path: Path) -> bool:
    """Whether it is this user's folder, into which nobody else can have put anything."""
    return is_own(path) and path.is_dir() and not path.lstat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file so that it is whole or absent: aside in the same folder, flushed, renamed.

    Args:
        path: the file; one that is there is replaced.
        text: what is to be in it.
        durable: wait until the disk has it. What only lives as long as its processes need not.

    Raises:
        OSError: it cannot be written, and is named; nothing is left behind.
    """
    with written_atomically(path, durable=durable) as aside:
        # Who may read it is the user's choice (umask).
        aside.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def written_atomically(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """The name of a file to write in the body, which gets its own name when that is done.

    Args:
        path: the file; one that is there is replaced.
        durable: wait until the disk has it.

    Raises:
        OSError: it cannot be written, and is named; nothing is left behind.
    """
    # A name that nobody else has.
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        yield aside
        if durable:
            _flush(aside)
        aside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # A disk that is full names no file, and the name aside is nobody's.
            error.filename = str(path)
            del error.filename2  # None would be printed as a second name
        raise
    if durable:
        flush_files([path.parent])


def flush_files(paths: Iterable[Path]) -> None:
    """Wait until the disk has files that are there and whole, and the names in folders.

    Some file systems cannot flush a folder, and some folders cannot be opened: that is no error.
    """
    for path in paths:
        with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():
            _flush(path)


def mode_of_new_files(folder: Path) -> int:
    """Permissions that a new file in a folder gets, which the user's umask decides.

    Asked of a file, because asking for the umask sets it, for every thread of the process.

    Raises:
        OSError: nothing can be written there.
    """
    probe = folder / f".{uuid.uuid4().hex}.tmp"
    probe.touch(exist_ok=False)
    try:
        return probe.stat().st_mode & 0o777
    finally:
        probe.unlink()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
