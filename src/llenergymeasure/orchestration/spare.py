"""Where what was measured goes when its own place takes nothing: a full disk, rights that were lost."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from llenergymeasure._files import is_private_folder

_log = logging.getLogger(__name__)
_Written = TypeVar("_Written")
# The second is often in memory, where no full disk matters.
_TEMPORARY = ("/tmp", "/dev/shm", "/var/tmp")


def spare_folders(name: str) -> Iterator[Path]:
    """Where a folder of this name, which nobody else can guess, may be made: in ``TMPDIR``, then beside it.

    Whoever looks for what another process left looks through the same places.
    """
    for place in dict.fromkeys((*filter(None, [os.environ.get("TMPDIR")]), *_TEMPORARY)):
        if Path(place).is_dir():
            yield Path(place) / f"llenergymeasure-{name}"


def kept_elsewhere(name: str, write: Callable[[Path], _Written]) -> tuple[Path, _Written] | None:
    """Have something written into the first spare folder that takes it; the folder, and what writing gave.

    Args:
        name: of the folder.
        write: writes into the folder it is given, and raises OSError where that fails.
    """
    for folder in spare_folders(name):
        try:
            # Never one that somebody has put there, nor where a link of theirs leads.
            folder.mkdir(mode=0o700)
            return folder, write(folder)
        except OSError as error:
            _log.debug("%s takes nothing: %s", folder, error)
            if is_private_folder(folder):
                shutil.rmtree(folder, ignore_errors=True)
    return None


def left_elsewhere(name: str) -> list[Path]:
    """The spare folders of this name that are there and were made by this user."""
    return [folder for folder in spare_folders(name) if is_private_folder(folder)]
