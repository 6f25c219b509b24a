"""Mappings in little room, for who keeps those of thousands of runs."""

import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar, cast

from llenergymeasure.results.rows.columns import Value

_T = TypeVar("_T")

# What is another text in each run; of a digest, other runs may have the same.
_TIMES, _DIGESTS = frozenset({"start_time"}), frozenset({"prompts_digest", "inputs_digest", "outputs_digest"})
_FLOAT, _INT = struct.Struct("<d"), struct.Struct("<q")
_read_float, _read_int = _FLOAT.unpack_from, _INT.unpack_from
_INT64 = 2**63

# Where a value is, or itself where others have the same.
_Where = tuple[Literal["float", "int", "own", "alike"], Value]


class Named(Mapping[str, _T]):
    """Values with names that others have in the same order."""

    __slots__ = ("_places", "_values")

    def __init__(self, places: Mapping[str, int], values: tuple[_T, ...]) -> None:
        self._places, self._values = places, values

    def __getitem__(self, name: str) -> _T:
        return self._values[self._places[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)


class Compact(Mapping[str, Value]):
    """Values of a run: numbers side by side, and all else shared with those that have the same."""

    __slots__ = ("_numbers", "_own", "_shape")

    def __init__(self, shape: Mapping[str, _Where], numbers: bytes, own: tuple[str, ...]) -> None:
        self._shape, self._numbers, self._own = shape, numbers, own

    def __getitem__(self, name: str) -> Value:
        kind, found = self._shape[name]
        if kind == "alike":
            return found
        place = cast("int", found)
        if kind == "own":
            return self._own[place]
        return cast("Value", (_read_float if kind == "float" else _read_int)(self._numbers, place)[0])

    def get(self, name: str, default: Any = None) -> Any:
        """A value, or ``default`` where it has none of that name."""
        # The one that is inherited raises and catches an error for each that is not there.
        return self[name] if name in self._shape else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._shape)

    def __len__(self) -> int:
        return len(self._shape)


class Shapes:
    """Makes them, with what several share there once."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[tuple[tuple[str, _Where], ...], Mapping[str, _Where]] = {}

    def compact(self, values: Mapping[str, Value]) -> Compact:
        """The same values under the same names."""
        numbers, own, where = bytearray(), list[str](), dict[str, _Where]()
        for name, value in values.items():
            if isinstance(value, float):
                where[name] = ("float", len(numbers))
                numbers += _FLOAT.pack(value)
            elif type(value) is int and -_INT64 <= value < _INT64:
                where[name] = ("int", len(numbers))
                numbers += _INT.pack(value)
            elif isinstance(value, str) and name in _TIMES | _DIGESTS:
                where[name] = ("own", len(own))
                own.append(sys.intern(value) if name in _DIGESTS else value)
            else:
                where[name] = ("alike", value)
        return Compact(self._known.setdefault(tuple(where.items()), where), bytes(numbers), tuple(own))
