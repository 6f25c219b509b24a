"""The one-second time series beside a result."""

import json
from collections.abc import Iterable, Mapping, Sequence
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
    samples: Sequence[PowerThermalSample],
    output_path: str | Path,
    gpu_index: int = 0,
    *,
    windows_s: Mapping[int, tuple[float, float]] | None = None,
) -> Path:
    """Write samples as one row per GPU and second; the folder is made if there is none.

    Args:
        samples: [n] samples; seconds count from the first of them.
        output_path: the file.
        gpu_index: for samples that name no GPU themselves.
        windows_s: start and end of the measured window of each GPU by its index, on the samples' clock; of one that is
            not among them it is from its first to its last sample.

    Returns:
        The path written. Values are means over the second, throttle bits are OR-ed, a second without
        samples has no row, a value that was never read is null. The file's metadata have, in seconds as
        ``timestamp_s`` counts them, ``window_start_s`` and ``window_end_s``, and as JSON lists with an item for each
        row ``covered_s``, how much of the window the row stands for, and ``power_samples``, how many readings its
        power is the mean of. So power times ``covered_s``, summed, is the energy of
        the seconds that have a row.

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
    # Seconds of a bucket are counted from here.
    first = min((s.timestamp for s in samples), default=0.0)
    for sample in samples:
        index = gpu_index if sample.gpu_index is None else sample.gpu_index
        buckets.setdefault((int(sample.timestamp - first), index), []).append(sample)
    grouped = sorted(buckets.items())
    rows = [_row(second, index, group) for (second, index), group in grouped]
    windows = {index: (start - first, end - first) for index, (start, end) in (windows_s or {}).items()}
    metadata = _metadata(grouped, {**_seen(grouped, first), **windows})
    path = Path(output_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path) as aside:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.with_metadata(metadata)), aside)
    return path


def _seen(
    buckets: Iterable[tuple[tuple[int, int], Sequence[PowerThermalSample]]], first: float
) -> dict[int, tuple[float, float]]:
    """From the first to the last sample of each GPU, counted from the first of all."""
    seen: dict[int, tuple[float, float]] = {}
    for (_, index), group in buckets:
        times = [sample.timestamp - first for sample in group]
        start, end = seen.get(index, (times[0], times[0]))
        seen[index] = min(start, *times), max(end, *times)
    return seen


def _metadata(
    buckets: Sequence[tuple[tuple[int, int], Sequence[PowerThermalSample]]],
    windows: Mapping[int, tuple[float, float]],
) -> dict[str, str]:
    """What of the window each of [n] buckets of a second and a GPU stands for.

    The window begins before its first sample, and ends after its last one: the first bucket of a GPU reaches back to
    the start, and one beyond the end counts for nothing.
    """
    begun: set[int] = set()
    covered = []
    for (second, index), _ in buckets:
        start, end = windows[index]
        from_s = start if index not in begun else max(start, second)
        begun.add(index)
        covered.append(round(max(0.0, min(end, second + 1) - from_s), 9))
    readings = [sum(sample.power_w is not None for sample in group) for _, group in buckets]
    ends = [*windows.values()]
    return {
        "window_start_s": repr(min((start for start, _ in ends), default=0.0)),
        "window_end_s": repr(max((end for _, end in ends), default=0.0)),
        "covered_s": json.dumps(covered),
        "power_samples": json.dumps(readings),
    }


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
