"""A worker that is killed, or whose folder takes nothing, at every one of its steps: others finish what it began."""

import errno
import os
import shutil
import time
from pathlib import Path

import pytest

from llenergymeasure.core.settling import Settled
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.studies.claiming.holders import Holders
from llenergymeasure.orchestration.studies.execute import work_on
from llenergymeasure.orchestration.studies.planning import plan_of
from llenergymeasure.orchestration.studies.slot_attempt import Work
from llenergymeasure.results.study.directory import SlotState, StudyDirectory
from tests.fakes.each_step import Killed, Steps, counted
from tests.unit.orchestration.conftest import Bench
from tests.unit.orchestration.studies.test_worker import of


def planned(folder: Path) -> Path:
    """A study of a run that finishes and one that fails, of which nothing has been run."""
    given, bench = of(folder, "ab"), Bench()
    plan = plan_of(given, [Settled(each, {}) for each in given.experiments], bench.clock.now())
    folder.mkdir()
    StudyDirectory(folder).write(plan, given)
    return folder


def worked_on(path: Path, n_sleeps: list[float] | None = None) -> Work:
    """A worker that sees claims become stale while it waits."""
    bench = Bench()
    bench.errors["b"] = BackendError("no such weights")

    def sleep(seconds: float) -> None:
        if n_sleeps is not None:
            n_sleeps.append(seconds)
        for claim in (path / "claims").iterdir():
            os.utime(claim, (time.time() - 61, time.time() - 61))

    return work_on(path, bench.options(sleep=sleep))


def check(path: Path) -> None:
    """One run has finished once and one has failed once, and nobody is at it any more."""
    directory = StudyDirectory(path)
    plan = directory.plan()
    a, b = (directory.found(plan, slot) for slot in plan.slots)
    assert a.state is SlotState.FINISHED
    assert (b.state, b.n_failed) == (SlotState.FAILED, 1)
    done = [each.parent for each in path.glob("runs/*/*/DONE")]
    assert [attempt for attempt in done if not (attempt / "DAMAGED").exists()] == [a.attempt]
    # Who was killed while it was the one that sums up is of this process, and so not known to be gone.
    assert Holders(path / "claims").all().keys() <= {"summary"}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """All that a worker changes in the folder of such a study."""
    path = planned(tmp_path_factory.mktemp("steps") / "study")
    with counted(Steps(path)) as taken:
        worked_on(path)
    check(path)
    return taken.taken


def test_what_was_killed_before_any_of_its_steps_is_finished_by_the_next_worker(
    steps: list[str], tmp_path: Path
) -> None:
    waits: list[float] = []
    for at in range(1, len(steps) + 1):
        path = planned(tmp_path / f"{at}")
        with counted(Steps(path, at, Killed())) as taken, pytest.raises(Killed):
            worked_on(path)
        assert taken.taken[at - 1].split()[0] == steps[at - 1].split()[0]
        worked_on(path, waits)
        check(path)
        shutil.rmtree(path)
    # Some died with a claim in their hands.
    assert waits


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_folder_that_takes_nothing_from_any_step_on_stops_its_worker_and_loses_nothing(
    steps: list[str], tmp_path: Path, number: int
) -> None:
    error = OSError(number, os.strerror(number))
    for at in range(1, len(steps) + 1):
        path = planned(tmp_path / f"{at}")
        with counted(Steps(path, at, error)):
            work = worked_on(path)
        through = len(list(path.glob("runs/*/*/DONE"))) + len(list(path.glob("runs/*/*/failure.json")))
        # A word of what could not be written, or everything was.
        told = [*work.problems, *([] if work.stopped is None else [work.stopped])]
        assert through == 2 or any(os.strerror(number) in line for line in told), (steps[at - 1], told)
        _forget_what_is_elsewhere(work)
        worked_on(path)
        check(path)
        shutil.rmtree(path)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_step_that_fails_once_loses_nothing(steps: list[str], tmp_path: Path, number: int) -> None:
    for at in range(1, len(steps) + 1):
        if steps[at - 1].endswith("/log.txt"):
            continue  # of the run itself, which has failed then
        path = planned(tmp_path / f"{at}")
        with counted(Steps(path, at, OSError(number, os.strerror(number)), n_failing=1)):
            work = worked_on(path)
        _forget_what_is_elsewhere(work)
        worked_on(path)
        check(path)
        shutil.rmtree(path)


def _forget_what_is_elsewhere(work: Work) -> None:
    for result in work.results.values():
        if result.folder is not None:
            shutil.rmtree(result.folder)
