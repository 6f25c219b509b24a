"""The tables beside a result, with the columns that they are to have and nothing in them that cannot be."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from llenergymeasure.results.verification.bundle import Bundle
from llenergymeasure.results.verification.findings import DamageError

Row = dict[str, Any]
REQUESTS: Mapping[str, str] = {
    "index": "int64",
    "input_tokens": "int64",
    "output_tokens": "int64",
    "ttft_s": "double",
    "e2e_s": "double",
    "finish_reason": "string",
    "output_digest": "string",
}
# What earlier revisions do not have.
REQUESTS_SINCE: Mapping[str, str] = {
    "input_digest": "string",
    "batch": "int64",
    "token_times_s": "list<element: double>",
    "due_s": "double",
    "sent_s": "double",
    "end_s": "double",
    "error": "string",
    "error_kind": "string",
    "ttft_from_sending_s": "double",
    "cached_tokens": "int64",
    "counted_by": "string",
    "chunk_times_s": "list<element: double>",
}
OUTPUTS: Mapping[str, str] = {"index": "int64", "answer": "int32", "token_ids": "list<element: int32>"}
TRACE: Mapping[str, str] = {
    "process": "int32",
    "device": "string",
    "sensor": "string",
    "what": "string",
    "time_s": "double",
    "began_s": "double",
    "ended_s": "double",
    "value": "double",
}
TIMESERIES: Mapping[str, str] = {
    "timestamp_s": "double",
    "gpu_index": "int32",
    "power_w": "float",
    "temperature_c": "float",
    "memory_used_mb": "float",
    "memory_total_mb": "float",
    "sm_utilisation_pct": "float",
    "throttle_reasons": "int64",
}
_NEVER_NULL = {"index", "input_tokens", "output_tokens", "finish_reason", "output_digest", "answer", "token_ids",
               "process", "device", "sensor", "what", "time_s", "timestamp_s", "gpu_index"}  # fmt: skip
_MOST_ROWS = 200_000_000


class Table:
    """A Parquet file of known columns."""

    def __init__(self, bundle: Bundle, name: str, columns: Mapping[str, str], since: Mapping[str, str] = {}) -> None:
        """Read it.

        Args:
            bundle: the files.
            name: the file.
            columns: what it has, with the kind of each.
            since: what it has where it was not written by an early version.

        Raises:
            DamageError: it is no such table.
        """
        content = bundle.content(name)
        if not content:
            raise DamageError("it is empty")
        self._table = _parsed(content)
        kinds = {field.name: _kind(field.type) for field in self._table.schema}
        for column, kind in {**columns, **since}.items():
            if column not in kinds:
                if column in columns:
                    raise DamageError(f"it has no column {column}")
                continue
            if kinds[column] != kind:
                raise DamageError(f"its column {column} is of {kinds[column]}, and {kind} is what it should be of")
            _check_values(self._table.column(column), column, kind)
        self.metadata = {
            key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for key, value in (self._table.schema.metadata or {}).items()
        }
        self.names = frozenset(kinds)

    def rows(self) -> list[Row]:
        """All rows."""
        found: list[Row] = self._table.to_pylist()
        return found

    def column(self, name: str) -> list[Any]:
        """The values of a column, None where there is none."""
        found: list[Any] = self._table.column(name).to_pylist()
        return found

    def numbers(self, name: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """The values of a column of numbers, NaN where there is none."""
        values = self._table.column(name).to_numpy(zero_copy_only=False)
        return np.array([np.nan if v is None else v for v in values], dtype=float)


def _parsed(content: bytes) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        if file.metadata.num_rows > _MOST_ROWS:
            raise DamageError(f"it says that it has {file.metadata.num_rows} rows")
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError, MemoryError, UnicodeDecodeError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DamageError(f"it is no Parquet file, or torn: {first[:80]}") from None
    return table


def _kind(kind: Any) -> str:
    # Which name an inner column has is the writing library's choice.
    return str(kind).replace("list<item:", "list<element:")


def _check_values(column: Any, name: str, kind: str) -> None:
    import pyarrow.compute as pc

    if name in _NEVER_NULL and column.null_count:
        raise DamageError(f"its column {name} has {column.null_count} rows without a value")
    if kind in ("double", "float", "list<element: double>"):
        values = column.combine_chunks().flatten() if kind.startswith("list") else column
        if pc.any(pc.invert(pc.is_finite(values))).as_py():
            raise DamageError(f"its column {name} has what is no finite number")
    if kind.startswith("list") and column.combine_chunks().flatten().null_count:
        raise DamageError(f"its column {name} has a list with a gap")


def unique_in_order(rows: Sequence[Row], *keys: str) -> None:
    """Refuse rows that are there twice, or in another order than was written.

    Raises:
        DamageError: there is such a row.
    """
    found = [tuple(row[key] for key in keys) for row in rows]
    for before, after in pairwise(found):
        if before == after:
            raise DamageError(f"it has the row of {' and '.join(keys)} {shown_key(after)} twice")
        if before > after:
            raise DamageError(f"its rows are not in the order of {' and '.join(keys)}: {shown_key(after)} comes late")


def shown_key(key: tuple[Any, ...]) -> str:
    """A key in a line."""
    return ", ".join(map(str, key))
