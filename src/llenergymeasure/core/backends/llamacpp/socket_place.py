"""Where the socket of llama.cpp's server lies: a folder of this user's alone, that goes even if its process was killed.

The folder has the process in its name, so that whoever loads next can tell what was left behind. A socket without a
file, in Linux's abstract names, could be opened by every user of the machine.
"""

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

# sun_path of a Unix socket has 108 bytes on Linux and 104 on macOS, the last of them zero.
_MOST_PATH_BYTES = 103
_NAME = "llama.sock"
_SHORT = Path("/tmp")
_FOLDER = re.compile(r"llem-(\d+)-\w+")


@contextlib.contextmanager
def place_of_socket() -> Iterator[Path]:
    """A path that a socket can have, in a folder that only this user can enter; what was left behind is removed."""
    root = Path(tempfile.gettempdir())
    for each in {root, _SHORT}:
        remove_left_behind(each)
    folder = _made_in(root)
    if len(str(folder / _NAME).encode()) > _MOST_PATH_BYTES:
        folder.rmdir()
        folder = _made_in(_SHORT)
    try:
        yield folder / _NAME
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left_behind(root: Path) -> None:
    """Remove folders of this user's processes that were killed before they could do it themselves.

    One whose socket is answered is in use by a process that cannot be seen from here, as in another container.
    """
    with contextlib.suppress(OSError):
        for folder in root.glob("llem-*"):
            found = _FOLDER.fullmatch(folder.name)
            if found is not None and not psutil.pid_exists(int(found[1])) and _is_ours(folder) and not _answers(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _made_in(root: Path) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"llem-{os.getpid()}-", dir=root))


def _is_ours(folder: Path) -> bool:
    try:
        return not folder.is_symlink() and folder.is_dir() and folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def _answers(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(folder / _NAME))
        except OSError:
            return False
    return True
