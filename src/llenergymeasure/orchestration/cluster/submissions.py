"""Word of what was submitted for a study: a folder for each submission, in the study's own."""

import contextlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from llenergymeasure._files import read_regular, write_atomically
from llenergymeasure.config.cluster import ClusterConfig, Executor
from llenergymeasure.results.study.directory import CLUSTER_DIR

# What lies in the folder of a submission; jobs are what submitit leaves: pickles, scripts, and logs.
SUBMISSION_FILE, JOBS_DIR, CANCELLED_FILE = "submission.json", "jobs", "CANCELLED"
_MOST_BYTES = 2**22


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Jobs that were submitted together.

    ``options`` are those of the cluster section, ``host`` and ``user`` are who submitted, and ``time`` when, in UTC.
    ``started_s`` has when the processes of a submission to this machine began, by the numbers of its jobs.
    """

    number: int
    executor: Executor
    job_ids: tuple[str, ...]
    time: str
    host: str
    user: str
    options: Mapping[str, Any]
    started_s: Mapping[str, float] = field(default_factory=dict)

    @property
    def config(self) -> ClusterConfig:
        """The options, to submit with them again."""
        return ClusterConfig.model_validate(dict(self.options))

    @property
    def in_words(self) -> str:
        """Who submitted which jobs."""
        jobs = ", ".join(dict.fromkeys(each.partition("_")[0] for each in self.job_ids))
        n = len(self.job_ids)
        what = "job" if n == 1 else f"{n} jobs,"
        return f"submission {self.number} of {self.user} on {self.host} ({self.executor}; {what} {jobs})"


_SUBMISSION = TypeAdapter(Submission)


def folder_of(study: Path, number: int) -> Path:
    """Where a submission lies."""
    return study / CLUSTER_DIR / f"submission-{number}"


def new_submission(study: Path) -> int:
    """The number of a new one, whose folder is made and nobody else's.

    Raises:
        OSError: it cannot be made.
    """
    (study / CLUSTER_DIR).mkdir(exist_ok=True)
    for number in itertools.count(1):
        with contextlib.suppress(FileExistsError):
            folder_of(study, number).mkdir()
            return number
    raise AssertionError("unreachable")


def keep_submission(study: Path, submission: Submission) -> None:
    """Leave word of a submission, as it was asked for: what is given to a scheduler again has its paths in full.

    Raises:
        OSError: it cannot be written.
    """
    file = folder_of(study, submission.number) / SUBMISSION_FILE
    write_atomically(file, json.dumps(asdict(submission), indent=2) + "\n")


def submissions_of(study: Path) -> list[Submission]:
    """Those that there is word of, the oldest first; what cannot be read is left out."""
    found = []
    for file in (study / CLUSTER_DIR).glob(f"submission-*/{SUBMISSION_FILE}"):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found.append(_SUBMISSION.validate_json(read_regular(file, _MOST_BYTES)))
    return sorted(found, key=lambda each: each.number)


def mark_cancelled(study: Path, number: int) -> None:
    """Leave word that its jobs are not to go on.

    Raises:
        OSError: it cannot be written.
    """
    write_atomically(folder_of(study, number) / CANCELLED_FILE, "")


def is_cancelled(study: Path, number: int) -> bool:
    """Whether its jobs are not to go on."""
    return (folder_of(study, number) / CANCELLED_FILE).exists()
