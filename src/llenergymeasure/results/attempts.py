"""Attempts at a run of a study, and which of them counts: one rule for all who read or go on."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure._shared_files import ON_DISK, SharedFiles
from llenergymeasure.results.sums import DONE_FILE

FAILURE_FILE = "failure.json"
# In an attempt that had finished, and is no longer what it was.
DAMAGED_FILE = "DAMAGED"
_ATTEMPT = re.compile(r"attempt-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What some attempts at one run came to.

    ``attempt`` is the one that counts: the newest that finished and is not known to be damaged, or else the newest that
    left word of its failure; None where there is neither. ``n_failed`` attempts failed, and ``silent`` ones have left
    no word of any kind; where one finished nobody counts them.
    """

    attempt: Path | None = None
    finished: bool = False
    n_failed: int = 0
    silent: frozenset[int] = frozenset()


def attempt_number(name: str) -> int | None:
    """The number of an attempt, by the name of its folder; None where that is another folder."""
    found = _ATTEMPT.fullmatch(name)
    return None if found is None else int(found[1])


def attempt_name(number: int) -> str:
    """What the folder of an attempt is called; they are counted from 1."""
    return f"attempt-{number}"


def attempts_in(folder: Path, files: SharedFiles = ON_DISK) -> dict[int, Path]:
    """The attempts in the folder of a run, by their numbers; none where there is no folder.

    Raises:
        OSError: it cannot be looked into.
    """
    return {n: folder / name for name in files.names(folder) if (n := attempt_number(name)) is not None}


def counted(attempts: Mapping[int, Path], files: SharedFiles = ON_DISK) -> Counted:
    """Which of some attempts counts; no result is read.

    Raises:
        OSError: one cannot be looked into.
    """
    failed, silent = [], []
    for number in sorted(attempts, reverse=True):
        attempt = attempts[number]
        if files.exists(attempt / DAMAGED_FILE):
            continue
        if files.exists(attempt / DONE_FILE):
            return Counted(attempt=attempt, finished=True)
        if files.exists(attempt / FAILURE_FILE):
            failed.append(attempt)
        else:
            silent.append(number)
    return Counted(attempt=failed[0] if failed else None, n_failed=len(failed), silent=frozenset(silent))


def to_be_read(attempts: Mapping[int, Path]) -> Path | None:
    """The attempt that a reader looks into: the one that counts, or else the newest, for what is wrong with it."""
    if len(attempts) <= 1:
        return next(iter(attempts.values()), None)
    return counted(attempts).attempt or attempts[max(attempts)]
