"""What GPUs were before somebody set them, on disk: whoever is killed leaves it to the next run, of whatever user.

A note is written before the first change and removed when all is set back. Who has a GPU holds the lock beside its
note, which the kernel frees when that process ends, so that the note of a living one is told from that of a dead one.
Both lie where all users of the machine look: one may set a card, and another be the next to measure it.
"""

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from llenergymeasure._files import open_regular, written_atomically
from llenergymeasure._host import Host, this_host
from llenergymeasure._machine_folder import FOLDER_VARIABLE, lock_folder, locked_among_users, made_for_all
from llenergymeasure.config.device import Knob

_log = logging.getLogger(__name__)

_MOST_BYTES = 100_000
# Locks on devices lie in the same folder, under the names of the devices.
_PREFIX = "knobs-"
_ROOT = 0
_READ_BY_ALL = 0o644


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a GPU was, and what process ``pid`` of ``user`` (by number) has set it to for an experiment.

    ``before`` are the values of the knobs that were changed; None is a clock, of which nobody tells whether it was
    locked. ``asked`` is what they were to be set to, and ``read_back`` what the driver made of that, as far as it was
    set and could be read: some count in whole watts.
    """

    device: str
    host: Host
    pid: int
    experiment_id: str
    before: Mapping[Knob, float | None]
    asked: Mapping[Knob, float]
    read_back: Mapping[Knob, float] = field(default_factory=dict)
    user: int = field(default_factory=os.geteuid)

    @property
    def is_trusted(self) -> bool:
        """Whether a card may be set by it: in a folder of everybody's anybody may have put one, to have root set it."""
        return self.user in (_ROOT, os.geteuid())


_NOTE = TypeAdapter(Note)


class Notes:
    """The notes in a folder, one for each GPU at most."""

    def __init__(self, folder: Path | None = None, host: Host | None = None) -> None:
        """``folder`` is by default that of all users, ``host`` this machine since it was started."""
        self.folder = lock_folder() if folder is None else folder
        self.host = host or this_host()

    def any(self) -> bool:
        """Whether there are notes."""
        try:
            return any(self.folder.glob(f"{_PREFIX}*.json"))
        except OSError:
            return False

    @contextlib.contextmanager
    def held(self, device: str) -> Iterator[bool | None]:
        """Have a GPU's note for oneself: False where a living process has it, None where nothing can be locked."""
        try:
            made_for_all(self.folder)
        except OSError:
            yield None
            return
        with locked_among_users(self.path(device).with_suffix(".lock")) as held:
            yield held

    def of(self, device: str) -> Note | None:
        """The note of a GPU, whose user is who owns the file; None where there is none that can be read."""
        path = self.path(device)
        try:
            with open_regular(path) as file:
                user = os.fstat(file.fileno()).st_uid
                note = _NOTE.validate_json(file.read(_MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            why = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
            _log.warning("%s, which says what a GPU was set to before, cannot be read: %s", path, why)
            return None
        return replace(note, user=user) if note.device == device else None

    def write(self, note: Note) -> None:
        """Put a note on disk, in place of the one that is there.

        Raises:
            OSError: it cannot be written.
        """
        made_for_all(self.folder)
        with written_atomically(self.path(note.device)) as aside:
            aside.write_text(json.dumps(asdict(note), indent=1) + "\n", encoding="utf-8")
            # Whatever the umask is: the next user has to be told.
            aside.chmod(_READ_BY_ALL)

    def remove(self, device: str, *, level: int = logging.WARNING) -> None:
        """Take the note of a GPU away; one that cannot be is told at a level: of another user's only root may."""
        try:
            self.path(device).unlink(missing_ok=True)
        except OSError as error:
            _log.log(level, "%s cannot be removed: %s", self.path(device), error.strerror or error)

    def path(self, device: str) -> Path:
        """The file of a GPU's note."""
        # A UUID as its driver gives it; whatever else stands in one does not name a file.
        return self.folder / f"{_PREFIX}{''.join(c if c.isalnum() or c in '-_' else '_' for c in device)}.json"


def cannot_note(notes: Notes) -> str:
    """That nothing is changed where a run that is killed would leave it changed."""
    return f"device: what the GPU was before cannot be noted, so nothing is set: {cannot_lock(notes)}"


def cannot_lock(notes: Notes) -> str:
    """That notes can be of no use, and the way out."""
    return (
        f"{notes.folder} takes no files or no locks; see that this user can write there, or name a folder that all "
        f"users may write to in {FOLDER_VARIABLE}"
    )
