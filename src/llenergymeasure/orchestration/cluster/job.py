"""What runs in a job: a worker on the study, as a process of its own, and what its signals are passed on as.

It is what submitit pickles, so it holds plain values and imports nothing heavy.
"""

import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from llenergymeasure._lifeline import tied
from llenergymeasure.config.cluster import Executor
from llenergymeasure.exceptions import LLEMError
from llenergymeasure.orchestration.cluster.again import Ended, passed_on_s, verdict
from llenergymeasure.orchestration.cluster.drain import WARNINGS, warnings_blocked
from llenergymeasure.orchestration.cluster.kinds import squeue
from llenergymeasure.orchestration.cluster.submissions import is_cancelled
from llenergymeasure.orchestration.processes.process_group import leading_a_group, safe_environment
from llenergymeasure.orchestration.status import status_handler
from llenergymeasure.orchestration.studies.standing import StudyStanding, standing_of_study

if TYPE_CHECKING:
    from submitit.core.utils import DelayedSubmission

_log = logging.getLogger(__name__)

_LOOK_S = 1.0
# Of the time between the warning and the limit this is kept for putting away what has not ended: a third, at most.
_PUT_AWAY_S = 60.0
# As cli/studies/worker.py ends where time was over.
OUT_OF_TIME = 75


@dataclass
class _Heard:
    """The signals that came; ``others`` are the handlers that were there before."""

    warned_s: float | None = None
    is_to_end: bool = False
    others: dict[int, Any] = field(default_factory=dict)

    def note(self, number: int, _: FrameType | None) -> None:
        """Note one. What is to be done is done where nothing is in the middle of anything."""
        if number == signal.SIGTERM:
            self.is_to_end = True
        elif self.warned_s is None:
            self.warned_s = time.monotonic()


@dataclass(frozen=True)
class WorkerJob:
    """A job; called where it runs.

    Args:
        study: the folder of the study, from the root on.
        submission_index: the number of the submission.
        executor: what runs the job.
        limit_s: how long it may take, where the scheduler does not say.
        warn_s: how long before that it is warned.
        shows: variables that whoever submitted had, and that are put back: submitit's own way of running jobs on this
            machine hides all GPUs where none are asked for.
    """

    study: str
    submission_index: int
    executor: Executor
    limit_s: float | None
    warn_s: float
    shows: Mapping[str, str] = field(default_factory=dict)

    def __call__(self) -> int:
        """Work on the study, and have what is left run again where that gets on; the worker's exit code."""
        _log_to_stderr()
        before = standing_of_study(Path(self.study))
        left_s = time_left_s(self.limit_s)
        with _listening(self.executor != "debug") as heard:
            end_s = None if left_s is None else time.monotonic() + left_s
            code = self._worked(heard, end_s, left_s)
            if self._again(code, heard, end_s, before):
                requeue = heard.others.get(_warning_of_submitit())
                if callable(requeue):
                    # It calls ``checkpoint``, has the job run again, and ends this process.
                    requeue(_warning_of_submitit(), None)
        if code and self.executor != "debug":
            # What has failed is to be seen as that by the scheduler.
            sys.exit(code)
        return code

    def checkpoint(self) -> "DelayedSubmission":
        """What is run when the job runs again, for submitit: the same."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)

    def _worked(self, heard: _Heard, end_s: float | None, left_s: float | None) -> int:
        """Run a worker to its end; its exit code."""
        limit = [] if left_s is None else ["--time-limit", f"{max(1, math.floor(left_s - self._put_away_s))}s"]
        command = [sys.executable, "-P", *tied("llenergymeasure", "worker", self.study, *limit)]
        environ = safe_environment() | dict(self.shows)
        # What measures would be killed by the warning, which comes to every process of a job.
        with warnings_blocked():
            starting = leading_a_group(command, stdout=1, env=environ)
            process = starting.__enter__()
        try:
            self._wait(process, heard, end_s)
        finally:
            # Also where this is interrupted: it is let end what it is at.
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PUT_AWAY_S)
            starting.__exit__(None, None, None)
        code = process.returncode
        return code if code >= 0 else 128 - code

    @property
    def _put_away_s(self) -> float:
        return min(_PUT_AWAY_S, self.warn_s / 3)

    def _wait(self, process: "subprocess.Popen[bytes]", heard: _Heard, end_s: float | None) -> None:
        told = ended = False
        while process.poll() is None:
            time.sleep(_LOOK_S)
            warned_s = heard.warned_s
            if warned_s is not None and not told and time.monotonic() >= passed_on_s(warned_s, end_s, self.warn_s):
                told = True
                _log.info("warned: the worker takes no more runs, and ends the one that it is in if it can")
                process.send_signal(signal.SIGUSR2)
            is_over = told and end_s is not None and time.monotonic() > end_s - self._put_away_s
            if (heard.is_to_end or is_over) and not ended:
                ended = True
                _log.info("the worker is to end now, and gives back what it is in")
                process.terminate()

    def _again(self, code: int, heard: _Heard, end_s: float | None, before: StudyStanding) -> bool:
        """Whether the job is to run again; why, or why not, is said."""
        if self.executor == "debug" or is_cancelled(Path(self.study), self.submission_index):
            return False
        warned_left_s = None
        if heard.warned_s is not None:
            warned_left_s = math.inf if end_s is None else end_s - heard.warned_s
        ended = Ended(
            is_out_of_time=code == OUT_OF_TIME, warned_left_s=warned_left_s, warn_s=self.warn_s,
            was_told_to_end=heard.is_to_end, limit_s=self.limit_s,
            is_wanted=heard.is_to_end and self.executor == "slurm" and _is_running(),
        )  # fmt: skip
        found = verdict(ended, before, standing_of_study(Path(self.study)))
        if found.again:
            _log.info("%s", found.why)
        elif found.why:
            _log.error("%s; with a longer one: llem submit --resume %s --time-limit ...", found.why, self.study)
        return found.again


def time_left_s(limit_s: float | None, environ: Mapping[str, str] = os.environ) -> float | None:
    """How long this job has from now on: as SLURM says, else ``limit_s``, the time that a job has in all."""
    with suppress(KeyError, ValueError):
        return float(environ["SLURM_JOB_END_TIME"]) - time.time()
    job = environ.get("SLURM_JOB_ID")
    if job is not None:
        # Before release 23 the variable is not there.
        with suppress(LLEMError, IndexError):
            return seconds_left(squeue(["--jobs", job, "--format", "%L"])[0])
    return limit_s


def seconds_left(text: str) -> float | None:
    """The time left of a job as squeue writes it: ``[days-][hours:]minutes:seconds``; None where it has no end."""
    days, _, clock = text.strip().rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        seconds = sum(part * 60**place for place, part in enumerate(reversed(parts)))
        return float(seconds + 86400 * int(days or 0))
    except ValueError:
        return None


def _is_running() -> bool:
    """Whether this job runs as far as SLURM knows: not one that was cancelled, or has come to its end."""
    with suppress(LLEMError):
        return squeue(["--jobs", os.environ.get("SLURM_JOB_ID", ""), "--format", "%T"]) == ["RUNNING"]
    return False


def _warning_of_submitit() -> int:
    """The signal by which submitit has jobs run again."""
    from submitit import JobEnvironment

    return int(getattr(signal, f"SIG{JobEnvironment.USR_SIG}", signal.SIGUSR2))


@contextmanager
def _listening(listens: bool) -> Iterator[_Heard]:
    """While the body runs signals are only noted; those who handled them before stand in ``others``."""
    heard = _Heard()
    if not listens:
        yield heard
        return
    for listened in (*WARNINGS, signal.SIGTERM):
        heard.others[listened] = signal.signal(listened, heard.note)
    try:
        yield heard
    finally:
        for number, handler in heard.others.items():
            signal.signal(number, handler)


def _log_to_stderr() -> None:
    """Tell in the log of the job where it stands; where somebody tells already, as in one process with all, once."""
    logger = logging.getLogger("llenergymeasure")
    if not logger.handlers:
        logger.addHandler(status_handler(logging.INFO))
        logger.setLevel(logging.INFO)
