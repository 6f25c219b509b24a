"""Attempts at a run of a study, and which of them counts: one rule for all who read or go on."""

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.results.sums import DONE_FILE

FAILURE_FILE = "failure.json"
# In an attempt that had finished, and is no longer what it was.
DAMAGED_FILE = "DAMAGED"
_ATTEMPT = re.compile(r"attempt-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What some attempts at one run came to.

    ``attempt`` is the one that counts: the newest that finished and is not known to be damaged, or else the newest that
    left word of its failure; None where there is neither. ``n_failed`` attempts failed; where one finished nobody
    counts them.
    """

    attempt: Path | None = None
    finished: bool = False
    n_failed: int = 0


def attempt_number(name: str) -> int | None:
    """The number of an attempt, by the name of its folder; None where that is another folder."""
    found = _ATTEMPT.fullmatch(name)
    return None if found is None else int(found[1])


def attempt_name(number: int) -> str:
    """What the folder of an attempt is called; they are counted from 1."""
    return f"attempt-{number}"


def attempts_in(folder: Path) -> dict[int, Path]:
    """The attempts in the folder of a run, by their numbers; none where there is no folder."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        return {n: Path(entry.path) for entry in entries if (n := attempt_number(entry.name)) is not None}
    return {}


def counted(attempts: Mapping[int, Path]) -> Counted:
    """Which of some attempts counts; no result is read."""
    failed = []
    for number in sorted(attempts, reverse=True):
        attempt = attempts[number]
        if (attempt / DAMAGED_FILE).exists():
            continue
        if (attempt / DONE_FILE).exists():
            return Counted(attempt=attempt, finished=True)
        if (attempt / FAILURE_FILE).exists():
            failed.append(attempt)
    return Counted(attempt=failed[0] if failed else None, n_failed=len(failed))


def to_be_read(attempts: Mapping[int, Path]) -> Path | None:
    """The attempt that a reader looks into: the one that counts, or else the newest, for what is wrong with it."""
    if len(attempts) <= 1:
        return next(iter(attempts.values()), None)
    return counted(attempts).attempt or attempts[max(attempts)]
