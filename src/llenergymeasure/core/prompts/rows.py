"""Rows of a dataset as prompts, wherever they were read."""

import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llenergymeasure.core.prompts.messages import NotAPromptError, conversation_of, text_of
from llenergymeasure.domain.inference import ChatMessage
from llenergymeasure.exceptions import ConfigError

# The turns of a prompt, and whether they are a conversation, which goes through the model's chat template.
PromptRow = tuple[tuple[ChatMessage, ...], bool]

# Where no column is named, the first of these that is there.
_MESSAGES = "messages"
_DEFAULT_COLUMNS = (_MESSAGES, "prompt", "conversations")
_MOST_COLUMNS_TOLD = 20

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def prompt_in(row: Any, column: str | None) -> PromptRow:
    """The prompt in a row of named values.

    Args:
        row: values by name.
        column: the name to take; None takes ``messages``, else ``prompt``, else ``conversations``.

    Raises:
        TypeError, KeyError, ValueError: there is none, or the row is no mapping.
    """
    if not isinstance(row, Mapping):
        raise TypeError("no mapping")
    name = next((c for c in _DEFAULT_COLUMNS if c in row), _MESSAGES) if column is None else column
    return _prompt_of(row[name], name)


def column_among(columns: Sequence[str], wanted: str | None, where: str) -> str:
    """The column that holds the prompts of a table.

    Args:
        columns: those there are.
        wanted: its name; None takes ``messages``, else ``prompt``, else ``conversations``.
        where: what the table is called in an error.

    Raises:
        ConfigError: it is not there, or there twice.
    """
    candidates = _candidates(wanted)
    name = next((c for c in candidates if c in columns), None)
    if name is None:
        sought = " or ".join(map(_SHORT.repr, candidates))
        there = _listed(columns) or "none here"
        raise ConfigError(f"{where}: there is no column {sought}; name one with dataset.column: {there}")
    if columns.count(name) > 1:
        raise ConfigError(f"{where}: {columns.count(name)} columns are called {_SHORT.repr(name)}; rename all but one")
    return name


def other_keys(row: Any, wanted: str | None) -> str:
    """What to do about a row that has keys, and not that of the prompt; nothing of any other."""
    if not isinstance(row, Mapping) or not row or any(name in row for name in _candidates(wanted)):
        return ""
    return f"; name the key of its prompt with dataset.column: {_listed(list(map(str, row)))}"


def _candidates(wanted: str | None) -> tuple[str, ...]:
    return _DEFAULT_COLUMNS if wanted is None else (wanted,)


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - _MOST_COLUMNS_TOLD} more" if len(columns) > _MOST_COLUMNS_TOLD else ""
    return ", ".join(map(_SHORT.repr, columns[:_MOST_COLUMNS_TOLD])) + more


def prompts_of(values: Iterable[tuple[int, Any]], column: str, where: str) -> Iterator[PromptRow]:
    """The prompts in the values of a column.

    Args:
        values: with the number of each one's row, counted from 1.
        column: its name.
        where: what the table is called in an error.

    Raises:
        ConfigError: a value is no prompt.
    """
    for number, value in values:
        try:
            yield _prompt_of(value, column)
        except (ValueError, KeyError, TypeError) as error:
            expected = "" if column == _MESSAGES else "a text or "
            raise ConfigError(
                f"{where}: row {number}: {_SHORT.repr(column)} should hold {expected}a list of "
                f'{{"role": "...", "content": "..."}}, found {shown(value)}{reason(error)}'
            ) from None


def reason(error: Exception) -> str:
    """Why a value is no prompt, where its form does not show it; else nothing."""
    return f": {error}" if isinstance(error, NotAPromptError) else ""


def shown(value: Any) -> str:
    """A value that is no prompt, in a few words."""
    if value is None:
        return "nothing (null)"
    return "an empty text" if value == "" else _SHORT.repr(value)


def _prompt_of(value: Any, column: str) -> PromptRow:
    # A text called messages is a conversation in some notation, which no model should be shown as it is.
    if isinstance(value, str) and column != _MESSAGES:
        return (ChatMessage("user", text_of(value)),), False
    return conversation_of(value), True
