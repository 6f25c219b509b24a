"""What GPUs were before somebody set them, on disk: whoever is killed leaves it to the next run.

A note is written before the first change and removed when all is set back. Who has a GPU holds the lock beside its
note, which the kernel frees when that process ends, so that the note of a living one is told from that of a dead one.
"""

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs
from pydantic import TypeAdapter, ValidationError

from llenergymeasure._files import read_regular, write_atomically
from llenergymeasure._locks import locked
from llenergymeasure.config.device import Knob
from llenergymeasure.core.baseline import Host, this_host

_log = logging.getLogger(__name__)

_MOST_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Note:
    """What a GPU was, and what process ``pid`` has set it to for an experiment.

    ``before`` are the values of the knobs that were changed; None is a clock, of which nobody tells whether it was
    locked. ``asked`` is what they were set to.
    """

    device: str
    host: Host
    pid: int
    experiment_id: str
    before: Mapping[Knob, float | None]
    asked: Mapping[Knob, float]


_NOTE = TypeAdapter(Note)


def notes_dir() -> Path:
    """The folder of the notes of this user."""
    return platformdirs.user_state_path("llenergymeasure") / "knobs"


class Notes:
    """The notes in a folder, one for each GPU at most."""

    def __init__(self, folder: Path | None = None, host: Host | None = None) -> None:
        """``folder`` is by default this user's, ``host`` this machine since it was started."""
        self.folder = notes_dir() if folder is None else folder
        self.host = host or this_host()

    def any(self) -> bool:
        """Whether there are notes."""
        try:
            return any(self.folder.glob("*.json"))
        except OSError:
            return False

    @contextlib.contextmanager
    def held(self, device: str) -> Iterator[bool | None]:
        """Have a GPU's note for oneself: False where a living process has it, None where nothing can be locked."""
        with locked(self._path(device).with_suffix(".lock"), 0.0) as held:
            yield held

    def of(self, device: str) -> Note | None:
        """The note of a GPU; None where there is none that can be read."""
        path = self._path(device)
        try:
            note = _NOTE.validate_json(read_regular(path, _MOST_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            why = error.errors(include_url=False)[0]["msg"] if isinstance(error, ValidationError) else str(error)
            _log.warning("%s, which says what a GPU was set to before, cannot be read: %s", path, why)
            return None
        return note if note.device == device else None

    def write(self, note: Note) -> None:
        """Put a note on disk.

        Raises:
            OSError: it cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path(note.device), json.dumps(asdict(note), indent=1) + "\n")

    def remove(self, device: str) -> None:
        """Take the note of a GPU away; one that cannot be is told."""
        try:
            self._path(device).unlink(missing_ok=True)
        except OSError as error:
            _log.warning("%s cannot be removed: %s", self._path(device), error.strerror or error)

    def _path(self, device: str) -> Path:
        # A UUID as its driver gives it; whatever else stands in one does not name a file.
        return self.folder / f"{''.join(c if c.isalnum() or c in '-_' else '_' for c in device)}.json"
