"""Which attempt at a run counts: one rule for those who read results and those who go on with a study."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.attempts import Counted, attempt_number, attempts_in, counted
from llenergymeasure.results.persistence import result_file, save_result
from llenergymeasure.results.reading import Skipped, results_in, rows_in
from llenergymeasure.results.sums import mark_done

Make = Callable[[int, str], Path]


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "0000-a"


@pytest.fixture
def make(slot: Path, raw_of: Callable[..., RawProcessResult]) -> Make:
    """An attempt of one of four kinds."""

    def attempt(number: int, kind: str) -> Path:
        folder = slot / f"attempt-{number}"
        folder.mkdir(parents=True)
        if kind in ("finished", "damaged"):
            save_result(ExperimentResult.from_processes([raw_of(name=folder.name)]), folder)
            mark_done(folder)
        if kind == "damaged":
            (folder / "DAMAGED").write_text("requests.parquet is gone\n")
        if kind == "failed":
            (folder / "failure.json").write_text("{}")
        return folder

    return attempt


@pytest.mark.parametrize(
    ("kinds", "counts", "finished", "n_failed"),
    [
        ([], None, False, 0),
        (["begun"], None, False, 0),
        (["finished"], 1, True, 0),
        (["damaged", "finished"], 2, True, 0),
        # It was made again and stopped on the way: what is there stays what counts.
        (["finished", "begun"], 1, True, 0),
        (["finished", "failed"], 1, True, 0),
        (["finished", "damaged"], 1, True, 0),
        (["damaged", "failed", "begun"], 2, False, 1),
        (["failed", "failed"], 2, False, 2),
        (["damaged"], None, False, 0),
    ],
)
def test_the_newest_that_finished_and_is_whole_counts_or_else_the_newest_failure(
    make: Make, slot: Path, kinds: list[str], counts: int | None, finished: bool, n_failed: int
) -> None:
    made = {number: make(number, kind) for number, kind in enumerate(kinds, 1)}
    attempt = None if counts is None else made[counts]
    silent = () if finished else (number for number, kind in enumerate(kinds, 1) if kind == "begun")
    assert counted(attempts_in(slot)) == Counted(
        attempt=attempt, finished=finished, n_failed=n_failed, silent=frozenset(silent)
    )


@pytest.mark.parametrize(
    ("kinds", "read"),
    [
        (["damaged", "finished"], 2),
        (["finished", "damaged"], 1),
        (["finished", "begun"], 1),
        (["finished", "failed"], 1),
        (["finished"] * 10, 10),
    ],
)
def test_readers_read_the_one_that_counts(make: Make, slot: Path, kinds: list[str], read: int) -> None:
    made = {number: make(number, kind) for number, kind in enumerate(kinds, 1)}
    above = slot.parent.parent
    assert result_file(slot) == made[read] / "result.json"
    assert [each.folder for each in results_in(above)] == [made[read]]
    assert [row.folder for row in rows_in(above)] == [str(made[read])]


def test_one_that_is_known_to_be_damaged_is_no_result(make: Make, slot: Path) -> None:
    attempt, skipped = make(1, "damaged"), list[Skipped]()
    assert not list(results_in(slot.parent.parent, skipped.append))
    assert [each.path for each in skipped] == [attempt]
    assert skipped[0].damaged
    assert "requests.parquet is gone" in skipped[0].reason
    with pytest.raises(ConfigError, match="found damaged"):
        list(results_in(slot.parent.parent))
    with pytest.raises(ConfigError, match=r"attempt-1: it was found damaged when its study went on"):
        result_file(slot)


@pytest.mark.parametrize("name", ["attempt-", "attempt-1.partial", "attempt-x", "attempt", "1"])
def test_other_folders_are_no_attempts(name: str) -> None:
    assert attempt_number(name) is None
