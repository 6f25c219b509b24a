"""The combinations of a study's axes, each engine with those of its own fields."""

import heapq
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.sweep.axes import BACKEND, Axis, Field
from llenergymeasure.config.sweep.keys import Key
from llenergymeasure.config.sweep.ranges import MOST_VALUES as MOST_COMBINATIONS


@dataclass(frozen=True)
class Combination:
    """One point of each axis: its engine, and for each axis the number of the value; 0 where it plays no part."""

    engine: str
    chosen: tuple[int, ...]


class Grid:
    """The product of axes, of which the first varies slowest.

    An axis all of whose fields belong to engines that do not run is no axis there.
    """

    def __init__(self, axes: Sequence[Axis], engine: str) -> None:
        """A grid of these axes.

        Args:
            axes: what varies.
            engine: what runs where no axis says it.
        """
        self.axes = tuple(axes)
        self._engine = engine
        keys = [field.key for axis in axes for field in axis.fields]
        # Where a section varies as a whole and a field of it too, the field goes over the section.
        self._overlap = any(a != b and a[: len(b)] == b for a in keys for b in keys)

    @property
    def engines(self) -> list[str]:
        """The engines that its combinations run, each once."""
        return list(dict.fromkeys(engine for engine, _ in self._engines()))

    def __len__(self) -> int:
        return sum(
            math.prod(1 if fixed is not None else len(axis) for axis, fixed in zip(self.axes, chosen, strict=True))
            for chosen in (self._fixed(engine, number) for engine, number in self._engines())
        )

    def combinations(self) -> Iterator[Combination]:
        """Every combination, in order; none is made before it is asked for."""
        return heapq.merge(
            *(self._of_engine(engine, number) for engine, number in self._engines()), key=lambda each: each.chosen
        )

    def fields_of(self, combination: Combination) -> Iterator[tuple[Field, int]]:
        """The fields that vary in a combination, each with the number of its value."""
        for axis, number in zip(self.axes, combination.chosen, strict=True):
            for field in axis.fields:
                if field.runs_on(combination.engine):
                    yield field, number

    def settings_of(self, combination: Combination) -> dict[str, Any]:
        """What varies in a combination, by dotted name."""
        return {".".join(field.key): field.values[number] for field, number in self.fields_of(combination)}

    def nested(self, combination: Combination, *, of_the_file: bool) -> dict[str, Any]:
        """The same as nested fields: those that the file gives, or those of the command line."""
        fields = [each for each in self.fields_of(combination) if bool(each[0].at) == of_the_file]
        found: dict[str, Any] = {}
        if self._overlap:
            for field, number in sorted(fields, key=lambda each: len(each[0].key)):
                found = merged(found, _nested(field.key, field.values[number]))
            return found
        for field, number in fields:
            place = found
            for part in field.key[:-1]:
                place = place.setdefault(part, {})
            place[field.key[-1]] = field.values[number]
        return found

    def _engines(self) -> list[tuple[str, int | None]]:
        """Each engine with the number that the axis of engines has for it."""
        field = next((field for axis in self.axes for field in axis.fields if field.key == BACKEND), None)
        if field is None:
            return [(self._engine, None)]
        return [(str(engine or self._engine), number) for number, engine in enumerate(field.values)]

    def _fixed(self, engine: str, number: int | None) -> list[int | None]:
        """For each axis the only number it has with this engine; None where it varies."""
        return [
            number
            if any(field.key == BACKEND for field in axis.fields)
            else None
            if any(field.runs_on(engine) for field in axis.fields)
            else 0
            for axis in self.axes
        ]

    def _of_engine(self, engine: str, number: int | None) -> Iterator[Combination]:
        ranges = [
            range(len(axis)) if fixed is None else (fixed,)
            for axis, fixed in zip(self.axes, self._fixed(engine, number), strict=True)
        ]
        return (Combination(engine, chosen) for chosen in itertools.product(*ranges))


def _nested(key: Key, value: Any) -> Mapping[str, Any]:
    for part in reversed(key):
        value = {part: value}
    found: Mapping[str, Any] = value
    return found


__all__ = ["MOST_COMBINATIONS", "Combination", "Grid"]
