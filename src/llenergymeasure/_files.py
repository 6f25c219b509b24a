"""Files that are whole or absent."""

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, text: str, *, durable: bool = True) -> None:
    """Write a file so that it is whole or absent: aside in the same folder, flushed, renamed.

    Args:
        path: the file; one that is there is replaced.
        text: what is to be in it.
        durable: wait until the disk has it. What only lives as long as its processes need not.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    descriptor, aside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        Path(aside).chmod(0o644)
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
