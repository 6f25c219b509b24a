"""The tables beside a result: its requests, and the tokens they produced."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure._files import written_atomically
from llenergymeasure.domain.inference import RequestOutput

TIMESERIES_FILE = "timeseries.parquet"
REQUESTS_FILE = "requests.parquet"
OUTPUTS_FILE = "outputs.parquet"
TRACE_FILE = "trace.parquet"


def write_requests_parquet(requests: Sequence[RequestOutput], output_path: str | Path, window_start_s: float) -> Path:
    """Write one row per request, in the order of ``index``.

    ``ttft_s``, ``e2e_s``, ``token_times_s`` and ``chunk_times_s`` count from the request's own beginning; ``due_s``,
    ``sent_s`` and ``end_s`` from that of the measured window, so that rows can be laid over the time series. What was
    not told is null.

    Args:
        requests: [n] requests.
        output_path: the file.
        window_start_s: start of the window on the clock of the requests.

    Raises:
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("index", pa.int64()),
            ("input_tokens", pa.int64()),
            ("output_tokens", pa.int64()),
            ("ttft_s", pa.float64()),
            ("e2e_s", pa.float64()),
            ("finish_reason", pa.string()),
            ("output_digest", pa.string()),
            ("input_digest", pa.string()),
            ("batch", pa.int64()),
            ("token_times_s", pa.list_(pa.float64())),
            ("due_s", pa.float64()),
            ("sent_s", pa.float64()),
            ("end_s", pa.float64()),
            ("error", pa.string()),
            ("error_kind", pa.string()),
            ("ttft_from_sending_s", pa.float64()),
            ("cached_tokens", pa.int64()),
            ("counted_by", pa.string()),
            ("chunk_times_s", pa.list_(pa.float64())),
        ]
    )

    def since_the_window(time_s: float | None) -> float | None:
        return None if time_s is None else time_s - window_start_s

    rows = [
        {name: getattr(request, name) for name in schema.names}
        | {
            "token_times_s": request.latencies_s,
            "chunk_times_s": request.chunk_latencies_s,
            "due_s": since_the_window(request.due_s),
            "sent_s": since_the_window(request.sent_s),
            "end_s": since_the_window(request.end_s),
        }
        for request in sorted(requests, key=lambda r: r.index)
    ]
    path = Path(output_path)
    with written_atomically(path) as aside:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), aside)
    return path


def write_outputs_parquet(requests: Sequence[RequestOutput], output_path: str | Path) -> Path:
    """Write one row per answer, in the order of ``index``: ``index``, ``answer``, ``token_ids``.

    Raises:
        OSError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("index", pa.int64()), ("answer", pa.int32()), ("token_ids", pa.list_(pa.int32()))])
    rows = [
        {"index": request.index, "answer": answer, "token_ids": list(ids)}
        for request in sorted(requests, key=lambda r: r.index)
        for answer, ids in enumerate(request.output_ids)
    ]
    path = Path(output_path)
    with written_atomically(path) as aside:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), aside)
    return path
