"""How far the clocks of workers are apart, each beside that of the file system."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llenergymeasure.domain.study.summary import ClockOffset
from llenergymeasure.results.study.events import Events, about_clocks, clock_of, clocks_apart, events_of


def worker(folder: Path, name: str, *, ahead_s: float) -> Path:
    """One whose clock is ahead of that of the file system."""
    file = folder / f"{name}.jsonl"
    Events(file, lambda: datetime.now(UTC)).begin(lambda: time.time() + ahead_s, host=name)
    return file


def told(folder: Path, name: str, offset_s: object, within_s: object = 0.01) -> None:
    line = {"event": "begin", "clock_offset_s": offset_s, "clock_within_s": within_s}
    (folder / f"{name}.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")


def test_a_worker_says_how_far_the_file_systems_clock_is_from_its_own(tmp_path: Path) -> None:
    (event,) = events_of(worker(tmp_path / "events", "a", ahead_s=60.0))
    assert (event["event"], event["host"]) == ("begin", "a")
    # This file system is on this machine.
    assert event["clock_offset_s"] == pytest.approx(-60.0, abs=0.5)
    assert 0.005 <= event["clock_within_s"] < 5
    # The file that told the time is gone.
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["a.jsonl"]


def test_a_file_system_of_whole_seconds_is_off_by_half_of_one() -> None:
    found = clock_of(made_ns=100 * 10**9, before_s=160.2, after_s=160.4)
    # Made between 100 and 101 by its clock, and between 160.2 and 160.4 by ours.
    assert found == {"clock_offset_s": pytest.approx(100.5 - 160.3), "clock_within_s": pytest.approx(0.6)}
    fine = clock_of(made_ns=100 * 10**9 + 1, before_s=160.2, after_s=160.4)
    assert fine["clock_within_s"] == pytest.approx(0.105)


def test_the_largest_offset_is_between_two_workers(tmp_path: Path) -> None:
    for name, offset_s, within_s in (("a", -1.5, 0.1), ("b", 58.5, 0.2), ("c", 3.0, 9.0)):
        told(tmp_path, name, offset_s, within_s)
    found = clocks_apart(tmp_path)
    assert found is not None
    assert (found.largest_s, found.n_workers) == (60.0, 3)
    assert found.within_s == pytest.approx(0.3)


@pytest.mark.parametrize("offset_s", [None, "x", float("nan"), float("inf"), [1]])
def test_what_is_no_offset_is_none(tmp_path: Path, offset_s: object) -> None:
    told(tmp_path, "a", 0.0)
    told(tmp_path, "b", offset_s)
    (tmp_path / "torn.jsonl").write_text('{"event": "beg', encoding="utf-8")
    (tmp_path / "old.jsonl").write_text('{"event": "begin"}\n', encoding="utf-8")
    assert clocks_apart(tmp_path) is None


def test_one_worker_is_apart_from_nobody(tmp_path: Path) -> None:
    worker(tmp_path, "a", ahead_s=0.0)
    assert clocks_apart(tmp_path) is None
    worker(tmp_path, "b", ahead_s=60.0)
    found = clocks_apart(tmp_path)
    assert found is not None
    assert found.largest_s == pytest.approx(60.0, abs=1.0)


def test_more_than_a_second_beyond_the_bounds_is_told() -> None:
    far = ClockOffset(largest_s=60.0, within_s=0.3, n_workers=3)
    (said,) = about_clocks(far)
    assert said.startswith("the clocks of its 3 workers were up to 60.0 s apart (+-0.3 s)")
    assert about_clocks(ClockOffset(largest_s=1.2, within_s=0.3, n_workers=3)) == []
    assert about_clocks(None) == []


def test_where_nothing_can_be_written_a_worker_begins_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "events").write_text("a file", encoding="utf-8")
    Events(tmp_path / "events" / "a.jsonl", lambda: datetime.now(UTC)).begin(time.time)
    Events(None, lambda: datetime.now(UTC)).begin(time.time)
