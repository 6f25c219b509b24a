"""The files of a summary: what is in them, who writes them and when, and what it costs."""

import csv
import itertools
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from llenergymeasure._locks import locked
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.results.persistence import load_result
from llenergymeasure.results.study.files import as_csv, as_rows
from llenergymeasure.results.study.rows import RowReader, StudyRows, leave_row, row_of_result, rows
from llenergymeasure.results.study.summary import Summing
from llenergymeasure.results.study.writer import LOCK_FILE, READ_FILE, SummaryWriter
from tests.fakes.studies import Study, failure_of, of_batches, plan_of, result_of

FILES = ("summary.parquet", "summary.csv", "summary.md")
JOULES = "energy_per_output_token_j"


def written(study: Study) -> dict[str, bytes]:
    return {name: (study.directory.path / name).read_bytes() for name in FILES}


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two configurations, three times each: one run failed, one has not been run."""
    study = Study.of(tmp_path / "s", of_batches(1, 4), 3)
    for slot in study.plan.slots:
        if (slot.configuration, slot.repeat) == (0, 0):
            study.fail(slot, "=cmd()")
        elif (slot.configuration, slot.repeat) != (0, 1):
            study.finish(slot, (80.0, 40.0)[slot.configuration] * (1 + slot.repeat / 100))
            leave_row(study.directory, study.plan, slot)
    return study


def test_the_same_bytes_come_of_the_runs_alone(study: Study) -> None:
    SummaryWriter(study.directory, study.plan).finish()
    before = written(study)
    shutil.rmtree(study.directory.path / "rows")
    for name in FILES:
        (study.directory.path / name).unlink()
    SummaryWriter(study.directory, study.directory.plan()).finish()
    assert written(study) == before


def test_what_was_written_on_the_way_is_nothing_to_the_end(study: Study) -> None:
    SummaryWriter(study.directory, study.plan).finish()
    before = written(study)
    other = Study(replace(study.directory, path=study.directory.path.with_name("other")), study.plan)
    (other.directory.path / "runs").mkdir(parents=True)
    now_s = 0.0
    writer = SummaryWriter(other.directory, study.plan, clock=lambda: now_s)
    for slot in study.plan.slots:
        folder = study.directory.folder(study.plan, slot)
        if folder.exists():
            shutil.copytree(folder, other.directory.folder(study.plan, slot))
        # A file of the future is of another clock, and keeps nobody from writing.
        now_s += 1000
        assert writer.written_if_due()
    writer.finish()
    assert written(other) == before


def test_the_files_have_every_figure_with_its_interval(study: Study) -> None:
    found = SummaryWriter(study.directory, study.plan).finish()
    table = pq.read_table(study.directory.path / "summary.parquet")
    assert table.to_pylist() == as_rows(found)
    first, second = table.to_pylist()
    assert (first["n_planned"], first["n_finished"], first["n_failed"]) == (3, 1, 1)
    assert (first["pytorch.batch_size"], second["pytorch.batch_size"]) == (1, 4)
    assert table.schema.field(JOULES).metadata == {b"label": b"energy per output token", b"unit": b"J/token"}
    # 80 J, and 2 % more, over 4 tokens, of the one run that is there.
    assert first[JOULES] == pytest.approx(20.4)
    assert (first[f"{JOULES}_n"], first[f"{JOULES}_low"], first[f"{JOULES}_cv"]) == (1, None, None)
    # The cube root of 1 x 1.01 x 1.02.
    assert second[JOULES] == pytest.approx(10 * (1.01 * 1.02) ** (1 / 3))
    assert second[f"{JOULES}_low"] < second[JOULES] < second[f"{JOULES}_high"]
    assert second[f"{JOULES}_ratio"] == pytest.approx(0.5)
    assert second["failures"] is None


def test_a_failure_is_told_once_on_two_kinds_of_machine() -> None:
    plan = plan_of(of_batches(1, 4), 3)
    done, also, failed = (slot for slot in plan.slots if slot.configuration == 1)
    rows = {slot.slot: row_of_result(result_of(plan, slot), plan, slot) for slot in (done, also)}
    for number, row in rows.items():
        rows[number] = replace(row, values={**row.values, "gpus": f"GPU {number}"})
    found = Summing(plan).of(StudyRows(rows=rows, failures={failed.slot: (failure_of(plan, failed, "no"), None)}))
    said = f"slot {failed.slot}: BackendError: no"
    assert [(row["configuration"], row["n_failed"], row["failures"]) for row in as_rows(found)] == [
        (0, 0, None), (1, 1, said), (1, 0, None),
    ]  # fmt: skip
    assert as_csv(found).count(said) == 1


def test_the_csv_is_the_same_and_safe_to_open(study: Study) -> None:
    found = SummaryWriter(study.directory, study.plan).finish()
    with (study.directory.path / "summary.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    # As exact as the number itself.
    assert float(second[JOULES]) == found.rows[1].metrics[JOULES].value
    assert first[f"{JOULES}_low"] == ""
    slot = study.slot(0, 0).slot
    assert first["failures"] == f"slot {slot}: BackendError: =cmd()"


def test_a_setting_named_like_a_figure_has_another_name(tmp_path: Path) -> None:
    configs = [ExperimentConfig(model="m", n=n) for n in (1, 2)]
    study = Study.of(tmp_path / "s", configs)
    study.finish_all([80.0], [80.0])
    found = as_rows(SummaryWriter(study.directory, study.plan).finish())
    assert [row["n"] for row in found] == [1, 2]
    assert len({*found[0]}) == len(found[0])


def test_nothing_is_written_twice_in_a_minute(study: Study) -> None:
    csv_file = study.directory.path / "summary.csv"
    now_s = 1_000_000.0
    writer = SummaryWriter(study.directory, study.plan, clock=lambda: now_s)
    assert writer.written_if_due()
    os.utime(csv_file, (now_s, now_s))
    now_s += 59.9
    assert not writer.written_if_due()
    # Nor by another worker.
    assert not SummaryWriter(study.directory, study.plan, clock=lambda: now_s).written_if_due()
    now_s += 0.2
    assert writer.written_if_due()


def test_what_takes_long_is_written_seldom(study: Study) -> None:
    times_s = itertools.count(1_000_000.0, 9.0)
    writer = SummaryWriter(study.directory, study.plan, clock=lambda: next(times_s))
    assert writer.written_if_due()
    os.utime(study.directory.path / "summary.csv", (0.0, 0.0))
    # Between two looks at the clock, so while it is written too, nine seconds pass: a twentieth of three minutes, which
    # are over 180 / 9 = 20 looks after the one at its beginning, of which the first was at its end.
    assert [writer.written_if_due() for _ in range(19)] == [False] * 18 + [True]


def test_one_at_a_time_writes_it(study: Study) -> None:
    with locked(study.directory.path / LOCK_FILE) as held:
        assert held
        assert not SummaryWriter(study.directory, study.plan).written_if_due()
    assert not (study.directory.path / "summary.csv").exists()
    assert SummaryWriter(study.directory, study.plan).written_if_due()


def test_who_ends_does_not_wait_for_ever_for_who_holds_it(study: Study) -> None:
    writer = SummaryWriter(study.directory, study.plan, patience_s=0.1)
    # As by a process that was stopped.
    with locked(study.directory.path / LOCK_FILE) as held:
        assert held
        found = writer.finish()
    assert found.n_finished == 4
    assert writer.problem == "the summary cannot be written: another process has held .summary.lock for 0.1 s"
    assert not (study.directory.path / "summary.csv").exists()
    assert writer.finish() == found
    assert writer.problem is None
    assert (study.directory.path / "summary.csv").exists()


def test_what_cannot_be_written_leaves_the_old_and_is_told(study: Study) -> None:
    writer = SummaryWriter(study.directory, study.plan)
    writer.finish()
    before = written(study)
    study.finish(study.slot(0, 1), 99.0)
    (study.directory.path / "summary.md").unlink()
    (study.directory.path / "summary.md").mkdir()
    found = writer.finish()
    assert found.n_finished == 5
    assert str(writer.problem).startswith("the summary cannot be written: ")
    assert (study.directory.path / "summary.csv").read_bytes() == before["summary.csv"]
    assert not list(study.directory.path.glob(".*.tmp"))


def test_what_lies_in_no_folder_is_in_what_is_returned_and_not_in_the_files(study: Study) -> None:
    last, failed = study.slot(0, 1), study.slot(0, 0)
    writer = SummaryWriter(study.directory, study.plan)
    plain = writer.finish()
    before = written(study)
    found = writer.finish({last.slot: result_of(study.plan, last, 96.0)}, {failed.slot: failure_of(study.plan, failed)})
    assert written(study) == before
    assert (plain.rows[0].n_finished, found.rows[0].n_finished, found.n_failed) == (1, 2, 1)
    # sqrt(20.4 x 24).
    assert found.rows[0].metrics[JOULES].value == pytest.approx((20.4 * 24) ** 0.5)
    assert found.failures[0].log is None


def test_an_empty_study_has_its_files_too(tmp_path: Path) -> None:
    study = Study.of(tmp_path / "s", of_batches(1, 4), 2)
    found = SummaryWriter(study.directory, study.plan).finish()
    assert [row.n_finished for row in found.rows] == [0, 0]
    assert pq.read_table(study.directory.path / "summary.parquet").num_rows == 2
    assert found.cautions == ()


class Opened:
    """Counts files that are opened below a folder."""

    def __init__(self) -> None:
        self.below: str | None = None
        self.found: Counter[str] = Counter()
        sys.addaudithook(self._seen)

    def _seen(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.below is not None and event in ("open", "os.scandir", "os.listdir"):
            path = os.fspath(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
            if str(path).startswith(self.below):
                self.found[Path(str(path)).name if event == "open" else "a folder"] += 1

    @contextmanager
    def counted(self, below: Path) -> Iterator[Counter[str]]:
        self.below, self.found = str(below), Counter()
        try:
            yield self.found
        finally:
            self.below = None


# A hook stays to the end of the process.
OPENED = Opened()


def with_rows(path: Path, n_configurations: int, n_cycles: int) -> Study:
    """A study whose runs have left rows, and of their results nothing but ``DONE``."""
    study = Study.of(path, of_batches(*range(1, n_configurations + 1)), n_cycles)
    known: dict[int, tuple[dict[str, Any], bytes]] = {}
    for slot in study.plan.slots:
        if slot.configuration not in known:
            attempt = study.finish(slot)
            known[slot.configuration] = (
                asdict(leave_row(study.directory, study.plan, slot)), (attempt / "DONE").read_bytes()
            )  # fmt: skip
            continue
        row, done = known[slot.configuration]
        attempt = study.directory.folder(study.plan, slot) / "attempt-1"
        attempt.mkdir(parents=True)
        (attempt / "DONE").write_bytes(done)
        own = {**row, "slot": slot.slot, "block": slot.block, "repeat": slot.repeat}
        (path / "rows" / f"{slot.slot:04d}.json").write_text(json.dumps(own), encoding="utf-8")
    return study


def test_of_two_thousand_runs_each_is_read_once(tmp_path: Path) -> None:
    counts = []
    for n_cycles in (20, 200):
        study = with_rows(tmp_path / str(n_cycles), 10, n_cycles)
        reader = RowReader(study.directory, study.plan)
        with OPENED.counted(study.directory.path) as opened:
            found = reader.read()
        assert len(found.rows) == 10 * n_cycles
        assert (opened["result.json"], opened["DONE"]) == (0, 10 * n_cycles)
        counts.append(opened.total())
        # Nothing of it is read again, but what folders there are.
        with OPENED.counted(study.directory.path) as again:
            assert reader.read() == found
        assert dict(again) == {"a folder": 1}
    # A row, its sums, and a look into its folder; and one look at all of them.
    assert counts == [3 * 200 + 1, 3 * 2000 + 1]


def test_rows_say_the_same_as_results(study: Study) -> None:
    found = rows(study.directory, study.plan)
    for number, row in found.rows.items():
        attempt = study.directory.folder(study.plan, study.plan.slots[number]) / row.attempt
        result = load_result(attempt)
        assert row.values["total_energy_j"] == result.total_energy_j
        assert row.values["tokens_per_second"] == result.tokens_per_second
    assert Summing(study.plan).of(found).n_finished == 4


def test_what_is_kept_of_rows_is_all_that_a_summary_takes(study: Study) -> None:
    short = RowReader(study.directory, study.plan, only_needed=True).read()
    assert Summing(study.plan).of(short) == Summing(study.plan).of(rows(study.directory, study.plan))
    # What thousands of them have alike is there once.
    assert len({id(row.circumstances.definitions) for row in short.rows.values()}) == 1


@pytest.mark.parametrize(("read_after_s", "is_written"), [(None, True), (-1.0, True), (4.0, True), (60.0, False)])
def test_as_one_of_several_it_is_left_where_another_has_read_all_since(
    study: Study, read_after_s: float | None, is_written: bool
) -> None:
    """What is seen five seconds late is not seen by who reads within that time."""
    if read_after_s is not None:
        at_s = time.time() + read_after_s
        (study.directory.path / READ_FILE).touch()
        os.utime(study.directory.path / READ_FILE, (at_s, at_s))
    SummaryWriter(study.directory, study.plan).leave(is_over=True)
    assert (study.directory.path / "summary.csv").exists() == is_written


def test_whoever_writes_it_says_when_it_began_to_read(study: Study) -> None:
    before_s = time.time()
    writer = SummaryWriter(study.directory, study.plan)
    for write in (writer.written_if_due, writer.finish, lambda: writer.leave(is_over=True)):
        (study.directory.path / READ_FILE).unlink(missing_ok=True)
        write()
        assert before_s - 1 < (study.directory.path / READ_FILE).stat().st_mtime < time.time() + 1


def test_who_leaves_a_large_study_that_goes_on_does_not_read_all_of_it(study: Study) -> None:
    (study.directory.path / "rows").mkdir(exist_ok=True)
    (study.directory.path / READ_FILE).touch()
    for slot in range(10, 1100):
        (study.directory.path / "rows" / f"{slot:04d}.json").touch()
    SummaryWriter(study.directory, study.plan).leave(is_over=False)
    assert not (study.directory.path / "summary.csv").exists()
    SummaryWriter(study.directory, study.plan).leave(is_over=True)
    assert (study.directory.path / "summary.csv").exists()
