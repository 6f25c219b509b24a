"""Conditions on rows of a table, as ``--where`` takes them: ``backend=vllm``, ``n>=100``."""

import json
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llenergymeasure.exceptions import ConfigError

_WRITTEN = re.compile(r"\s*([^=!<>\s]+)\s*(<=|>=|!=|==?|<|>)(.*)", re.DOTALL)
_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_NOT_SET = ("", "null")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """``name`` of a column, ``sign`` of a comparison, and the ``text`` that is compared with."""

    name: str
    sign: str
    text: str

    @classmethod
    def of(cls, given: str) -> "Condition":
        """The condition that a text says.

        Raises:
            ConfigError: it says none.
        """
        found = _WRITTEN.fullmatch(given)
        if found is None:
            raise ConfigError(f"--where {given!r}: give NAME=VALUE, or !=, <, >, <=, >= in the place of =")
        return cls(name=found[1], sign="=" if found[2] == "==" else found[2], text=found[3].strip())

    def holds(self, value: Any) -> bool:
        """Whether a value is so; what is not set is ``null``, and neither more nor less than anything.

        Raises:
            ConfigError: a number is asked to be more or less than a text.
        """
        if self.sign in ("=", "!="):
            return self._equals(value) == (self.sign == "=")
        if value is None or isinstance(value, bool):
            return False
        if isinstance(value, (int, float)):
            other = _number(self.text)
            if other is None:
                raise ConfigError(f"--where {self.name}{self.sign}{self.text}: {self.name} is a number; give one")
            return _ORDERS[self.sign](value, other)
        return _ORDERS[self.sign](_text(value), self.text)

    def _equals(self, value: Any) -> bool:
        if value is None:
            return self.text in _NOT_SET
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _number(self.text) == value
        return _text(value) == (self.text.lower() if isinstance(value, bool) else self.text)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
