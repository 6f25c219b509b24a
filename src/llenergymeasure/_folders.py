"""Folders that are whole or absent: made aside under a lock, flushed, renamed; and what of them a kill has left."""

import contextlib
import logging
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from llenergymeasure._files import flush_files, is_own
from llenergymeasure._locks import locked

_log = logging.getLogger(__name__)

_FOLDER, _LOCK = ".llem-partial", ".llem-lock"
# A lock without a folder is about to get one, unless it is this old.
_OLD_S = 3600.0


@contextlib.contextmanager
def working_folder(parent: Path, name: str) -> Iterator[Path]:
    """A hidden folder ``.{name}.….llem-partial`` that is gone at the end, unless it was put in its place.

    Its lock, beside it, is held as long as its process lives, so that the next to work in ``parent`` knows what to
    remove; where nothing can be locked, nobody removes what a kill leaves. The final path is not known before the end;
    files in it must not name it.

    Raises:
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(parent)
    folder = parent / f".{name}.{uuid.uuid4().hex[:8]}{_FOLDER}"
    lock = folder.with_suffix(_LOCK)
    try:
        with locked(lock):
            folder.mkdir()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)


def put_in_place(folder: Path, target: Path) -> Path:
    """Give a folder that is whole its final name, and return when the disk has it all.

    Args:
        folder: what is written in it, at any depth, is flushed before it is renamed.
        target: beside it; not there, or an empty folder.

    Raises:
        OSError: the disk does not take it, or something else is there.
    """
    flush_files([*folder.rglob("*"), folder])
    folder.replace(target)
    flush_files([target.parent])
    return target


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
    with locked(lock, patience_s=0) as held:
        return held is True
