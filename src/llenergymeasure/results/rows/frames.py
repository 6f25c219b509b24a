"""Tables of results as pyarrow, pandas and polars have them, and as files."""

import csv
import functools
import importlib
import importlib.util
import io
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llenergymeasure._secrets import values_to_hide
from llenergymeasure._telling import told
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import config_error, first_line
from llenergymeasure.results.rows.extraction import row_of
from llenergymeasure.results.rows.table import ResultTable

if TYPE_CHECKING:
    import pyarrow as pa

# Spreadsheets take the wide forms for the narrow ones.
_FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_INT64 = 2**63
# Whole numbers up to here are floats without loss.
_EXACT = 2**53


def arrow_of(results: Iterable[ExperimentResult]) -> "pa.Table":
    """[n] results as a table with every column."""
    table = ResultTable(map(row_of, results))
    return as_arrow(table, table.all_columns())


def as_arrow(table: ResultTable, names: Sequence[str]) -> "pa.Table":
    """Columns of a table as pyarrow has them, ``label`` and ``unit`` in their fields' metadata.

    Settings have the type that all of their values have; where they have none, they are texts in JSON.

    Raises:
        ConfigError: a figure is larger than any number of its type.
    """
    import pyarrow as pa

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "time": pa.timestamp("us", tz="UTC")}
    fields, arrays = [], []
    for name in names:
        column, values = table.column(name), table.values(name)
        if table.is_setting(name):
            kind, values = typed(values)
        else:
            kind = types[column.kind]
            values = [_as_time(value) for value in values] if column.kind == "time" else values
        metadata = {"label": column.label, "unit": column.unit}
        fields.append(pa.field(name, kind, metadata=metadata))
        try:
            arrays.append(pa.array(values, kind))
        except (pa.ArrowException, OverflowError, ValueError) as error:
            raise config_error(f"{name}: a result has a value that is no {kind}: {first_line(error)}") from None
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _as_time(value: Any) -> datetime | None:
    if value is None:
        return None
    found = datetime.fromisoformat(value)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def typed(values: list[Any]) -> tuple[Any, list[Any]]:
    """The type that [n] values of a setting have in common, and the values in it."""
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_(), values
    if kinds == {int} and all(value is None or -_INT64 <= value < _INT64 for value in values):
        return pa.int64(), values
    if kinds == {float} or (
        kinds == {int, float} and all(abs(value) <= _EXACT for value in values if isinstance(value, int))
    ):
        return pa.float64(), [None if value is None else float(value) for value in values]
    return pa.string(), [setting_text(value) if kinds <= {str} else _json(value) for value in values]


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value)


def setting_text(value: Any) -> str | None:
    """A setting as a text: a text as it is, anything else in JSON; None is not set."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def frame_of(table: "pa.Table", library: str | None = None) -> Any:
    """A table as a data frame of pandas or polars, whichever is there.

    Raises:
        ConfigError: it is not installed, or neither is.
    """
    wanted = ("pandas", "polars") if library is None else (library,)
    found = next((name for name in wanted if importlib.util.find_spec(name) is not None), None)
    if found == "pandas":
        return table.to_pandas()
    if found == "polars":
        return importlib.import_module("polars").from_arrow(table)
    raise config_error(f"{' or '.join(wanted)} is not installed; pip install {wanted[0]}, or use to_arrow()")


def csv_lines(rows: Iterable[Sequence[Any]]) -> str:
    """[n] rows as lines of CSV; absent is an empty cell, and no text is taken for a formula by a spreadsheet."""
    text, secrets = io.StringIO(newline=""), values_to_hide()
    # Thousands of rows have the same texts, and to look for secrets in one takes longer than to write it.
    of_text = functools.lru_cache(maxsize=1024)(functools.partial(csv_cell, secrets=secrets))
    csv.writer(text).writerows(
        [of_text(value) if type(value) is str else csv_cell(value, secrets) for value in row] for row in rows
    )
    return text.getvalue()


def csv_cell(value: Any, secrets: Sequence[tuple[str, str]]) -> Any:
    """A value as a spreadsheet may open it: a text that would be a formula there begins with a single quote.

    As OWASP advises (https://owasp.org/www-community/attacks/CSV_Injection); numbers stay numbers.
    """
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    text = told(setting_text(value) or "", secrets)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def as_csv(table: ResultTable, names: Sequence[str]) -> str:
    """Columns of a table as CSV, their names in its first line."""
    return csv_lines([names]) + csv_lines(table.rows(names))


def as_json(table: ResultTable, names: Sequence[str]) -> str:
    """Columns of a table as JSON: a list with an object for each result."""
    return json.dumps([dict(zip(names, row, strict=True)) for row in table.rows(names)], indent=1) + "\n"
