"""What is kept of each run from one writing of the table to the next, thousands of times in a large study."""

import gc
import json
import shutil
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from llenergymeasure.results.study.files import as_csv
from llenergymeasure.results.study.rows import RowReader, leave_row, row_file, rows
from llenergymeasure.results.study.summary import Summing
from llenergymeasure.results.study.writer import SummaryWriter
from tests.fakes.studies import START, Study, of_batches

# Of 4 kB for all that a worker has of a run. Its row takes 1.1 kB: sixteen numbers of eight bytes, four texts of a
# hundred, and the objects around them; beside it stand the ratios, means and intervals of its configuration.
_MOST_KEPT = 2400
# The rows of the table at once, and their text.
_MOST_AT_ONCE = 5000


class Growing:
    """A study in whose folder one run after the other turns up, each with figures and outputs of its own."""

    def __init__(self, path: Path, n_configurations: int, n_cycles: int) -> None:
        self.study = Study.of(path, of_batches(*range(1, n_configurations + 1)), n_cycles)
        slot = self.study.plan.slots[0]
        attempt = self.study.finish(slot)
        self._row = asdict(leave_row(self.study.directory, self.study.plan, slot))
        self._done = (attempt / "DONE").read_bytes()
        shutil.rmtree(attempt.parent)
        self.n_runs, self._now_s = 0, 0.0
        self._writer = SummaryWriter(self.study.directory, self.study.plan, clock=lambda: self._now_s)

    def grow(self, n_runs: int) -> None:
        """Finish the next runs, and write the table."""
        plan = self.study.plan
        for slot in plan.slots[self.n_runs : self.n_runs + n_runs]:
            attempt = self.study.directory.folder(plan, slot) / "attempt-1"
            attempt.mkdir(parents=True)
            (attempt / "DONE").write_bytes(self._done)
            factor = 1 + slot.slot / 1000
            values = {
                name: value * factor if isinstance(value, float) else value
                for name, value in self._row["values"].items()
            }
            values["start_time"] = (START + timedelta(minutes=slot.slot)).isoformat()
            values["outputs_digest"] = sha256(str(slot.configuration).encode()).hexdigest()
            circumstances = self._row["circumstances"]
            bounds_pct = dict.fromkeys(circumstances["bounds_pct"], factor)
            row = {**self._row, **asdict(slot), "config_hash": plan.hash_of(slot), "values": values,
                   "circumstances": {**circumstances, "bounds_pct": bounds_pct}}  # fmt: skip
            del row["sentinel"]
            row_file(self.study.directory, slot).write_text(json.dumps(row), encoding="utf-8")
        self.n_runs += n_runs
        self._now_s += 1000
        assert self._writer.written_if_due()


@contextmanager
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def kept_bytes() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("n_cycles", [1, pytest.param(2, marks=pytest.mark.slow), 5])
def test_of_each_run_little_is_kept_and_little_taken_while_the_table_is_written(tmp_path: Path, n_cycles: int) -> None:
    n_runs = 400
    growing = Growing(tmp_path / "s", n_runs // n_cycles, n_cycles)
    # What is made once for all is there before it is traced.
    growing.grow(4)
    with traced():
        growing.grow(n_runs // 2)
        growing.grow(n_runs // 2 - 4)
        kept = kept_bytes()
        tracemalloc.reset_peak()
        growing.grow(0)
        at_once = tracemalloc.get_traced_memory()[1] - kept
        # Other threads of a test run keep something now and then; what is kept at each writing is kept at all of them.
        more = []
        for _ in range(4):
            before = kept_bytes()
            growing.grow(0)
            more.append(kept_bytes() - before)
    assert kept / n_runs < _MOST_KEPT
    assert at_once / n_runs < _MOST_AT_ONCE
    # Nothing new, nothing more.
    assert min(more) / n_runs < 20


def test_what_is_kept_in_little_room_makes_the_same_table(tmp_path: Path) -> None:
    growing = Growing(tmp_path / "s", 4, 3)
    growing.grow(7)
    study = growing.study
    whole = Summing(study.plan).of(rows(study.directory, study.plan))
    short = Summing(study.plan).in_short(RowReader(study.directory, study.plan, only_needed=True).read())
    assert as_csv(short) == as_csv(whole)
    # Three runs, two or one of a configuration: all are equal to plain values.
    assert {row.n_finished for row in whole.rows} == {1, 2}
    assert [dict(row.metrics) for row in short.rows] == [row.metrics for row in whole.rows]
    assert [replace(row, metrics={}, ratios={}) for row in short.rows] == [
        replace(row, metrics={}, ratios={}) for row in whole.rows
    ]
    # Who gets the rows may change what is in one of them, and others stay as they are.
    assert all(type(of) is dict for row in whole.rows for of in (row.metrics, row.ratios, row.n_warned))
    assert len({id(row.n_warned) for row in whole.rows}) == len(whole.rows)
    assert [row.notes for row in whole.rows if row.n_finished == 2] == [("1 of 3 runs are not in it",)] * 3
