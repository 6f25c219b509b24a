"""Files that are whole or absent."""

import contextlib
import os
import uuid
from pathlib import Path


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
