"""The header of a GGUF file, read in one pass.

``gguf.GGUFReader`` makes arrays for each word of the vocabulary, which takes seconds for 50,000 of them, in preflight
and before each run; this takes a quarter of one. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MAGIC, _VERSIONS = b"GGUF", (2, 3)
_STRING, _ARRAY = 8, 9
# By the number of a kind of value: how struct writes it, little-endian.
_KINDS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class Tensor:
    """A tensor by the values along each of its dimensions, and ggml's number of their type."""

    name: str
    n_along: tuple[int, ...]
    type_index: int


@dataclass
class Header:
    """Values by their names, and tensors in the order of the file."""

    values: Mapping[str, Any] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)


def header_of(path: Path) -> Header:
    """What stands before the weights of a file.

    Raises:
        ValueError: it is no GGUF file, is cut off, or says what cannot be.
        OSError: it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            return _Reading(content).header()
        except (struct.error, IndexError, OverflowError, MemoryError) as error:
            raise ValueError(f"its header is cut off, or no header ({error})") from error


class _Reading:
    def __init__(self, content: mmap.mmap) -> None:
        self._content, self._at = content, 0

    def header(self) -> Header:
        if self._bytes(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        version, n_tensors, n_values = self._number("I"), self._number("Q"), self._number("Q")
        if version not in _VERSIONS:
            raise ValueError(f"version {version} of the format is not known here, or its bytes are in another order")
        values = {}
        for _ in range(n_values):
            name = self._text()
            values[name] = self._value(self._number("I"))
        return Header(values, [self._tensor() for _ in range(n_tensors)])

    def _tensor(self) -> Tensor:
        name, n_dimensions = self._text(), self._number("I")
        if n_dimensions > _MOST_DIMENSIONS:
            raise ValueError(f"tensor {name!r:.60} has {n_dimensions} dimensions")
        shape = tuple(self._number("Q") for _ in range(n_dimensions))
        kind = self._number("I")
        self._number("Q")  # where its values begin
        return Tensor(name, shape, kind)

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            return self._array(self._number("I"), self._number("Q"))
        return self._number(_letter(kind))

    def _array(self, kind: int, n_values: int) -> list[Any]:
        if kind == _STRING:
            return [self._text() for _ in range(n_values)]
        if kind == _ARRAY:
            raise ValueError("an array of arrays is not known here")
        form = f"<{n_values}{_letter(kind)}"
        size = struct.calcsize(form)
        return list(struct.unpack(form, self._bytes(size)))

    def _text(self) -> str:
        return self._bytes(self._number("Q")).decode("utf-8", errors="replace")

    def _number(self, letter: str) -> Any:
        (value,) = struct.unpack_from(f"<{letter}", self._content, self._at)
        self._at += struct.calcsize(f"<{letter}")
        return value

    def _bytes(self, size: int) -> bytes:
        if size > len(self._content) - self._at:
            raise ValueError("its header is cut off, or no header")
        found = self._content[self._at : self._at + size]
        self._at += size
        return found


def _letter(kind: int) -> str:
    if kind not in _KINDS:
        raise ValueError(f"a value is of kind {kind}, which is not known here")
    return _KINDS[kind]
