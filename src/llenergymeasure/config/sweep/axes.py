"""What varies in a study: axes, each with the values that one field, or several together, take one after another."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.engines import registry
from llenergymeasure.config.reading.yaml_file import Location, printable
from llenergymeasure.config.sweep.keys import Given, Key, Problems, engine_of, given_in, kind_of
from llenergymeasure.config.sweep.ranges import is_range, values_of
from llenergymeasure.exceptions import ConfigError

BACKEND: Key = ("backend",)


@dataclass(frozen=True)
class Field:
    """One field of an axis: its values, and the place in the file that gives them; () is the command line."""

    key: Key
    values: tuple[Any, ...]
    at: Location = ()

    @functools.cached_property
    def engine(self) -> str | None:
        """The engine whose section the field stands in; None for those of all engines."""
        return engine_of(self.key)

    def runs_on(self, engine: str) -> bool:
        """Whether an experiment on this engine has the field."""
        return self.engine in (None, engine) or engine == registry.AUTO


@dataclass(frozen=True)
class Axis:
    """Fields that move together, all with equally many values."""

    fields: tuple[Field, ...]

    def __len__(self) -> int:
        return len(self.fields[0].values)

    @property
    def of_the_file(self) -> bool:
        """Whether the file gives it; else the command line does."""
        return bool(self.fields[0].at)

    def without(self, keys: Iterable[Key]) -> "Axis | None":
        """The axis without these fields; None if nothing is left."""
        left_out = set(keys)
        kept = tuple(field for field in self.fields if field.key not in left_out)
        return Axis(kept) if kept else None


def axes_in(sweep: Any, zipped: Any, problems: Problems) -> list[Axis]:
    """The axes of ``sweep:`` and of ``zip:``, in their order."""
    axes = []
    if sweep is not None:
        found = list(given_in(sweep, ("sweep",), problems))
        axes = [Axis((field,)) for each in found if (field := _field(each, problems)) is not None]
        if isinstance(sweep, Mapping) and not sweep:
            problems.add(("sweep",), "nothing varies; give a field a list of values")
    for group, at in _groups(zipped, problems):
        fields = [_field(each, problems) for each in given_in(group, at, problems)]
        known = [field for field in fields if field is not None]
        lengths = {".".join(field.key): len(field.values) for field in known}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name} has {n}" for name, n in lengths.items())
            problems.add(at, f"lists that move together are equally long; {counts}")
        elif known:
            axes.append(Axis(tuple(known)))
        elif isinstance(group, Mapping) and not group:
            problems.add(at, "nothing varies; give fields lists of values")
    return _once(axes, problems)


def _groups(zipped: Any, problems: Problems) -> list[tuple[Any, Location]]:
    if zipped is None:
        return []
    if isinstance(zipped, Mapping):
        return [(zipped, ("zip",))]
    if isinstance(zipped, Sequence) and not isinstance(zipped, str) and zipped:
        return [(group, ("zip", number)) for number, group in enumerate(zipped)]
    problems.add(("zip",), "this is a mapping of fields to lists of equal length, or a list of such mappings")
    return []


def _field(given: Given, problems: Problems) -> Field | None:
    """The values of a field; None where they are none."""
    kind = kind_of(given.key)
    assert kind is not None
    value = given.value
    if is_range(value) and kind.takes_numbers:
        try:
            value = values_of(value)
        except ConfigError as error:
            problems.add(given.at, str(error))
            return None
    if not isinstance(value, list | tuple) or not value:
        problems.add(given.at, _no_list(value, takes_mapping=kind.takes_mapping, is_a_list=kind.is_only_a_list))
        return None
    if kind.is_only_a_list and not all(isinstance(each, list | tuple | None) for each in value):
        problems.add(given.at, "one value of this field is a list itself; give a list of lists")
        return None
    again = twice(value)
    if again is not None:
        problems.add(given.at, f"{printable(str(again))} is there twice; execution.cycles runs each one several times")
        return None
    return Field(given.key, tuple(value), given.at)


def _no_list(value: Any, *, takes_mapping: bool, is_a_list: bool) -> str:
    what = "a list of mappings" if takes_mapping else "a list of lists" if is_a_list else "a list of values"
    if isinstance(value, list | tuple):
        return f"this list is empty; give {what}"
    return f"this is no list; give {what}, or put a single value among the fields at the top of the file"


def twice(values: Sequence[Any]) -> Any:
    """A value that is there twice; those that cannot be hashed are compared when the combinations are."""
    seen = set()
    for value in values:
        if isinstance(value, list | tuple | Mapping):
            continue
        if (type(value), value) in seen:
            return value
        seen.add((type(value), value))
    return None


def _once(axes: list[Axis], problems: Problems) -> list[Axis]:
    seen: dict[Key, Field] = {}
    for axis in axes:
        for field in axis.fields:
            if field.key in seen:
                problems.add(field.at, "this field varies twice; keep one of the lists")
            seen[field.key] = field
    return axes
