"""The tokens that were produced, in a table beside a result."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure.domain.inference import RequestOutput


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
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
    return path
