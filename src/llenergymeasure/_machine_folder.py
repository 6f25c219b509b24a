"""A folder that all users of a machine share, with what they have to know of each other, and locks in it."""

import contextlib
import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

# The folder is a matter of the machine and of no experiment, so no configuration has it.
FOLDER_VARIABLE = "LLENERGYMEASURE_LOCKS"
_OF_EVERYBODY = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO
_RW_OF_EVERYBODY = 0o666
_SHARED = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())


def lock_folder() -> Path:
    """Where the locks of this machine lie: as the variable says, or in ``/tmp``, which all users and jobs share."""
    given = os.environ.get(FOLDER_VARIABLE)
    # Not the temporary folder of the process: schedulers give each job its own, and sudo drops the variable.
    return Path(given) if given else _SHARED / "llenergymeasure-locks"


def made_for_all(folder: Path) -> Path:
    """A folder that everybody may write to and nobody may empty, made where there is none.

    Raises:
        OSError: it cannot be made, or is a link.
    """
    if folder.is_symlink():
        raise OSError(errno.EINVAL, "it is a link, which anybody may have put there")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True)
        # Whatever the umask is: the next user needs it too.
        folder.chmod(_OF_EVERYBODY | stat.S_ISVTX)
    return folder


@contextlib.contextmanager
def locked_among_users(path: Path) -> Iterator[bool | None]:
    """Hold the lock of a file to the end of the body, whoever of the users has made the file; nobody is waited for.

    Not by ``filelock``: in a folder that nobody may empty it refuses the file of a user who does not own the folder
    (4.2), so that there the second user of a lock would have none.

    Args:
        path: the file, made where there is none. It stays.

    Returns:
        Whether it is held: False where others have it, None where nothing can be locked.
    """
    try:
        descriptor = _opened(path)
    except OSError:
        yield None
        return
    held = _tried(descriptor)
    if not held:
        os.close(descriptor)
        yield held
        return
    try:
        yield held
    finally:
        # Closing it does not free what a process that was forked meanwhile has open too.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)


def _tried(descriptor: int) -> bool | None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return None
    return True


def _opened(path: Path) -> int:
    """A file open for its lock, writable by all if it is made here, whatever the umask is."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    # Of another user's file some kernels refuse O_CREAT (fs.protected_regular), so it is opened without first.
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, flags)
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, _RW_OF_EVERYBODY)
        os.fchmod(descriptor, _RW_OF_EVERYBODY)
        return descriptor
    return os.open(path, flags)
