"""Prompts from tables: CSV, and Parquet, of which only the rows that are run are read."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from llenergymeasure._files import open_regular
from llenergymeasure.core.prompts.choice import Choice, ChosenRows, values_at
from llenergymeasure.core.prompts.reading import MOST_LINE_CHARACTERS, lines_of, opened_text
from llenergymeasure.core.prompts.rows import PromptRow, column_among, prompts_of
from llenergymeasure.exceptions import ConfigError, first_line

_BATCH_ROWS = 256


def csv_rows(path: Path, column: str | None, where: str, delimiters: str) -> Iterator[PromptRow]:
    """The prompts of a file of separated values, as Python's ``csv`` reads them.

    The first of ``delimiters`` that makes the column stand in the header is the one that separates. Readers that go
    through a file block by block lose a byte where a line break of two lies across an edge.

    Raises:
        ConfigError: there is no such column, or a row is no prompt.
    """
    # A cell is a text, never a list of messages.
    wanted = "prompt" if column is None else column
    with _long_cells(), opened_text(path, where, newline="") as file:
        lines = lines_of(file, where)
        try:
            delimiter, header, below = _header(lines, wanted, delimiters, where)
            name = column_among(header, wanted, where)
            yield from prompts_of(_cells(below, delimiter, header, name, where), name, where)
        except csv.Error as error:
            raise ConfigError(f"{where}: cannot be read as CSV: {first_line(error)}") from None


def _header(lines: Iterator[str], wanted: str, delimiters: str, where: str) -> tuple[str, list[str], Iterator[str]]:
    """What separates the values, the names of the columns, and the lines below them."""
    taken: list[str] = []
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise ConfigError(f"{where}: cannot be read as CSV: Empty file")
    taken.append(first)
    found, errors = [], []
    for delimiter in delimiters:
        # A name may have line breaks in it.
        reader = csv.reader(chain(list(taken), _keeping(lines, taken)), delimiter=delimiter, strict=True)
        try:
            found.append((delimiter, next(reader), reader.line_num))
        except csv.Error as error:
            errors.append(error)
            continue
        if wanted in found[-1][1]:
            break
    if not found:
        raise errors[0]
    delimiter, names, n_lines = found[-1] if wanted in found[-1][1] else found[0]
    return delimiter, names, chain(taken[n_lines:], lines)


def _keeping(lines: Iterator[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _cells(
    lines: Iterator[str], delimiter: str, header: Sequence[str], name: str, where: str
) -> Iterator[tuple[int, str]]:
    """The values of one column with the numbers of their rows; lines without anything are no rows."""
    place = header.index(name)
    rows = (row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row)
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ConfigError(
                f"{where}: row {number}: cannot be read as CSV: Expected {len(header)} columns, got {len(row)}; put "
                f"quotes around a value that has {delimiter!r} in it"
            )
        yield number, row[place]


@contextmanager
def _long_cells() -> Iterator[None]:
    """``csv`` reads cells of 128 KiB; the limit is the module's, so it is put back."""
    before = csv.field_size_limit(MOST_LINE_CHARACTERS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def read_parquet(path: Path, column: str | None, choice: Choice, where: str) -> ChosenRows:
    """The chosen prompts of a Parquet file. No other rows are looked at, and their row groups are not read.

    Raises:
        ConfigError: there is no such column, or a chosen row is no prompt.
        OSError: it cannot be read, or is no regular file.
    """
    from pyarrow import parquet

    with (
        _as_config_error(where),
        open_regular(path) as opened,
        parquet.ParquetFile(opened, pre_buffer=False) as file,
    ):
        name = column_among(file.schema_arrow.names, column, where)
        n_rows = file.metadata.num_rows
        places = choice.places(n_rows, where)
        rising = sorted(places)
        values = ((place + 1, value) for place, value in _values(file, name, rising))
        found = dict(zip(rising, prompts_of(values, name, where), strict=True))
        return ChosenRows([found[place] for place in places], places, n_rows)


def _values(file: Any, name: str, places: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """The values of a column at [n] rising places, of the row groups that have any of them."""
    begin, waiting = 0, list(reversed(places))
    for group in range(file.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        inside = []
        while waiting and waiting[-1] < end:
            inside.append(waiting.pop())
        if inside:
            batches = file.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=[name], use_threads=False)
            yield from values_at(_numbered(batches, name, begin, set(inside)), inside)
        begin = end


def _numbered(batches: Iterator[Any], name: str, begin: int, wanted: set[int]) -> Iterator[tuple[int, Any]]:
    """The wanted ones of the values of record batches, with their places."""
    for batch in batches:
        here = [row for row in range(batch.num_rows) if begin + row in wanted]
        if here:
            values = batch.column(name)
            yield from ((begin + row, values[row].as_py()) for row in here)
        begin += batch.num_rows


@contextmanager
def _as_config_error(where: str) -> Iterator[None]:
    """What pyarrow has against a file, as a ``ConfigError``."""
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: this is not text in UTF-8") from None
    # The others are Python's own, of values that have no like in Python, such as a date of the year 10 000.
    except (pa.ArrowException, ValueError, KeyError, OverflowError) as error:
        raise ConfigError(f"{where}: cannot be read as Parquet: {first_line(error)}") from None
