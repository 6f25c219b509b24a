"""Figures of a load, derived again by code of its own; and every edit of one, with sums made anew, is found."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.results.verification.load_energy import _course
from llenergymeasure.results.verification.requests import inside
from llenergymeasure.results.verification.verify import verify
from tests.fakes.damages import sums_written
from tests.unit.results.verification.test_against_hand import FACTS, readings, series, ticking
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


def joules(row: dict[str, Any], *parts: tuple[float, float], **read: Any) -> list[float | None]:
    """Joules of parts by readings around 10 to 20 s."""
    found = _course({"energy_j": 1.0, "uncertainty_parts_j": None, **row}, readings(**read))
    assert found is not None
    return [found[0](*part) for part in parts]


@pytest.mark.parametrize("offset_s", [0.0, 0.03, 0.09])
def test_a_counter_rises_between_its_ticks(offset_s: float) -> None:
    counter = ticking(250.0, 0.1, offset_s)
    facts = {**FACTS, "counter_update_s": 0.1}
    parts = joules({"source": "counter"}, (10.0, 12.0), (12.0, 15.3), (10.0, 20.0), counter=counter, facts=facts)
    # Between the edges a tick is dated to a tenth of a second: 250 W for half of it.
    assert parts == pytest.approx([500.0, 825.0, 2500.0], abs=12.5)


def test_a_counter_that_goes_round_or_is_read_wrongly_goes_on() -> None:
    # 100 W, looked at once a second; it goes round after 1,000 J, and one read is of nothing that can be.
    times = np.arange(10.0, 21.0)
    shown = (700 + 100 * (times - 10)) % 1000.0
    shown[4] = 990.0
    facts = {"counter_update_s": 0.001, "range_j": 1000.0, "ceiling_w": 500.0}
    parts = joules({"source": "counter"}, (11.0, 18.0), (16.0, 20.0), counter=series(times, shown), facts=facts)
    assert parts == pytest.approx([700.0, 400.0], abs=0.3)


def test_power_is_moved_back_by_its_lag_and_a_gap_has_no_joules() -> None:
    times = np.arange(9.0, 22.0, 0.1)
    # 100 W until 15 s and 300 W after, told half a second later.
    watts = np.where(times - 0.5 < 15.0 - 1e-9, 100.0, 300.0)
    facts = {**FACTS, "power_lag_s": 0.5}
    power = {"source": "integrated"}
    assert joules(power, (14.0, 16.0), power=series(times, watts), facts=facts) == pytest.approx([410.0])
    gap = np.where((times > 12.0) & (times < 15.0), np.nan, watts)
    found = joules(power, (11.0, 14.0), (16.0, 18.0), power=series(times, gap), facts=facts)
    assert found[0] is None
    assert found[1] == pytest.approx(600.0)


def test_the_cards_own_average_is_of_the_middle_of_its_second() -> None:
    times = np.arange(9.0, 22.0, 0.1)
    facts = {**FACTS, "average_window_s": 1.0, "average_update_s": 0.1, "average_lag_s": 0.0}
    row = {"source": "integrated", "uncertainty_parts_j": {"averaging": 1.0}}
    # Read at t it is of t - 0.55 s.
    assert joules(row, (11.0, 13.0), average=series(times, 100 * times), facts=facts) == pytest.approx([2510.0])
