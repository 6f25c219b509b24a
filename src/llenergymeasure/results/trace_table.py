"""The table of what sensors read, beside a result."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from llenergymeasure._files import written_atomically
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.trace import DeviceTrace, Reading


def write_trace_parquet(raws: Sequence[RawProcessResult], output_path: str | Path) -> Path:
    """Write a row for each reading of each sensor of [n] processes, as they were read.

    ``time_s``, ``began_s`` and ``ended_s`` are seconds of the measurement's monotonic clock, which all processes have;
    ``value`` is in watts, or joules where ``what`` is ``counter``, and null where the reading failed. The file's
    metadata have, as JSON, ``windows``: of each process, device and sensor the window that was measured and what is
    known of its readings; and ``clock``: of each process the moments of the same clock between which it measured, and
    the UTC time of the first of them.

    Raises:
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    traces = [(raw, trace) for raw in raws if raw.energy is not None for trace in raw.energy.trace]
    metadata = {
        "windows": json.dumps([_window(raw, trace) for raw, trace in traces]),
        "clock": json.dumps([_clock(raw) for raw in raws]),
    }
    schema = pa.schema(
        [
            ("process", pa.int32()),
            ("device", pa.string()),
            ("sensor", pa.string()),
            ("what", pa.string()),
            ("time_s", pa.float64()),
            ("began_s", pa.float64()),
            ("ended_s", pa.float64()),
            ("value", pa.float64()),
        ],
        metadata=metadata,
    )
    batches = [
        pa.record_batch(columns, schema=schema) for raw, trace in traces for columns in _columns(raw, trace, schema)
    ]
    path = Path(output_path)
    with written_atomically(path) as aside:
        pq.write_table(pa.Table.from_batches(batches, schema=schema), aside, compression="zstd")
    return path


def _columns(raw: RawProcessResult, trace: DeviceTrace, schema: Any) -> Iterator[list[Any]]:
    """A column for each field of the schema, for each kind of readings."""
    import pyarrow as pa

    for kind in trace.readings:
        n = len(kind.reads)
        columns = {
            "process": [raw.process_index] * n,
            "device": [trace.device] * n,
            "sensor": [trace.sensor] * n,
            "what": [kind.kind] * n,
            **{name: [getattr(read, name) for read in kind.reads] for name in Reading._fields},
        }
        yield [pa.array(columns[field.name], type=field.type) for field in schema]


def _window(raw: RawProcessResult, trace: DeviceTrace) -> dict[str, Any]:
    return {
        "process": raw.process_index,
        "device": trace.device,
        "sensor": trace.sensor,
        "start_s": trace.start_s,
        "end_s": trace.end_s,
        "facts": trace.facts,
    }


def _clock(raw: RawProcessResult) -> dict[str, Any]:
    return {
        "process": raw.process_index,
        "window_start_s": raw.window_start_s,
        "window_end_s": raw.window_end_s,
        "start_time": raw.start_time.isoformat(),
    }
