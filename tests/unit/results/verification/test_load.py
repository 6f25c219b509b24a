"""Figures of a load, derived again by code of its own; and every edit of one, with sums made anew, is found."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.results.verification.requests import inside
from llenergymeasure.results.verification.verify import verify
from tests.fakes.damages import sums_written
from tests.unit.results.verification.test_bundles import GOLDEN, wrong
from tests.unit.results.verification.test_edits import edited

LOAD = GOLDEN / "revision-7" / "load"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LOAD, tmp_path / "run"))


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a value has numbers, truths and texts."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value[:2]):
            yield from places(inner, (*place, number))
    else:
        yield place


# A place for each field, of lists the first two rows.
PLACES = list(places(json.loads((LOAD / "result.json").read_text(encoding="utf-8"))["load"]))


def test_a_load_agrees() -> None:
    report = verify(LOAD)
    assert wrong(report) == []
    assert report.n_agreed > 1000


@pytest.mark.parametrize("place", PLACES, ids=lambda place: ".".join(map(str, place)))
def test_every_edit_of_a_figure_is_found(place: tuple[Any, ...], copy: Path) -> None:
    def edit(result: dict[str, Any]) -> None:
        value = result["load"]
        for name in place[:-1]:
            value = value[name]
        before = value[place[-1]]
        after: object = "something else" if before is None or isinstance(before, str) else before * 1.01 + 0.01
        value[place[-1]] = not before if isinstance(before, bool) else after

    edited(copy, "result.json", edit)
    sums_written(copy)
    assert [line for line in wrong(verify(copy)) if "load" in line]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("error_kind", "server"),
        ("cached_tokens", 3),
        ("counted_by", "retokenised"),
        ("ttft_from_sending_s", 9.0),
        ("chunk_times_s", [0.1, 0.2]),
    ],
)
def test_every_edit_of_a_new_column_is_found(column: str, value: object, copy: Path) -> None:
    table = pq.read_table(copy / "requests.parquet")
    rows = table.to_pylist()
    rows[4][column] = value
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), copy / "requests.parquet")
    sums_written(copy)
    assert [line for line in wrong(verify(copy)) if f"request 4 {column}" in line]


def test_a_load_that_is_left_out_and_flags_that_follow_from_it_are_missed(copy: Path) -> None:
    edited(copy, "result.json", lambda result: result.update(load=None))
    sums_written(copy)
    assert "damaged: load: there was a load, and nothing is said of it, or requests.parquet cannot be read" in wrong(
        verify(copy)
    )


def test_a_window_that_says_to_be_overloaded_may_not_be_cited(copy: Path) -> None:
    edited(copy, "result.json", lambda result: result["load"]["overload"].update(overloaded=True))
    edited(copy, "result.json", lambda result: result["load"]["sending"].update(share_of_gap=0.02))
    sums_written(copy)
    found = wrong(verify(copy))
    assert any("there should be overloaded" in line for line in found)
    assert any("there should be sending_late" in line for line in found)
    assert any(line.startswith("differs: validity: the file says citable, derived not_citable") for line in found)


@pytest.mark.parametrize(
    ("start_s", "end_s", "counted"),
    [
        # Five tokens in four parts at 2, 3, 4 and 5 s: 1, 2, 4 and 5 of them by then, to even ones at halves.
        (0.0, 2.0, (0, 7, 1)),
        (2.0, 4.0, (0, 0, 3)),
        (4.0, 9.0, (1, 0, 1)),
        (0.0, 9.0, (1, 7, 5)),
        (5.0, 9.0, (0, 0, 0)),
    ],
)
def test_tokens_of_parts_are_spread_over_them(start_s: float, end_s: float, counted: tuple[int, int, int]) -> None:
    row = {
        "due_s": None, "sent_s": 1.0, "end_s": 5.0, "finish_reason": "stop", "input_tokens": 7, "output_tokens": 5,
        "token_times_s": None, "chunk_times_s": [1.0, 2.0, 3.0, 4.0],
    }  # fmt: skip
    assert inside(row, [5], start_s, end_s) == counted
