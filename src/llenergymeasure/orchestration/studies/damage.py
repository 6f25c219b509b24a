"""Finished runs of a study that are no longer what was finished: they are run again."""

from collections.abc import Iterator
from pathlib import Path

from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.persistence import RESULT_FILE
from llenergymeasure.results.study.directory import SlotState, StudyDirectory
from llenergymeasure.results.study.rows import is_whole, row_of_attempt
from llenergymeasure.results.sums import Sums, problem_of


def damaged(directory: StudyDirectory, plan: StudyPlan, *, check_sums: bool) -> Iterator[tuple[Slot, Path, str]]:
    """Finished slots that are damaged, each with the attempt that is, and why.

    Without sums only names and sizes are looked at, and no result is read but where a run left no row. No more than one
    row is held at a time.

    Args:
        directory: the study.
        plan: its plan.
        check_sums: hold every file against its sum in ``DONE``, which reads all of them.
    """
    for slot in plan.slots:
        found = directory.found(plan, slot)
        if found.state is not SlotState.FINISHED or found.attempt is None:
            continue
        problem = _problem(directory, plan, slot, found.attempt, check_sums)
        if problem is not None:
            yield slot, found.attempt, problem


def _problem(directory: StudyDirectory, plan: StudyPlan, slot: Slot, attempt: Path, check_sums: bool) -> str | None:
    try:
        row = row_of_attempt(directory, plan, slot, attempt)
    except ConfigError as error:
        return str(error)
    if not is_whole(attempt, row):
        return "a file of it is gone, or has another size"
    return _problem_of_a_sum(attempt) if check_sums else None


def _problem_of_a_sum(attempt: Path) -> str | None:
    sums = Sums.beside(attempt / RESULT_FILE)
    if sums is None or sums.problem is not None:
        return "DONE cannot be read" if sums is None else sums.problem
    try:
        problems = (problem_of(attempt / name) for name in sums.by_name)
        return next((problem for problem in problems if problem is not None), None)
    except ConfigError as error:
        return str(error)
