"""The tables of a study with everything in it, beside those that were recorded of it."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llenergymeasure.config.execution import Order
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.files import as_rows
from llenergymeasure.results.study.writer import SummaryWriter
from tests.fakes.studies import Study
from tests.unit.results.study.mixed import finish, mixed, recorded, told

ORDERS: tuple[Order, ...] = ("blocks", "sequential")
FILES = ("summary.csv", "summary.md", "summary.parquet")


def cells(text: str) -> Iterator[str | float]:
    """Each cell of a table as CSV; what is a number as one."""
    for line in csv.reader(io.StringIO(text, newline="")):
        for cell in line:
            try:
                yield float(cell)
            except ValueError:
                yield cell


@pytest.mark.parametrize("order", ORDERS)
def test_the_tables_are_those_that_were_recorded(tmp_path: Path, order: Order) -> None:
    study = mixed(tmp_path / "s", order)
    found = SummaryWriter(study.directory, study.plan).finish()
    assert told(study, "summary.md") == recorded(order, "summary.md").read_text(encoding="utf-8")
    # Logarithms of another processor may differ in their last bit.
    before = list(cells(recorded(order, "summary.csv").read_text(encoding="utf-8")))
    now = list(cells(told(study, "summary.csv")))
    assert len(now) == len(before)
    for ours, theirs in zip(now, before, strict=True):
        if isinstance(ours, float):
            assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)
        else:
            assert ours == theirs
    assert pq.read_table(study.directory.path / "summary.parquet").to_pylist() == as_rows(found)


@pytest.mark.parametrize("order", ORDERS)
def test_a_table_that_grew_has_the_bytes_of_one_that_is_written_at_once(tmp_path: Path, order: Order) -> None:
    whole = mixed(tmp_path / "whole", order)
    SummaryWriter(whole.directory, whole.plan).finish()
    (tmp_path / "grown").mkdir()
    grown = Study(StudyDirectory(tmp_path / "grown"), whole.plan)
    now_s = 0.0
    writer = SummaryWriter(grown.directory, grown.plan, clock=lambda: now_s)
    for slot in grown.plan.slots:
        finish(grown, slot)
        now_s += 10
        # Once in six runs.
        assert writer.written_if_due() == (slot.slot % 6 == 0)
    now_s += 100
    assert writer.written_if_due()
    for name in FILES:
        assert (grown.directory.path / name).read_bytes() == (whole.directory.path / name).read_bytes()
