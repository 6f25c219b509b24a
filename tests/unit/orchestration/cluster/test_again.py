"""When a job is queued again."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from llenergymeasure.orchestration.cluster.again import Ended, Verdict, passed_on_s, verdict
from llenergymeasure.orchestration.cluster.job import seconds_left, time_left_s
from llenergymeasure.orchestration.studies.standing import StudyStanding
from tests.fakes.studies import of_batches, plan_of

BEGAN = StudyStanding(
    path=Path("study"), plan=plan_of(of_batches(1, 2), 4), n_finished=1, failed=(), running=(), interrupted=(),
    n_to_do=7, n_not_needed=0, run_s=None,
)  # fmt: skip
FARTHER = replace(BEGAN, n_finished=3, n_to_do=5)
THROUGH = replace(BEGAN, n_finished=8, n_to_do=0)
NOT_AGAIN = "the job is not queued again"
AT_THE_LIMIT = Ended(warned_left_s=175.0, warn_s=180.0, limit_s=3600.0)


@pytest.mark.parametrize(
    ("ended", "now", "found"),
    [
        (AT_THE_LIMIT, FARTHER, Verdict(True, "5 runs are left when its time is over: the job is queued again")),
        (Ended(is_out_of_time=True), replace(FARTHER, n_to_do=1),
         Verdict(True, "1 run is left when its time is over: the job is queued again")),
        # Nothing got on in a whole job: the next would not either.
        (AT_THE_LIMIT, BEGAN,
         Verdict(False, f"7 runs are left, and none ended within the time limit of 60 min: {NOT_AGAIN}")),
        (replace(AT_THE_LIMIT, limit_s=None), BEGAN,
         Verdict(False, f"7 runs are left, and none ended within the time limit: {NOT_AGAIN}")),
        # SLURM may be a minute early; more than that is somebody else's turn, and no fault of what was run.
        (replace(AT_THE_LIMIT, warned_left_s=420.0), BEGAN,
         Verdict(False, f"7 runs are left, and none ended within the time limit of 60 min: {NOT_AGAIN}")),
        (replace(AT_THE_LIMIT, warned_left_s=421.0), BEGAN,
         Verdict(True, "7 runs are left, and the job has to make room for another: it is queued again")),
        (replace(AT_THE_LIMIT, warned_left_s=math.inf), BEGAN,
         Verdict(True, "7 runs are left, and the job has to make room for another: it is queued again")),
        (Ended(was_told_to_end=True, is_wanted=True), FARTHER,
         Verdict(True, "5 runs are left, and the scheduler has ended the job: it is queued again")),
        # Cancelled, done, or ended by itself because too much failed.
        (Ended(was_told_to_end=True), FARTHER, Verdict(False)),
        (AT_THE_LIMIT, THROUGH, Verdict(False)),
        (Ended(), FARTHER, Verdict(False)),
    ],
)  # fmt: skip
def test_only_what_gets_the_study_on_runs_again(ended: Ended, now: StudyStanding, found: Verdict) -> None:
    assert verdict(ended, BEGAN, now) == found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:32", 32), ("10:00", 600), ("1:02:03", 3723), ("2-01:00:00", 176400), ("UNLIMITED", None), ("INVALID", None)],
)
def test_the_time_left_as_squeue_writes_it(text: str, seconds: float | None) -> None:
    assert seconds_left(text) == seconds


def test_outside_of_slurm_a_job_has_what_was_asked_for() -> None:
    assert time_left_s(90.0, {}) == 90.0
    assert time_left_s(None, {}) is None


@pytest.mark.parametrize(
    ("warned_s", "end_s", "passed_s"),
    [
        # Asked for 30 s before the end at 100 s: when it should come, and half a minute earlier, as SLURM may be.
        (70.0, 100.0, 70.0),
        (42.0, 100.0, 70.0),
        # Late, as of a process that stood still.
        (95.0, 100.0, 95.0),
        # More than two of them and a minute before the end: somebody else's job waits.
        (42.0, 1000.0, 42.0),
        (42.0, None, 42.0),
    ],
)
def test_a_warning_that_slurm_sends_early_is_handed_on_when_it_was_asked_for(
    warned_s: float, end_s: float | None, passed_s: float
) -> None:
    assert passed_on_s(warned_s, end_s, 30.0) == passed_s
