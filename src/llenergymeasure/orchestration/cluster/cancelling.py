"""Ending the jobs of a study; what they have finished stays."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.orchestration.cluster.kinds import KINDS
from llenergymeasure.orchestration.cluster.submissions import (
    JOBS_DIR,
    Submission,
    folder_of,
    mark_cancelled,
    submissions_of,
)
from llenergymeasure.orchestration.studies.standing import StudyStanding, standing_of_study

# A worker ends its experiment, writes what was measured, and waits for others at the summary.
PATIENCE_S = 120.0
_LOOK_S = 1.0


@dataclass(frozen=True)
class Cancelled:
    """What became of it: the submissions that were ended, those of which jobs live still, and where the study stands.

    ``left`` is empty where all have ended.
    """

    ended: tuple[Submission, ...]
    left: tuple[Submission, ...]
    standing: StudyStanding


def cancel_study(
    path: Path,
    *,
    patience_s: float = PATIENCE_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Cancelled:
    """End all jobs of a study, and wait until they have put away what they were at.

    Raises:
        ConfigError: there is no study.
        LLEMError: the scheduler does not answer.
        OSError: nothing can be written there.
    """
    standing_of_study(path)  # also says that there is none
    alive = [each for each in submissions_of(path) if KINDS[each.executor].alive(each)]
    for each in alive:
        # Before they are told: none is to be queued again.
        mark_cancelled(path, each.number)
        KINDS[each.executor].cancel(each, folder_of(path.absolute(), each.number) / JOBS_DIR)
    end_s, left = clock() + patience_s, list(alive)
    while left and clock() < end_s:
        sleep(_LOOK_S)
        left = [each for each in left if KINDS[each.executor].alive(each)]
    return Cancelled(tuple(each for each in alive if each not in left), tuple(left), standing_of_study(path))
