"""The time series file."""

import json
from collections.abc import Callable
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.core.timeseries import write_timeseries_parquet
from llenergymeasure.domain.telemetry import PowerThermalSample
from tests.fakes.effort import examples

SCHEMA = {
    "timestamp_s": pa.float64(),
    "gpu_index": pa.int32(),
    "power_w": pa.float32(),
    "temperature_c": pa.float32(),
    "memory_used_mb": pa.float32(),
    "memory_total_mb": pa.float32(),
    "sm_utilisation_pct": pa.float32(),
    "throttle_reasons": pa.int64(),
}


def _rows(samples: list[PowerThermalSample], path: Path, **kwargs: Any) -> list[dict[str, Any]]:
    assert write_timeseries_parquet(samples, path, **kwargs) == path
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


@pytest.mark.parametrize("samples", [[], [PowerThermalSample(3.0)]])
def test_columns_and_types_are_locked_with_and_without_samples(
    tmp_path: Path, samples: list[PowerThermalSample]
) -> None:
    table = pq.read_table(write_timeseries_parquet(samples, tmp_path / "t.parquet"))
    assert {f.name: f.type for f in table.schema} == SCHEMA
    assert table.column_names == list(SCHEMA)
    assert all(table.schema.field(name).nullable for name, kind in SCHEMA.items() if kind == pa.float32())
    assert table.num_rows == len(samples)


def test_a_second_is_counted_from_the_first_sample_and_an_empty_one_has_no_row(tmp_path: Path) -> None:
    samples = [
        PowerThermalSample(10.25, 100.0, 40.0, 2000.0, 80_000.0, 10.0),
        PowerThermalSample(10.75, None, 41.0, 3000.0, 80_000.0, 20.0),
        PowerThermalSample(11.125, 200.0, 45.0, 4000.0, 80_000.0, 90.0),
        PowerThermalSample(11.25, 300.0),
        PowerThermalSample(13.5, 400.0),
    ]
    rows = _rows(samples, tmp_path / "t.parquet")
    assert [(r["timestamp_s"], r["power_w"], r["temperature_c"]) for r in rows] == [
        (0.0, 150.0, 42.0),
        (1.0, 300.0, None),
        (3.0, 400.0, None),
    ]
    assert rows[0]["memory_used_mb"] == 3000.0
    assert rows[0]["memory_total_mb"] == 80_000.0
    assert rows[0]["sm_utilisation_pct"] == 40.0


def test_throttle_bits_are_ored(tmp_path: Path) -> None:
    samples = [PowerThermalSample(i / 4, throttle_reasons=bits) for i, bits in enumerate((0x4, 0x20, 0x4, 0x0, 0x80))]
    assert [r["throttle_reasons"] for r in _rows(samples, tmp_path / "t.parquet")] == [0x24, 0x80]


def test_each_gpu_has_its_row_and_a_samples_own_index_goes_before_the_argument(tmp_path: Path) -> None:
    samples = [
        PowerThermalSample(0.0, 100.0, gpu_index=1),
        PowerThermalSample(0.1, 50.0, gpu_index=0),
        PowerThermalSample(0.2, 300.0, gpu_index=1),
        PowerThermalSample(0.3, 7.0),
        PowerThermalSample(1.0, 60.0, gpu_index=0),
    ]
    rows = _rows(samples, tmp_path / "t.parquet", gpu_index=5)
    assert [(r["timestamp_s"], r["gpu_index"], r["power_w"]) for r in rows] == [
        (0.0, 0, 50.0),
        (0.0, 1, 200.0),
        (0.0, 5, 7.0),
        (1.0, 0, 60.0),
    ]


def test_samples_that_name_no_gpu_are_of_gpu_0_unless_told(tmp_path: Path) -> None:
    assert [r["gpu_index"] for r in _rows([PowerThermalSample(0.0)], tmp_path / "t.parquet")] == [0]


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "t.parquet"
    assert write_timeseries_parquet([], path) == path
    assert path.is_file()


def test_what_cannot_be_written_is_an_oserror(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_timeseries_parquet([], tmp_path / "file" / "t.parquet")


@settings(max_examples=examples(40))
@given(
    st.lists(
        st.builds(
            PowerThermalSample,
            timestamp=st.integers(0, 40).map(lambda quarter: 1000 + quarter / 4),
            power_w=st.none() | st.integers(0, 1000).map(float),
            throttle_reasons=st.sampled_from([0, 0x4, 0x20, 0x40, 0x80]),
            gpu_index=st.integers(0, 2),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_rows_hold_what_the_samples_held(
    tmp_path_factory: pytest.TempPathFactory, samples: list[PowerThermalSample]
) -> None:
    rows = _rows(samples, tmp_path_factory.mktemp("t") / "t.parquet")
    first = min(s.timestamp for s in samples)
    keys = [(r["timestamp_s"], r["gpu_index"]) for r in rows]
    assert keys == sorted({((s.timestamp - first) // 1, s.gpu_index) for s in samples})
    assert reduce(or_, (r["throttle_reasons"] for r in rows)) == reduce(or_, (s.throttle_reasons for s in samples))
    powers = [s.power_w for s in samples if s.power_w is not None]
    means = [r["power_w"] for r in rows if r["power_w"] is not None]
    assert bool(means) == bool(powers)
    assert all(min(powers) <= mean <= max(powers) for mean in means)


def _recomputed_j(path: Path, gpu_index: int = 0) -> float:
    """Energy of a GPU from the file alone, as docs/metrics.md says."""
    table = pq.read_table(path)
    covered_s = json.loads(table.schema.metadata[b"covered_s"])
    return float(
        sum(
            row["power_w"] * seconds
            for row, seconds in zip(table.to_pylist(), covered_s, strict=True)
            if row["gpu_index"] == gpu_index
        )
    )


def _steps_w(time_s: float) -> float:
    """380 W for 1.7 s, 80 W for 1.3 s."""
    return 380.0 if time_s % 3.0 < 1.7 else 80.0


@pytest.mark.parametrize("offset_s", [0.0, 0.03, 0.097])
@pytest.mark.parametrize("seconds", [10.9, 24.35, 60.05])
@pytest.mark.parametrize("power_w", [lambda _: 300.0, _steps_w], ids=["constant", "steps"])
def test_energy_comes_out_of_the_file_alone(
    tmp_path: Path, power_w: Callable[[float], float], seconds: float, offset_s: float
) -> None:
    start_s = 1000.0
    truth_j = float(np.mean([power_w(t) for t in np.arange(0, seconds, 1e-4)])) * seconds
    samples = [
        PowerThermalSample(start_s + t, power_w(t), gpu_index=3) for t in np.arange(offset_s, seconds, 0.1).tolist()
    ]
    path = tmp_path / "t.parquet"
    write_timeseries_parquet(samples, path, windows_s={3: (start_s, start_s + seconds)})
    assert _recomputed_j(path, 3) == pytest.approx(truth_j, rel=0.01)
    metadata = pq.read_schema(path).metadata
    assert float(metadata[b"window_start_s"]) == pytest.approx(-offset_s)
    assert float(metadata[b"window_end_s"]) == pytest.approx(seconds - offset_s)
    assert sum(json.loads(metadata[b"power_samples"])) == len(samples)


def test_each_gpu_has_the_cover_of_its_own_window(tmp_path: Path) -> None:
    samples = [PowerThermalSample(10.0 + t / 4, 100.0, gpu_index=0) for t in range(10)]
    samples += [PowerThermalSample(10.5 + t / 4, 200.0, gpu_index=1) for t in range(4)]
    path = tmp_path / "t.parquet"
    write_timeseries_parquet(samples, path, windows_s={0: (9.875, 12.5), 1: (10.25, 11.5)})
    metadata = pq.read_schema(path).metadata
    # Rows: second 0 of both GPUs, second 1 of both, second 2 of GPU 0.
    assert json.loads(metadata[b"covered_s"]) == [1.125, 0.75, 1.0, 0.5, 0.5]
    assert json.loads(metadata[b"power_samples"]) == [4, 2, 4, 2, 2]
    assert (_recomputed_j(path, 0), _recomputed_j(path, 1)) == (262.5, 250.0)
    assert (metadata[b"window_start_s"], metadata[b"window_end_s"]) == (b"-0.125", b"2.5")


def test_without_a_window_it_is_from_the_first_to_the_last_sample(tmp_path: Path) -> None:
    path = write_timeseries_parquet([PowerThermalSample(5.0 + t / 2, 100.0) for t in range(4)], tmp_path / "t.parquet")
    assert json.loads(pq.read_schema(path).metadata[b"covered_s"]) == [1.0, 0.5]
    empty = pq.read_schema(write_timeseries_parquet([], tmp_path / "e.parquet")).metadata
    assert (empty[b"window_start_s"], empty[b"window_end_s"], empty[b"covered_s"]) == (b"0.0", b"0.0", b"[]")
