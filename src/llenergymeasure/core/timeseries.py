"""The one-second time series beside a result."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from llenergymeasure._files import written_atomically
from llenergymeasure.domain.telemetry import PowerThermalSample

_MEANS = {
    "power_w": "power_w",
    "temperature_c": "temperature_c",
    "memory_used_mb": "memory_used_mb",
    "memory_total_mb": "memory_total_mb",
    "sm_utilisation_pct": "sm_utilisation",
}


def write_timeseries_parquet(
    samples: Sequence[PowerThermalSample], output_path: str | Path, gpu_index: int = 0
) -> Path:
    """Write samples as one row per GPU and second; the folder is made if there is none.

    Args:
        samples: [n] samples; seconds count from the first of them.
        output_path: the file.
        gpu_index: for samples that name no GPU themselves.

    Returns:
        The path written. Values are means over the second, throttle bits are OR-ed, a second without
        samples has no row, a value that was never read is null.

    Raises:
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            pa.field("timestamp_s", pa.float64()),
            pa.field("gpu_index", pa.int32()),
            *(pa.field(column, pa.float32(), nullable=True) for column in _MEANS),
            pa.field("throttle_reasons", pa.int64()),
        ]
    )
    buckets: dict[tuple[int, int], list[PowerThermalSample]] = {}
    first = min((s.timestamp for s in samples), default=0.0)
    for sample in samples:
        index = gpu_index if sample.gpu_index is None else sample.gpu_index
        buckets.setdefault((int(sample.timestamp - first), index), []).append(sample)
    rows = [_row(second, index, group) for (second, index), group in sorted(buckets.items())]
    path = Path(output_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as aside:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), aside)
    return path


def _row(second: int, index: int, group: Sequence[PowerThermalSample]) -> dict[str, float | int | None]:
    reasons: int | None = None
    for sample in group:
        if sample.throttle_reasons is not None:
            reasons = (reasons or 0) | sample.throttle_reasons
    means = {column: _mean(getattr(s, name) for s in group) for column, name in _MEANS.items()}
    return {"timestamp_s": float(second), "gpu_index": index, **means, "throttle_reasons": reasons}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None
