"""The table of what sensors read."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, only_gpus
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.trace import DeviceTrace, Reading, Readings
from llenergymeasure.results.trace_table import write_trace_parquet

POWER = Readings(kind="power", reads=(Reading(10.0, 300.0), Reading(10.1, None)))
COUNTER = Readings(kind="counter", reads=(Reading.between(9.0, 9.5, 7.0),))
TRACE = DeviceTrace(
    device="GPU-0", sensor="nvml", start_s=10.0, end_s=12.0, facts={"power_lag_s": 0.1}, readings=(POWER, COUNTER)
)


def measured(*traces: DeviceTrace) -> EnergyMeasurement:
    rows = tuple(DeviceEnergy(device=t.device, kind="gpu", energy_j=5.0, source="counter") for t in traces)
    return EnergyMeasurement(5.0 * len(rows), 2.0, 2, devices=rows, trace=traces)


def test_a_row_is_a_reading_as_it_was_read(raw_of: Callable[..., RawProcessResult], tmp_path: Path) -> None:
    table = pq.read_table(write_trace_parquet([raw_of(energy=measured(TRACE))], tmp_path / "t.parquet"))
    common = {"process": 0, "device": "GPU-0", "sensor": "nvml"}
    assert table.to_pylist() == [
        {**common, "what": "power", "time_s": 10.0, "began_s": None, "ended_s": None, "value": 300.0},
        {**common, "what": "power", "time_s": 10.1, "began_s": None, "ended_s": None, "value": None},
        # Stamped in the middle of the read.
        {**common, "what": "counter", "time_s": 9.25, "began_s": 9.0, "ended_s": 9.5, "value": 7.0},
    ]
    window = {**{k: common[k] for k in common}, "start_s": 10.0, "end_s": 12.0, "facts": {"power_lag_s": 0.1}}
    assert json.loads(table.schema.metadata[b"windows"]) == [window]
    (clock,) = json.loads(table.schema.metadata[b"clock"])
    assert (clock["process"], clock["window_start_s"], clock["window_end_s"]) == (0, 10.0, 12.0)
    assert {column.compression for column in _columns(tmp_path / "t.parquet")} == {"ZSTD"}


def _columns(path: Path) -> list[pq.ColumnChunkMetaData]:
    group = pq.ParquetFile(path).metadata.row_group(0)
    return [group.column(number) for number in range(group.num_columns)]


def test_readings_of_gpus_that_are_not_in_use_go_with_their_rows() -> None:
    other = replace(TRACE, device="GPU-1")
    assert only_gpus(measured(TRACE, other), ["GPU-1"]).trace == (other,)
