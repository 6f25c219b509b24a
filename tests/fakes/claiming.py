"""Claims on the parts of a study that other workers made, as they lie in its folder."""

import contextlib
import os
import time
from pathlib import Path

from llenergymeasure._shared_files import ON_DISK
from llenergymeasure.orchestration.studies.claiming.files import (
    Manner,
    claim_file,
    ending,
    highest_numbers,
    read_record,
    taking,
)
from llenergymeasure.orchestration.studies.claiming.workers import Worker

ELSEWHERE = Worker(name="far-1", host="far", boot_id="b", pid=1, started_s=0.0)


def of_another(folder: Path, name: str, worker: Worker = ELSEWHERE, age_s: float = 0) -> Path:
    """A taking that somebody else made, such as ``0001.1``, without a sign of life for so long."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(taking(worker))
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def ended_by_another(
    folder: Path, name: str, manner: Manner, attempt: str | None = None, *, worker: Worker = ELSEWHERE, age_s: float = 0
) -> Path:
    """An ending that somebody else made, such as ``0001.2``."""
    path = of_another(folder, name, worker, age_s)
    path.write_bytes(ending(worker, manner, attempt))
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    return path


def taken_over(folder: Path, name: str) -> None:
    """Another worker took over a part, and gave it back: the one that has it stood still meanwhile."""
    number, _ = highest_numbers(path.name for path in folder.iterdir())[name]
    of_another(folder, f"{name}.{number + 1}")
    ended_by_another(folder, f"{name}.{number + 2}", "given_back")


def takings(folder: Path) -> dict[int, Path]:
    """The takings that are the newest files of slots, by the processes that made them."""
    found = {}
    for name, (number, _) in highest_numbers(ON_DISK.names(folder)).items():
        path = Path(claim_file(folder, name, number))
        with contextlib.suppress(OSError):
            record = read_record(ON_DISK, path)
            if name.isdecimal() and record.ended is None and not record.is_torn:
                found[record.by.pid] = path
    return found
