"""Tables as pyarrow and data frames have them, and as CSV and JSON."""

import csv
import importlib.util
import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.rows.frames import as_arrow, as_csv, as_json
from llenergymeasure.results.rows.table import ResultTable
from tests.unit.results.rows.test_table import row


@pytest.fixture
def study(raw_of: Callable[..., RawProcessResult]) -> StudyResult:
    """Two results of 4 tokens in 2 s, of other batch sizes; the second lies in a folder."""
    configs = [raw_of().effective_config | {"pytorch": {"batch_size": size}} for size in (1, 8)]
    results = [ExperimentResult.from_processes([raw_of(effective_config=config)]) for config in configs]
    now = datetime(2026, 1, 1, tzinfo=UTC)
    kept = [results[0], results[1].kept_in(Path("out/b"))]
    return StudyResult(name="s", start_time=now, end_time=now, experiments=kept, failures=[])


def test_a_study_is_a_table_with_a_row_for_each_result_in_types_that_say_the_unit(study: StudyResult) -> None:
    table = study.to_arrow()
    assert table.num_rows == 2
    assert table.column("pytorch.batch_size").to_pylist() == [1, 8]
    assert table.column("tokens_per_second").to_pylist() == [2.0, 2.0]
    assert table.column("total_energy_j").to_pylist() == [None, None]
    assert table.column("folder").to_pylist() == [None, "out/b"]
    assert table.column("start_time").to_pylist() == [datetime(2026, 1, 1, tzinfo=UTC)] * 2
    assert table.schema.field("total_energy_j").type == pa.float64()
    assert table.schema.field("total_energy_j").metadata[b"unit"] == b"J"
    assert table.schema.field("n_requests").type == pa.int64()


@pytest.mark.skipif(importlib.util.find_spec("pandas") is None, reason="pandas is not installed")
def test_a_study_is_a_data_frame(study: StudyResult) -> None:
    frame: Any = study.to_dataframe()
    assert list(frame["pytorch.batch_size"]) == [1, 8]
    assert frame["tokens_per_second"].mean() == 2.0


@pytest.mark.skipif(importlib.util.find_spec("polars") is not None, reason="polars is installed")
def test_a_library_that_is_not_there_is_named(study: StudyResult) -> None:
    with pytest.raises(ConfigError, match=r"polars is not installed.*to_arrow"):
        study.to_dataframe("polars")


def test_an_empty_study_is_an_empty_table() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    table = StudyResult(name="s", start_time=now, end_time=now, experiments=[], failures=[]).to_arrow()
    assert (table.num_rows, "total_energy_j" in table.column_names) == (0, True)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, 2, None], pa.int64(), [1, 2, None]),
        ([1, 0.5], pa.float64(), [1.0, 0.5]),
        ([True, False], pa.bool_(), [True, False]),
        (["a", None], pa.string(), ["a", None]),
        ([True, 1], pa.string(), ["true", "1"]),
        (["1", 1], pa.string(), ['"1"', "1"]),
        ([[1], None], pa.string(), ["[1]", None]),
        ([2**70, 1], pa.string(), [str(2**70), "1"]),
        ([2**60 + 1, 0.5], pa.string(), [str(2**60 + 1), "0.5"]),
    ],
)
def test_settings_have_the_type_of_all_their_values_or_are_texts(
    values: list[Any], kind: pa.DataType, expected: list[Any]
) -> None:
    table = ResultTable([row(str(place), settings={"x": value}) for place, value in enumerate(values)])
    column = as_arrow(table, ["x"]).column("x")
    assert (column.type, column.to_pylist()) == (kind, expected)


def test_a_figure_that_is_larger_than_any_of_its_type_is_refused() -> None:
    with pytest.raises(ConfigError, match="output_tokens: a result has a value that is no int64"):
        as_arrow(ResultTable([row("a", output_tokens=2**70)]), ["output_tokens"])


def test_a_time_without_a_zone_is_in_utc() -> None:
    times = ["2026-01-01T00:00:00", "2026-01-01T02:00:00+02:00"]
    table = ResultTable([row(time, start_time=time) for time in times])
    assert as_arrow(table, ["start_time"]).column(0).to_pylist() == [datetime(2026, 1, 1, tzinfo=UTC)] * 2


def test_csv_and_json_have_exact_values() -> None:
    rows = [row("=1+1", settings={"x": 0.1 + 0.2}), row("b,\n", settings={"x": None}, total_energy_j=-1.5)]
    table, names = ResultTable(rows), ["name", "x", "total_energy_j"]
    assert list(csv.reader(io.StringIO(as_csv(table, names), newline=""))) == [
        names,
        ["'=1+1", "0.30000000000000004", ""],
        ["b,\n", "", "-1.5"],
    ]
    assert json.loads(as_json(table, names)) == [
        {"name": "=1+1", "x": 0.30000000000000004, "total_energy_j": None},
        {"name": "b,\n", "x": None, "total_energy_j": -1.5},
    ]
