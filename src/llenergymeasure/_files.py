"""Files that are whole or absent."""

import contextlib
import errno
import os
import stat
import uuid
from pathlib import Path


def read_regular(path: Path, most_bytes: int) -> bytes:
    """All of a file; a pipe or a device is none: it may have no end, or never begin.

    Args:
        path: the file.
        most_bytes: no such file has more.

    Raises:
        OSError: it cannot be read, is no regular file, or is larger; the file is named.
    """
    # Without waiting for whoever writes into a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "this is a pipe or a device, no file", str(path))
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"it has over {most_bytes / 1e6:,.0f} MB, which no such file has", str(path))
    return content


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file so that it is whole or absent: aside in the same folder, flushed, renamed.

    Args:
        path: the file; one that is there is replaced.
        text: what is to be in it.
        durable: wait until the disk has it. What only lives as long as its processes need not.

    Raises:
        OSError: it cannot be written, and is named; nothing is left behind.
    """
    aside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        # A new file of a name that nobody else has; who may read it is the user's choice (umask).
        with aside.open("x", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # A disk that is full names no file, and the name aside is nobody's.
            error.filename, error.filename2 = str(path), None
        raise
    if durable:
        # The file is there and whole; some file systems cannot flush a folder, and some folders cannot be opened.
        with contextlib.suppress(OSError):
            _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Wait until the disk has the new name too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
