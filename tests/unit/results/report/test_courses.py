"""A run over time, from tables that were written by hand."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.report.courses import MOST_POINTS, course_of
from tests.fakes.studies import of_batches, plan_of, result_of


@pytest.fixture
def run() -> ExperimentResult:
    """A run whose window has 2 s."""
    plan = plan_of(of_batches(1))
    return result_of(plan, plan.slots[0])


def write_trace(folder: Path, rows: list[tuple[str, float, float | None]], start_s: float = 100.0) -> None:
    """Readings of one sensor: kind, time and value."""
    table = pa.table({
        "process": pa.array([0] * len(rows), pa.int32()), "device": ["GPU-0"] * len(rows),
        "sensor": ["nvml"] * len(rows), "what": [what for what, _, _ in rows], "time_s": [time for _, time, _ in rows],
        "value": pa.array([value for *_, value in rows], pa.float64()),
    })  # fmt: skip
    clock = json.dumps([{"process": 0, "window_start_s": start_s, "window_end_s": start_s + 2}])
    pq.write_table(table.replace_schema_metadata({"clock": clock, "windows": "[]"}), folder / "trace.parquet")


def write_requests(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Requests with the columns that a course needs."""
    pq.write_table(pa.Table.from_pylist(rows), folder / "requests.parquet")


def test_power_counts_from_the_beginning_of_the_window_and_failed_reads_are_told(
    run: ExperimentResult, tmp_path: Path
) -> None:
    write_trace(
        tmp_path, [("power", 99.5, 60.0), ("power", 100.0, 61.0), ("power", 101.0, None), ("limit", 100.0, 700.0)]
    )
    course = course_of(run, tmp_path)
    (power,) = course["power"]
    assert (power["t"], power["y"], power["n"]) == ([-0.5, 0.0], [60.0, 61.0], 2)
    assert power["label"] == "GPU-0, nvml (as read)"
    assert "1 readings failed and are left out" in course["notes"]
    assert course["window_s"] == 2.0


def test_a_counter_is_drawn_as_power_where_nothing_else_was_read(run: ExperimentResult, tmp_path: Path) -> None:
    write_trace(tmp_path, [("counter", 100.0, 1000.0), ("counter", 102.0, 1100.0)])
    (power,) = course_of(run, tmp_path)["power"]
    # 100 J in 2 s.
    assert (power["t"], power["y"]) == ([1.0], [50.0])


def test_many_readings_are_thinned_and_say_how_many_they_were(run: ExperimentResult, tmp_path: Path) -> None:
    n = 5 * MOST_POINTS
    write_trace(tmp_path, [("power", 100.0 + at / 1000, 900.0 if at == 1234 else 50.0) for at in range(n)])
    (power,) = course_of(run, tmp_path)["power"]
    assert (power["n"], max(power["y"])) == (n, 900.0)
    assert len(power["t"]) <= MOST_POINTS


def test_tokens_per_second_and_the_time_before_the_first_token(run: ExperimentResult, tmp_path: Path) -> None:
    # Two requests beside each other; the first has two answers, so 4 tokens come at two moments.
    write_requests(tmp_path, [
        {"output_tokens": 4, "ttft_s": 0.5, "token_times_s": [0.5, 1.0], "due_s": None, "sent_s": 0.0},
        {"output_tokens": 1, "ttft_s": 0.8, "token_times_s": [0.8], "due_s": 0.2, "sent_s": 0.3},
        {"output_tokens": 0, "ttft_s": None, "token_times_s": [], "due_s": None, "sent_s": None},
    ])  # fmt: skip
    course = course_of(run, tmp_path)
    (tokens,) = course["tokens"]
    # 200 parts of 10 ms; what came is their sum times their length: 5 tokens.
    assert sum(tokens["y"]) * 0.01 == pytest.approx(5.0)
    assert tokens["y"][50] == pytest.approx(200.0)
    assert course["prefill"] == [[0.0, 1.0]]
    assert "1 requests tell no times of their tokens" in course["notes"]


def test_temperature_and_power_of_each_second(run: ExperimentResult, tmp_path: Path) -> None:
    table = pa.table({
        "timestamp_s": [0.0, 1.0], "gpu_index": pa.array([0, 0], pa.int32()),
        "temperature_c": pa.array([40.0, None], pa.float32()), "power_w": pa.array([300.0, 310.0], pa.float32()),
    })  # fmt: skip
    pq.write_table(table.replace_schema_metadata({"window_start_s": "0.25"}), tmp_path / "timeseries.parquet")
    course = course_of(run, tmp_path)
    # The middle of a second, from the beginning of the window.
    assert [(each["t"], each["y"]) for each in course["temperature"]] == [([0.25], [40.0])]
    assert [(each["t"], each["y"]) for each in course["power"]] == [([0.25, 1.25], [300.0, 310.0])]


def test_what_is_not_there_or_damaged_is_told_and_the_rest_is_shown(run: ExperimentResult, tmp_path: Path) -> None:
    (tmp_path / "trace.parquet").write_bytes(b"no table")
    write_requests(
        tmp_path, [{"output_tokens": 1, "ttft_s": 0.1, "token_times_s": [0.1], "due_s": None, "sent_s": 0.0}]
    )
    course = course_of(run, tmp_path)
    assert course["tokens"]
    assert any(note.startswith("trace.parquet cannot be read") for note in course["notes"])
    assert "timeseries.parquet is not there" in course["notes"]
