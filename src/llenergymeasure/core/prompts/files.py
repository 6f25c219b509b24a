"""Prompts from local files: which kinds there are, and those with JSON or a prompt in each line."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

from llenergymeasure.core.prompts.choice import Choice, ChosenRows, chosen_of
from llenergymeasure.core.prompts.messages import text_of
from llenergymeasure.core.prompts.reading import PACKED, lines_of, opened_text
from llenergymeasure.core.prompts.rows import PromptRow, other_keys, prompt_in, reason, shown
from llenergymeasure.core.prompts.tables import csv_rows, read_parquet
from llenergymeasure.domain.inference import ChatMessage
from llenergymeasure.exceptions import ConfigError, first_line

# In capitals or not; all but Parquet, which packs its columns itself, may be packed: .jsonl.gz.
FILE_KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt")
_DELIMITERS = {".csv": ",;\t", ".tsv": "\t"}

_Reader = Callable[[Path, str | None, str], Iterable[PromptRow]]


def read_file(path: Path, column: str | None, choice: Choice | None = None) -> ChosenRows:
    """The chosen prompts of a file, whose kind its suffix tells.

    No more is kept in memory than the chosen ones, except of a ``.json`` file, which is one value. Its order is read no
    further than asked; for a drawn one every row is looked at, but of Parquet the chosen ones only.

    Args:
        path: a regular file of one of ``FILE_KINDS``.
        column: the key or column that holds the prompt; None takes ``messages``, else ``prompt``, else
            ``conversations``.
        choice: which rows; None is all.

    Raises:
        ConfigError: the file is missing, no regular file, too large or of an unknown kind, or a row is no prompt.
    """
    where, kind = f"dataset {path}", kind_of(path)
    if kind is None:
        raise ConfigError(f"{where}: unknown kind of file {path.suffix!r}; {_kinds_that_are_read(path)}")
    choice = choice or Choice()
    try:
        if kind == ".parquet":
            chosen = read_parquet(path, column, choice, where)
        else:
            chosen = chosen_of(partial(_reader(kind), path, column, where), choice, where)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be read: {error.strerror or first_line(error)}") from None
    if not chosen.rows:  # a damaged file may claim to have fewer rows than none
        raise ConfigError(f"{where}: there are no prompts in this file")
    return chosen


def kind_of(path: Path) -> str | None:
    """Which of ``FILE_KINDS`` a file is called; None for any other."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [PACKED]
    kind = next(iter(suffixes[-2:-1] if packed else suffixes[-1:]), None)
    return kind if kind in FILE_KINDS and not (packed and kind == ".parquet") else None


def jsonl_rows(file: IO[str], column: str | None, where: str, before_number: str = ":") -> Iterator[PromptRow]:
    """The prompts of a file with an object in each line.

    Args:
        file: the file.
        column: the key that holds the prompt; None takes ``messages``, else ``prompt``, else ``conversations``.
        where: what it is called in an error.
        before_number: what stands between that and the number of a line.

    Raises:
        ConfigError: a line is no such object.
    """
    for number, line in enumerate(lines_of(file, where, before_number), 1):
        if not line.strip():
            continue
        value = None
        try:
            value = json.loads(line)
            yield prompt_in(value, column)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ConfigError(
                f"{where}{before_number}{number}: expected {_form(column)}, found {line.rstrip()[:80]!r}"
                f"{other_keys(value, column)}{reason(error)}"
            ) from None


def _reader(kind: str) -> _Reader:
    if kind in _DELIMITERS:
        return partial(csv_rows, delimiters=_DELIMITERS[kind])
    return {".txt": _text_rows, ".json": _json_rows}.get(kind, _jsonl_rows)


def _jsonl_rows(path: Path, column: str | None, where: str) -> Iterator[PromptRow]:
    with opened_text(path, where) as file:
        yield from jsonl_rows(file, column, where)


def _text_rows(path: Path, column: str | None, where: str) -> Iterator[PromptRow]:  # noqa: ARG001 - it has lines only
    with opened_text(path, where) as file:
        for number, line in enumerate(lines_of(file, where), 1):
            if text := line.strip():
                try:
                    yield (ChatMessage("user", text_of(text)),), False
                except ValueError as error:
                    raise ConfigError(f"{where}:{number}: this is no prompt{reason(error)}") from None


def _json_rows(path: Path, column: str | None, where: str) -> Iterator[PromptRow]:
    with opened_text(path, where) as file:
        try:
            values = json.load(file)
        except (ValueError, RecursionError) as error:
            if isinstance(error, UnicodeDecodeError):
                raise
            raise ConfigError(f"{where}: this is not JSON; a file with an object per line is called .jsonl") from None
    if not isinstance(values, list):
        raise ConfigError(f"{where}: expected a list of {_form(column)}, found {shown(values)}")
    for number, value in enumerate(values, 1):
        try:
            yield prompt_in(value, column)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{where}: row {number}: expected {_form(column)}, found {shown(value)}"
                f"{other_keys(value, column)}{reason(error)}"
            ) from None


def _kinds_that_are_read(path: Path) -> str:
    if path.is_dir():
        return f"a folder is given as dataset: {{hub: {path}}}, or name a file in it ({', '.join(FILE_KINDS)})"
    known = f"use {', '.join(FILE_KINDS)} (all but .parquet also packed, such as .jsonl.gz)"
    is_like_an_id = not path.suffix and len(path.parts) == 2  # noqa: PLR2004 - owner and name
    return f"{known}, or dataset: {{hub: {path}}} for a dataset of the Hugging Face hub" if is_like_an_id else known


def _form(column: str | None) -> str:
    """What a JSON object with a prompt looks like."""
    messages = '[{"role": "...", "content": "..."}]'
    text_key, messages_key = json.dumps(column or "prompt"), json.dumps(column or "messages")
    return f'{{{text_key}: "..."}} or {{{messages_key}: {messages}}}'
