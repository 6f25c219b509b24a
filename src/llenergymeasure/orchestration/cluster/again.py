"""Whether a job that has ended is to be queued again, by what is left of its study and how it came to its end."""

from dataclasses import dataclass

from llenergymeasure.domain.in_figures import duration
from llenergymeasure.orchestration.studies.standing import StudyStanding

# Somebody's is made room for, where the warning comes so many times earlier than it was asked for, and a minute: by so
# much SLURM may be early.
_EARLY, _EARLY_S = 2.0, 60.0


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job came to its end.

    ``is_out_of_time`` is what its worker said. ``warned_left_s`` is how much time it had left when the scheduler warned
    it, None where it did not, and infinity where that is not known; ``warn_s`` is how much it should have been.
    ``was_told_to_end`` is by SIGTERM, and ``is_wanted`` whether the scheduler counts it as running all the same: so a
    job stands that has to make room, and not one that somebody has cancelled.
    """

    is_out_of_time: bool = False
    warned_left_s: float | None = None
    warn_s: float = 0.0
    was_told_to_end: bool = False
    is_wanted: bool = False
    limit_s: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether it runs again, and what is to be said; empty for nothing."""

    again: bool
    why: str = ""


def verdict(ended: Ended, before: StudyStanding, now: StudyStanding) -> Verdict:
    """Whether a job runs again: only where something is left, and where that gets the study on.

    Args:
        ended: how it came to its end.
        before: where the study stood when it began.
        now: where it stands.
    """
    n_left = now.n_to_do + len(now.interrupted)
    if not n_left:
        return Verdict(False)
    left = f"{n_left} {'run is' if n_left == 1 else 'runs are'} left"
    warned_s = ended.warned_left_s
    if warned_s is not None and warned_s > _EARLY * ended.warn_s + _EARLY_S:
        return Verdict(True, f"{left}, and the job has to make room for another: it is queued again")
    if warned_s is not None or ended.is_out_of_time:
        if n_through(now) > n_through(before):
            return Verdict(True, f"{left} when its time is over: the job is queued again")
        limit = "" if ended.limit_s is None else f" of {duration(ended.limit_s)}"
        return Verdict(False, f"{left}, and none ended within the time limit{limit}: the job is not queued again")
    if ended.was_told_to_end and ended.is_wanted:
        return Verdict(True, f"{left}, and the scheduler has ended the job: it is queued again")
    return Verdict(False)


def passed_on_s(warned_s: float, end_s: float | None, warn_s: float) -> float:
    """When a warning is handed on to the worker, in the seconds of the clock of both times.

    SLURM may send that of the time limit up to a minute before it was asked for, in which runs can still end. One that
    is earlier still is of another's job, which waits.

    Args:
        warned_s: when it came.
        end_s: when time is over; None where that is not known.
        warn_s: how long before that it was asked for.
    """
    if end_s is None or end_s - warned_s > _EARLY * warn_s + _EARLY_S:
        return warned_s
    return max(warned_s, end_s - warn_s)


def n_through(standing: StudyStanding) -> int:
    """How many runs are not to be made any more."""
    return standing.n_finished + len(standing.failed)
