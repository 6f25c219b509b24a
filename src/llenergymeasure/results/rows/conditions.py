"""Conditions on rows of a table, as ``--where`` takes them: ``backend=vllm``, ``n>=100``."""

import json
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.rows.kinds import Kind, kind_of

_WRITTEN = re.compile(r"\s*([^=!<>\s]+)\s*(<=|>=|!=|==?|<|>)(.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_NOT_SET = ("", "null")
_EQUALITIES = ("=", "!=")
_FLAGS = ("true", "false")
# float() takes more: nan, inf, 1_00 and digits of other scripts.
_WHOLE = re.compile(r"[-+]?[0-9]{1,400}")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

Wanted = int | float | datetime | None


@dataclass(frozen=True, kw_only=True)
class Condition:
    """``name`` of a column, ``sign`` of a comparison, and the ``text`` that is compared with.

    ``kind`` is what the column or setting may hold, None where only its values say so. ``wanted`` is the number, or
    in a column of times the time, that the text says; None where it says none.
    """

    name: str
    sign: str
    text: str
    kind: Kind | None = None
    wanted: Wanted = None

    @classmethod
    def of(cls, given: str) -> "Condition":
        """The condition that a text says.

        Raises:
            ConfigError: it says none, or its value is not of the kind of its column or setting.
        """
        found = _WRITTEN.fullmatch(given)
        if found is None:
            raise ConfigError(f"--where {given!r}: give NAME=VALUE, or !=, <, >, <=, >= in the place of =")
        name, sign, text = found[1], "=" if found[2] == "==" else found[2], found[3].strip()
        kind = kind_of(name)
        wanted = time_of(text) if kind == "time" else _number(text)
        if not (sign in _EQUALITIES and text in _NOT_SET):
            problem = _problem(kind, name, sign, text, wanted)
            if problem is not None:
                raise ConfigError(f"--where {given!r}: {problem}")
        return cls(name=name, sign=sign, text=text, kind=kind, wanted=wanted)

    def holds(self, value: Any) -> bool:
        """Whether a value is so; what is not set is ``null``, and neither more nor less than anything.

        Raises:
            ConfigError: a number is asked to be more or less than a text.
        """
        if self.sign in _EQUALITIES:
            return self._equals(value) == (self.sign == "=")
        if value is None or isinstance(value, bool):
            return False
        ours, theirs = self._sides(value)
        if theirs is None:
            raise ConfigError(f"--where {f'{self.name}{self.sign}{self.text}'!r}: {_no_number(self.name, self.text)}")
        return _ORDERS[self.sign](ours, theirs)

    def _equals(self, value: Any) -> bool:
        if value is None:
            return self.text in _NOT_SET
        if isinstance(value, bool):
            return _text(value) == self.text.lower()
        if isinstance(value, (list, dict)):
            return _is_json_of(self.text, value)
        ours, theirs = self._sides(value)
        return bool(ours == theirs)

    def _sides(self, value: Any) -> tuple[Any, Any]:
        """A value, and what it is held against, as what can be compared."""
        if isinstance(value, (int, float)):
            return value, self.wanted
        if self.kind == "time":
            # A table has no row whose time is none.
            return time_of(value), self.wanted
        return _text(value), self.text


def _problem(kind: Kind | None, name: str, sign: str, text: str, wanted: Wanted) -> str | None:
    """Why a value that is not null cannot be compared with one of this kind; None if it can."""
    if kind == "section":
        return f"{name} has settings inside; name one of them, as in {name}.NAME, or ask for {name}=null"
    if kind == "flag" and (sign not in _EQUALITIES or text.lower() not in _FLAGS):
        return f"{name} is true or false, or null; give {name}=true, or != in the place of ="
    if kind == "time" and wanted is None:
        return (
            f"{text!r} is no time; give one of ISO 8601, such as 2026-01-31 or "
            "2026-01-31T14:30:00+01:00, which is UTC where it names no zone"
        )
    return _no_number(name, text) if kind == "number" and wanted is None else None


def _no_number(name: str, text: str) -> str:
    return f"{name} is a number, and {text!r} is no finite one; give such as 100, 0.5 or 2e3"


def _is_json_of(text: str, value: Any) -> bool:
    try:
        return bool(json.loads(text) == value)
    except (ValueError, RecursionError):
        return False


def _number(text: str) -> int | float | None:
    """The finite number that a text says; None where it says none."""
    if _DECIMAL.fullmatch(text) is None or not math.isfinite(number := float(text)):
        return None
    # A whole number beyond 2^53, such as a seed, is no float.
    return int(text) if _WHOLE.fullmatch(text) else number


def time_of(text: str) -> datetime | None:
    """The time that a text says, of UTC where it names no zone; None where it says none."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
