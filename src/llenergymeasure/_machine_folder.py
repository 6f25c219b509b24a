"""A folder that all users of a machine share, with what they have to know of each other."""

import contextlib
import errno
import os
import stat
import tempfile
from pathlib import Path

# The folder is a matter of the machine and of no experiment, so no configuration has it.
FOLDER_VARIABLE = "LLENERGYMEASURE_LOCKS"
_OF_EVERYBODY = stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO


def lock_folder() -> Path:
    """Where the locks of this machine lie: as the variable says, or in the temporary folder that all users share."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else Path(tempfile.gettempdir()) / "llenergymeasure-locks"


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
