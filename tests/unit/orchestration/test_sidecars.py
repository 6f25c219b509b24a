"""The files beside a result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.testing import fake_process_result

PLAN = ExperimentPlan.of(ExperimentConfig(model="m"))


def raw_of(index: int, n_processes: int = 2, **fields: Any) -> RawProcessResult:
    """Process ``index``, which served request ``1 - index``: files are not to be in the order of processes."""
    raw = fake_process_result(PLAN)
    request = replace(raw.requests[0], index=1 - index, output_tokens=4 + index)
    sample = PowerThermalSample(timestamp=10.5, power_w=100.0 + index, gpu_index=index)
    shared = {"process_index": index, "n_processes": n_processes, "parallelism": "data"}
    return raw.model_copy(update={**shared, "requests": (request,), "samples": (sample,), **fields})


def test_of_several_processes_one_file_holds_all_requests_and_one_all_gpus(tmp_path: Path) -> None:
    files = write_sidecars(tmp_path, [raw_of(1), raw_of(0)])
    assert (files.timeseries, files.requests, files.outputs) == (
        "timeseries.parquet", "requests.parquet", "outputs.parquet",
    )  # fmt: skip
    assert files.warnings == ()
    requests = pq.read_table(tmp_path / "requests.parquet").to_pydict()
    assert (requests["index"], requests["output_tokens"]) == ([0, 1], [5, 4])
    # The window begins at 10 s, as do the requests, whose first token comes half a second later.
    assert (requests["sent_s"], requests["ttft_s"], requests["end_s"]) == ([0.0, 0.0], [0.5, 0.5], [2.0, 2.0])
    series = pq.read_table(tmp_path / "timeseries.parquet").to_pydict()
    assert (series["gpu_index"], series["power_w"]) == ([0, 1], [100.0, 101.0])
    # Half a second after the windows' start, which are 2 s long.
    metadata = pq.read_schema(tmp_path / "timeseries.parquet").metadata
    assert (metadata[b"window_start_s"], metadata[b"window_end_s"], metadata[b"covered_s"]) == (
        b"-0.5", b"1.5", b"[1.5, 1.5]",
    )  # fmt: skip
    assert pq.read_table(tmp_path / "outputs.parquet").to_pydict()["token_ids"] == [[1, 2, 3, 4], [1, 2, 3, 4]]


def test_tokens_that_no_engine_told_have_no_file_and_a_failed_request_is_a_row(tmp_path: Path) -> None:
    raw = raw_of(0, 1)
    told = raw.requests[0]
    failed = replace(told, index=7, output_tokens=0, output_ids=(), finish_reason="error", error="no room", end_s=None)
    assert write_sidecars(tmp_path, [raw.model_copy(update={"requests": (told, failed)})]).outputs is not None
    rows = pq.read_table(tmp_path / "requests.parquet").to_pylist()
    assert [(row["finish_reason"], row["error"]) for row in rows] == [("length", None), ("error", "no room")]
    untold = raw.model_copy(update={"requests": (replace(told, output_ids=()),)})
    assert write_sidecars(tmp_path, [untold]).outputs is None


def test_files_that_cannot_be_written_are_warnings(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    files = write_sidecars(tmp_path / "file", [raw_of(0, 1)])
    assert (files.timeseries, files.requests, files.outputs) == (None, None, None)
    assert [warning.flag for warning in files.warnings] == ["sidecar_not_written"] * 3


def test_a_file_that_cannot_be_written_costs_itself_and_not_the_others(tmp_path: Path) -> None:
    (tmp_path / "timeseries.parquet").mkdir()
    files = write_sidecars(tmp_path, [raw_of(0, 1)])
    assert (files.timeseries, files.requests) == (None, "requests.parquet")
    (warning,) = files.warnings
    assert warning.flag == "sidecar_not_written"
    assert "timeseries.parquet: " in warning.text
    assert {p.name for p in tmp_path.iterdir()} == {"timeseries.parquet", "requests.parquet", "outputs.parquet"}
