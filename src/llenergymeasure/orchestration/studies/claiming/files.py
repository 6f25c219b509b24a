"""What lies in ``claims/``: for each part of a study the numbered files of who took it, and how that ended.

``{name}.{n}`` is either a taking or an ending. Each is created by one alone, and none is ever removed or written anew,
so whoever sees an old state of the folder sees a beginning of the sequence: the next number is there already, and
creating it fails.
"""

import functools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from llenergymeasure._shared_files import SharedFiles
from llenergymeasure.orchestration.studies.claiming.workers import UNKNOWN, Worker

# ``finished`` and ``failed`` promise that an attempt says so in a moment, and ``given_back`` that nobody does.
Manner = Literal["finished", "failed", "given_back"]
_MANNERS = ("finished", "failed", "given_back")
_MOST_BYTES = 2**16


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One of these files.

    ``by`` made it, ``ended`` is None in a taking, and ``attempt`` is the one that an ending is about. ``changed_s`` is
    when it was last kept fresh, by the file system's clock. Of one that ``is_torn`` its maker was not through, or
    nothing has been seen of its content yet; it is as good as a taking, by nobody knows whom.
    """

    by: Worker
    changed_s: float
    ended: Manner | None = None
    attempt: str | None = None
    is_torn: bool = False

    @property
    def promises(self) -> str | None:
        """The attempt that will say what came of it."""
        return None if self.ended in (None, "given_back") else self.attempt


def claim_file(folder: Path, name: str, number: int) -> str:
    """Where a file lies; a text, since thousands of them are asked for and few of them again."""
    return f"{folder}/{name}.{number}"


@functools.lru_cache(maxsize=1)
def taking(worker: Worker) -> bytes:
    """What a taking has in it."""
    return json.dumps(asdict(worker)).encode()


def ending(worker: Worker, manner: Manner, attempt: str | None) -> bytes:
    """What an ending has in it."""
    about = b"null" if attempt is None else json.dumps(attempt).encode()
    return b'{"ended": "%b", "attempt": %b, "by": %b}' % (manner.encode(), about, taking(worker))


def read_record(files: SharedFiles, path: str | Path) -> Record:
    """A file as it is seen now.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    found = files.read(path, _MOST_BYTES)
    try:
        written: Any = json.loads(found.content)
        manner = written.get("ended")
        if manner is None:
            return Record(by=Worker.of(written), changed_s=found.changed_s)
        by, attempt = Worker.of(written["by"]), written["attempt"]
    except (ValueError, TypeError, AttributeError, KeyError):
        return Record(by=UNKNOWN, changed_s=found.changed_s, is_torn=True)
    # Of a manner that a later version has nothing is known but that it ended.
    return Record(
        by=by,
        changed_s=found.changed_s,
        ended=manner if manner in _MANNERS else "given_back",
        attempt=attempt if isinstance(attempt, str) else None,
    )


def highest_numbers(names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Of each part, from the names in the folder: the highest number, and how many files there are."""
    found: dict[str, tuple[int, int]] = {}
    for each in names:
        name, _, number = each.rpartition(".")
        if name and number.isascii() and number.isdigit():
            highest, n = found.get(name, (0, 0))
            found[name] = (max(highest, int(number)), n + 1)
    return found


@dataclass(slots=True)
class Trail:
    """The files of one part, as far as they have been seen.

    ``number`` is the highest, 0 where there is none. ``promised`` are attempts that were said to have ended, each with
    the record that says so. ``is_whole`` is False where some file before the newest cannot be seen, or is torn.
    """

    number: int = 0
    promised: dict[str, Record] = field(default_factory=dict)
    is_whole: bool = True
    _read_to: int = 0

    def read_on(self, files: SharedFiles, folder: Path, name: str) -> Record | None:
        """See what is there by now, and what the newest is; None where there is none, or none that can be seen yet.

        Raises:
            OSError: one cannot be read.
        """
        newest: Record | None = None
        # The last one is looked at once more: it may have been kept fresh.
        at, self.is_whole = max(self._read_to, 1), True
        while True:
            try:
                record = read_record(files, claim_file(folder, name, at))
            except FileNotFoundError:
                if at > self.number:
                    return newest
                # An older version removed what it was through with; or a listing has what cannot be opened yet.
                self.is_whole, newest = False, None
            else:
                self.is_whole = self.is_whole and (newest is None or not newest.is_torn)
                newest = record
                self._note(at, record)
            at += 1

    def _note(self, number: int, record: Record) -> None:
        self.number = max(number, self.number)
        if not record.is_torn and number == self._read_to + 1:
            self._read_to = number
        if record.promises is not None:
            self.promised[record.promises] = record
        elif record.ended is not None and record.attempt is not None:
            self.promised.pop(record.attempt, None)
