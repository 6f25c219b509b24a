"""Hidden folders to work in, which get their final name when they are whole, and what of them a kill has left."""

import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from llenergymeasure._files import is_own

_log = logging.getLogger(__name__)

_FOLDER, _LOCK = ".llem-partial", ".llem-lock"
# A lock without a folder is about to get one, unless it is this old.
_OLD_S = 3600.0


@contextlib.contextmanager
def working_folder(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder ``.{name}.….llem-partial`` that is gone at the end, unless it was renamed.

    Its lock, beside it, is held as long as its process lives, by the kernel, so that the next to work in ``parent``
    knows what to remove. The final path is not known before the end; files in it must not name it.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(parent)
    folder = parent / f".{name}.{uuid.uuid4().hex[:8]}{_FOLDER}"
    lock = FileLock(folder.with_suffix(_LOCK))
    # A file system without locks: nobody removes what a kill leaves there.
    with contextlib.suppress(NotImplementedError):
        lock.acquire()
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()
        with contextlib.suppress(OSError):
            folder.with_suffix(_LOCK).unlink(missing_ok=True)


def remove_leftovers(parent: Path) -> None:
    """Remove the working folders in ``parent`` whose processes are dead; where one cannot be removed it stays."""
    for path in list(parent.glob(f".*{_FOLDER}")):
        lock = path.with_suffix(_LOCK)
        if is_own(path) and is_own(lock) and _is_free(lock):
            _log.info("removing %s, which a run that was killed left", path)
            shutil.rmtree(path, ignore_errors=True)
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)
    for lock in list(parent.glob(f".*{_LOCK}")):
        with contextlib.suppress(OSError):
            if not lock.with_suffix(_FOLDER).exists() and time.time() - lock.stat().st_mtime > _OLD_S:
                lock.unlink(missing_ok=True)


def _is_free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except (Timeout, OSError, NotImplementedError):
        return False
