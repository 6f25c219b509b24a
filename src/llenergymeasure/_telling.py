"""What leaves this process, for a file or a terminal: nobody's home, nobody's secrets, no control characters."""

import logging
import re
from collections.abc import Sequence
from typing import Any

from llenergymeasure._paths import is_whole, shortened_within
from llenergymeasure._secrets import hidden, values_to_hide

# What moves a terminal's cursor, turns a line around or ends it: C0, DEL and C1, marks of direction, separators of
# lines, and half characters, which no terminal takes.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_HALF = re.compile("[\ud800-\udfff]")
_CONTROL_IN_LINES = re.compile(f"(?!\n){_CONTROL.pattern}")


def told(text: str, values: Sequence[tuple[str, str]] | None = None) -> str:
    """A text as others may read it, and every file can hold: ``~`` for the home directory, names for secrets.

    Args:
        text: any text.
        values: what ``values_to_hide`` gives, for whoever has many texts.
    """
    shown = shortened_within(hidden(text, values))
    return shown if is_whole(shown) else _HALF.sub(_escaped, shown)


def told_values(value: Any) -> Any:
    """Plain JSON values as others may read them."""
    return _told_values(value, values_to_hide())


def _told_values(value: Any, secrets: Sequence[tuple[str, str]]) -> Any:
    if isinstance(value, str):
        return told(value, secrets)
    if isinstance(value, dict):
        return {told(str(key), secrets): _told_values(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        # Lists of numbers are long.
        return [_told_values(item, secrets) if isinstance(item, str | dict | list) else item for item in value]
    return value


def visible(text: str) -> str:
    r"""Lines of text with every other control character as Python would write it, such as ``\x1b``."""
    return _CONTROL_IN_LINES.sub(_escaped, text)


def visible_in_json(text: str) -> str:
    """JSON with every control character as JSON writes it, so that it says the same to whoever parses it."""
    return _CONTROL_IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def in_a_line(text: str) -> str:
    """The same of a text that must not begin a line of its own."""
    return _CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


class TellingFormatter(logging.Formatter):
    """Formats a record as others may read it; no line but the first begins at the margin."""

    def format(self, record: logging.LogRecord) -> str:
        """The record, its traceback included."""
        return visible(told(super().format(record))).replace("\n", "\n    ")
