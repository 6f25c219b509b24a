"""What a worker leaves that stood still for too long, and what one leaves whose folder takes no attempt."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from llenergymeasure._shared_files import FilesOfTheSystem
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.device_locks import held
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.execute import resume_study, work_on
from llenergymeasure.orchestration.studies.slot_attempt import Attempts, Work
from llenergymeasure.orchestration.studies.worker import StudyWorker
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.events import events_in
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.fakes.claiming import taken_over
from tests.unit.orchestration.conftest import Bench
from tests.unit.orchestration.studies.test_worker import executed, interrupted_after, names_of, of


def claims_in(folder: Path) -> Path:
    """The claims of the only study in a folder."""
    (claims,) = folder.glob("*/claims")
    return claims


def test_who_was_superseded_while_it_waited_measures_nothing(bench: Bench, tmp_path: Path) -> None:
    def sleep(seconds: float) -> None:
        bench.log.append(f"sleep {seconds:g}")
        if "run a" in bench.log and bench.log.count("sleep 3") == 1:
            taken_over(claims_in(tmp_path), "0001")

    study = executed(bench, of(tmp_path, "ab", pause_s=3), sleep=sleep)
    # What it rested for is dropped, and nobody else had run it.
    assert bench.log == ["run a", "sleep 3", "sleep 3", "run b"]
    assert names_of(study) == "ab"
    assert [path.name for path in sorted(tmp_path.glob("*/runs/*/*"))] == ["attempt-1", "attempt-1"]


@pytest.mark.parametrize("waits", [True, False])
def test_who_was_superseded_leaves_no_failure(bench: Bench, tmp_path: Path, waits: bool) -> None:
    """Of what another runs by now, neither where it failed nor where it never had the devices."""

    def run(plan: ExperimentPlan) -> RawProcessResult:
        bench.log.append("run")
        if bench.log == ["run"]:
            taken_over(claims_in(tmp_path), "0000")
            raise BackendError("it had stood still")
        return fake_process_result(plan)

    def sleep(seconds: float) -> None:
        bench.clock.sleep(seconds)
        if len(bench.log) == 7:
            taken_over(claims_in(tmp_path), "0000")
        elif len(bench.log) == 8:
            theirs.close()

    with contextlib.ExitStack() as theirs:
        if waits:
            theirs.enter_context(held(["host"], "another study"))
        launcher = bench.launcher if waits else FakeLauncher(run)
        study = executed(bench, of(tmp_path, "a", wait_for_devices_s=7), launcher=launcher, sleep=sleep)
    assert study.failures == []
    assert names_of(study) == "a"
    assert list(tmp_path.glob("*/runs/*/*/failure.json")) == []
    assert bench.log == ([*["sleep 1"] * 8, "run a"] if waits else ["run", "run"])


class Unmade(StudyDirectory):
    """A folder that takes no attempt at first, and then does."""

    def new_attempt(self, plan: StudyPlan, slot: Slot) -> Path:
        folder = self.folder(plan, slot)
        if folder.exists():
            return super().new_attempt(plan, slot)
        folder.mkdir(parents=True)
        raise OSError(errno.EIO, "Input/output error", "runs")


class Unflushed(Unmade):
    """A folder that takes an attempt, and at first cannot put it on the disk."""

    def new_attempt(self, plan: StudyPlan, slot: Slot) -> Path:
        folder = self.folder(plan, slot)
        if folder.exists():
            return super().new_attempt(plan, slot)
        StudyDirectory.new_attempt(self, plan, slot)
        raise OSError(errno.EIO, "Input/output error", "runs")


@pytest.mark.parametrize("kind", [Unmade, Unflushed])
def test_an_attempt_that_the_folder_does_not_take_is_no_failure(
    bench: Bench, tmp_path: Path, kind: type[StudyDirectory]
) -> None:
    path = interrupted_after(bench, tmp_path, 0, of(tmp_path, "a"))
    plan, work = StudyDirectory(path).plan(), Work()
    attempts = Attempts(kind(path), plan, {0: ExaminedExperiment()}, bench.options(), keeps=True, work=work)
    with Claims(path / "claims") as claims, claims.taken("0000") as claim:
        assert claim is not None
        with pytest.raises(OSError, match="Input/output error"):
            attempts.once(plan.slots[0], claim)
    assert (work.n_failed, work.failures, list(path.glob("runs/*"))) == (0, {}, [])
    # It can be gone on with.
    assert names_of(resume_study(path, bench.options())) == "a"
    assert bench.log == ["run a"]


@dataclass(frozen=True)
class Pausing(FilesOfTheSystem):
    """Files after whose creation something happens, once."""

    then: list[Callable[[], object]] = field(default_factory=list)

    def create(self, path: str | Path, content: bytes) -> None:
        """See ``SharedFiles``."""
        super().create(path, content)
        if b'"ended"' in content and self.then:
            self.then.pop()()


@pytest.mark.parametrize("fails", [False, True])
def test_who_stood_still_between_its_word_and_its_result_does_not_finish_beside_the_other(
    bench: Bench, tmp_path: Path, fails: bool
) -> None:
    path = interrupted_after(bench, tmp_path, 0, of(tmp_path, "a"))
    # What was interrupted before is of somebody else's.
    shutil.rmtree(path / "claims")

    def meanwhile() -> None:
        assert [each.name for each in sorted((path / "claims").iterdir())] == ["0000.1", "0000.2"]
        for claim in (path / "claims").iterdir():
            os.utime(claim, (1, 1))
        bench.errors.clear()
        assert work_on(path, bench.options()).n_finished == 1

    if fails:
        bench.errors["a"] = BackendError("it stood still")
    directory = StudyDirectory(path, Pausing(then=[meanwhile]))
    plan = directory.plan()
    worker = StudyWorker(directory, plan, {0: ExaminedExperiment()}, bench.options(), shared=True)
    assert (worker.run().n_finished, worker.work.n_failed) == (0, 0)
    assert bench.log == ["run a", "run a"]
    assert directory.found(plan, plan.slots[0]).attempt == directory.folder(plan, plan.slots[0]) / "attempt-2"
    assert "no sign of life" in (directory.folder(plan, plan.slots[0]) / "attempt-1" / "DAMAGED").read_text()
    told = sorted(each["event"] for each in events_in(path / "events"))
    assert [event for event in told if event in ("dropped", "failed", "finished")] == ["dropped", "finished"]
    (result,) = resume_study(path, bench.options()).experiments
    assert result.folder is not None
    assert result.folder.name == "attempt-2"


@dataclass(frozen=True)
class Unreadable(FilesOfTheSystem):
    """Files among which folders of slots cannot be looked into."""

    def names(self, folder: Path) -> list[str]:
        """See ``SharedFiles``."""
        if folder.parent.name == "runs":
            raise OSError(errno.EIO, "Input/output error", str(folder))
        return super().names(folder)


def test_what_cannot_be_looked_into_is_not_run_again(bench: Bench, tmp_path: Path) -> None:
    path = interrupted_after(bench, tmp_path, 1, of(tmp_path, "ab"))
    before = sorted(path.glob("claims/*"))
    directory = StudyDirectory(path, Unreadable())
    worker = StudyWorker(directory, directory.plan(), {0: ExaminedExperiment()}, bench.options(), shared=True)
    with pytest.raises(OSError, match="Input/output error"):
        worker.run()
    assert bench.log == []
    assert sorted(path.glob("claims/*")) == before
