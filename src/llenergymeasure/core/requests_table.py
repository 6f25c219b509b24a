"""The per-request table beside a result."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure.domain.inference import RequestOutput


def write_requests_parquet(requests: Sequence[RequestOutput], output_path: str | Path) -> Path:
    """Write one row per request, in the order of ``index``.

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
        ]
    )
    rows = [
        {name: getattr(request, name) for name in schema.names} for request in sorted(requests, key=lambda r: r.index)
    ]
    path = Path(output_path)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path
