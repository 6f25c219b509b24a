"""What a worker does for each slot of a study, which as many workers do: looks are counted, and one sums up."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure._shared_files import FilesOfTheSystem, ReadFile
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.studies.claiming.holders import Holders
from llenergymeasure.orchestration.studies.execute import work_on
from llenergymeasure.orchestration.studies.standing import standing_of_study
from llenergymeasure.orchestration.studies.worker import StudyWorker
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.rows import slots_with_rows
from tests.fakes.claiming import of_another
from tests.unit.orchestration.conftest import Bench
from tests.unit.orchestration.studies.test_worker import interrupted_after, of


@dataclass(frozen=True)
class Counted(FilesOfTheSystem):
    """Files that count what is asked of them."""

    asked: Counter[str] = field(default_factory=Counter)

    def names(self, folder: Path) -> list[str]:
        """See ``SharedFiles``."""
        self.asked[f"list {folder.name[:4]}"] += 1
        return super().names(folder)

    def exists(self, path: str | Path) -> bool:
        """See ``SharedFiles``."""
        self.asked["exists"] += 1
        return super().exists(path)

    def read(self, path: str | Path, most_bytes: int) -> ReadFile:
        """See ``SharedFiles``."""
        self.asked["read"] += 1
        return super().read(path, most_bytes)


class Enough(Exception):  # noqa: N818 - it is no error
    """A worker has nothing left to do now."""


@pytest.fixture
def path(bench: Bench, tmp_path: Path) -> Path:
    """A study of ten runs, of which four have finished."""
    return interrupted_after(bench, tmp_path, 4, of(tmp_path, "ab", cycles=5, order="sequential"))


def gone_through(bench: Bench, path: Path, files: Counted, through: set[int]) -> StudyWorker:
    """A worker until there is nothing that it may run."""

    def sleep(_: float) -> None:
        raise Enough

    directory = StudyDirectory(path, files)
    worker = StudyWorker(directory, directory.plan(), {0: ExaminedExperiment(), 1: ExaminedExperiment()},
                         bench.options(sleep=sleep), shared=True, through=through)  # fmt: skip
    with pytest.raises(Enough):
        worker.run()
    return worker


def test_past_what_others_have_a_worker_goes_by_their_claims_alone(bench: Bench, path: Path) -> None:
    for slot in range(5, 10):
        of_another(path / "claims", f"{slot:04d}.1")
    of_another(path / "claims", "0004.3")
    files = Counted()
    gone_through(bench, path, files, set(range(4)))
    # The taking of each, and that nothing follows it; of one more numbers: an interrupted run was given back.
    assert files.asked == {"list clai": 1, "list rows": 1, "read": 5 * 2 + 4}
    assert bench.log == []


def test_what_others_finish_meanwhile_costs_one_listing(bench: Bench, path: Path) -> None:
    for slot in range(4, 10):
        of_another(path / "claims", f"{slot:04d}.3")
    files, passes = Counted(), list[Counter[str]]()

    def sleep(_: float) -> None:
        passes.append(files.asked.copy())
        files.asked.clear()
        if len(passes) == 2:
            raise Enough
        for slot in range(4, 9):
            (path / "rows" / f"{slot:04d}.json").touch()

    directory = StudyDirectory(path, files)
    worker = StudyWorker(directory, directory.plan(), {0: ExaminedExperiment(), 1: ExaminedExperiment()},
                         bench.options(sleep=sleep), shared=True, through=set(range(4)))  # fmt: skip
    with pytest.raises(Enough):
        worker.run()
    assert passes[1]["list rows"] == 1
    assert passes[1].total() - passes[1]["read"] == 1
    assert worker.through == set(range(9))


def test_a_worker_that_begins_does_not_look_into_what_has_finished(bench: Bench, path: Path) -> None:
    assert slots_with_rows(StudyDirectory(path)) == {0, 1, 2, 3}
    (first,) = path.glob("runs/0000-*/attempt-1")
    # What only going on with it would find.
    (first / "requests.parquet").unlink()
    assert work_on(path, bench.options()).n_finished == 6
    assert len(list(path.glob("runs/*/attempt-*"))) == 10


def test_where_a_study_stands_is_told_by_a_listing_and_what_is_not_through(bench: Bench, path: Path) -> None:
    of_another(path / "claims", "0005.1")
    files = Counted()
    standing = standing_of_study(path, files)
    assert (standing.n_finished, standing.n_to_do, [slot.slot for slot, _ in standing.running]) == (4, 5, [5])
    assert files.asked == {
        "list runs": 1, "list clai": 1, "list 0000": 1, "list 0001": 1, "list 0002": 1, "list 0003": 1,
        # Whether each that was begun is damaged, and whether it is done; and two claims, one of them given back.
        "exists": 4 * 2, "read": 2,
    }  # fmt: skip


def test_of_several_one_sums_up_as_long_as_it_lives(bench: Bench, path: Path) -> None:
    made: list[Any] = []
    for writes in (True, False):
        of_another(path / "claims", "summary.1") if not writes else None
        (path / "summary.csv").unlink(missing_ok=True)
        files = Counted()
        for slot in range(6, 10):
            of_another(path / "claims", f"{slot:04d}.1")
        slot = 4 if writes else 5
        gone_through(bench, path, files, set(range(10)) - {slot, 9})
        made.append((path / "summary.csv").exists())
        assert "summary" not in Holders(path / "claims").all() or not writes
        for claim in path.glob("claims/summary.*"):
            claim.unlink()
    assert made == [True, False]
