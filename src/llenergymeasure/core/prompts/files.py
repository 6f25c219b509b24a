"""Prompts from local files, of which no more than the prompts is kept in memory."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from llenergymeasure.core.prompts.rows import PromptRow, column_among, other_keys, prompt_in, prompts_of, shown
from llenergymeasure.domain.inference import ChatMessage
from llenergymeasure.exceptions import ConfigError, first_line

FILE_KINDS = (".jsonl", ".json", ".csv", ".parquet", ".txt")
# Bytes that are read of a CSV at a time, and so the most that one of its rows may have.
_CSV_BLOCK = 2**24


def read_file(path: Path, column: str | None) -> list[PromptRow]:
    """All prompts of a file, whose kind its suffix tells, in its order.

    Args:
        path: a file of one of ``FILE_KINDS``.
        column: the key or column that holds the prompt; None takes ``messages``, else ``prompt``.

    Raises:
        ConfigError: the file is missing, of an unknown kind, or has a row that is no prompt.
    """
    where = f"dataset {path}"
    if path.suffix not in FILE_KINDS:
        raise ConfigError(f"{where}: unknown kind of file {path.suffix!r}; {_kinds_that_are_read(path)}")
    try:
        rows = _read(path, column, where)
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: this is not text in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror or first_line(error)}") from None
    if not rows:
        raise ConfigError(f"{where}: there are no prompts in this file")
    return rows


def read_jsonl(file: IO[str], column: str | None, where: str) -> list[PromptRow]:
    """The prompts of a file with an object in each line.

    Raises:
        ConfigError: a line is no such object.
    """
    rows = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        value = None
        try:
            value = json.loads(line)
            rows.append(prompt_in(value, column))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ConfigError(
                f"{where}:{number}: expected {_form(column)}, found {line.rstrip()[:80]!r}{other_keys(value, column)}"
            ) from None
    return rows


def _kinds_that_are_read(path: Path) -> str:
    if path.is_dir():
        return f"a folder is given as dataset: {{hub: {path}}}, or name a file in it ({', '.join(FILE_KINDS)})"
    known = f"use {', '.join(FILE_KINDS)}"
    is_like_an_id = not path.suffix and len(path.parts) == 2  # noqa: PLR2004 - owner and name
    return f"{known}, or dataset: {{hub: {path}}} for a dataset of the Hugging Face hub" if is_like_an_id else known


def _read(path: Path, column: str | None, where: str) -> list[PromptRow]:
    if path.suffix == ".csv":
        return _read_csv(path, column, where)
    if path.suffix == ".parquet":
        return _read_parquet(path, column, where)
    with path.open(encoding="utf-8-sig") as file:
        if path.suffix == ".txt":
            return [((ChatMessage("user", text),), False) for line in file if (text := line.strip())]
        return read_jsonl(file, column, where) if path.suffix == ".jsonl" else _read_json(file, column, where)


def _read_json(file: IO[str], column: str | None, where: str) -> list[PromptRow]:
    try:
        values = json.load(file)
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        raise ConfigError(f"{where}: this is not JSON; a file with an object per line is called .jsonl") from None
    if not isinstance(values, list):
        raise ConfigError(f"{where}: expected a list of {_form(column)}, found {shown(values)}")
    rows = []
    for number, value in enumerate(values, 1):
        try:
            rows.append(prompt_in(value, column))
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{where}: row {number}: expected {_form(column)}, found {shown(value)}{other_keys(value, column)}"
            ) from None
    return rows


def _form(column: str | None) -> str:
    """What a JSON object with a prompt looks like."""
    messages = '[{"role": "...", "content": "..."}]'
    text_key, messages_key = json.dumps(column or "prompt"), json.dumps(column or "messages")
    return f'{{{text_key}: "..."}} or {{{messages_key}: {messages}}}'


def _read_csv(path: Path, column: str | None, where: str) -> list[PromptRow]:
    import pyarrow as pa
    from pyarrow import csv

    # A cell of a CSV is a text, never a list of messages.
    read, parse = csv.ReadOptions(block_size=_CSV_BLOCK), csv.ParseOptions(newlines_in_values=True)
    with _as_config_error(where, "CSV"):
        with csv.open_csv(path, read_options=read, parse_options=parse) as reader:
            name = column_among(reader.schema.names, "prompt" if column is None else column, where)
        texts = csv.ConvertOptions(include_columns=[name], column_types={name: pa.string()}, strings_can_be_null=False)
        with csv.open_csv(path, read_options=read, parse_options=parse, convert_options=texts) as reader:
            return list(prompts_of(_values(reader, name), name, where))


def _read_parquet(path: Path, column: str | None, where: str) -> list[PromptRow]:
    from pyarrow import parquet

    with _as_config_error(where, "Parquet"), parquet.ParquetFile(path) as file:
        name = column_among(file.schema_arrow.names, column, where)
        return list(prompts_of(_values(file.iter_batches(columns=[name]), name), name, where))


@contextmanager
def _as_config_error(where: str, kind: str) -> Iterator[None]:
    """What pyarrow has against a file, as a ``ConfigError``."""
    import pyarrow as pa

    try:
        yield
    except UnicodeDecodeError:
        raise
    # The others are Python's own, of values that have no like in Python, such as a date of the year 10 000.
    except (pa.ArrowException, ValueError, KeyError, OverflowError) as error:
        raise ConfigError(f"{where}: cannot be read as {kind}: {first_line(error)}") from None


def _values(batches: Iterable[Any], column: str) -> Iterator[Any]:
    """The values of a column of record batches."""
    for batch in batches:
        yield from batch.column(column).to_pylist()
