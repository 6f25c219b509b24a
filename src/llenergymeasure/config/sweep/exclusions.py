"""``exclude:``, combinations that the file itself leaves out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.base import canonical, defaults_of
from llenergymeasure.config.engines import registry
from llenergymeasure.config.experiment import ExperimentConfig
from llenergymeasure.config.fields import keys_of, model_in, type_of
from llenergymeasure.config.measurement import PhasesConfig
from llenergymeasure.config.reading.yaml_file import Location
from llenergymeasure.config.sweep.keys import Given, Key, Problems, engine_of, given_in, kind_of
from llenergymeasure.config.workload import DatasetConfig


@dataclass(frozen=True)
class _Field:
    """Where the value of a field stands: the names of each part of its key; and what it is if it is not given."""

    key: Key
    names: tuple[tuple[str, ...], ...]
    default: Any

    def text_in(self, values: Mapping[str, Any]) -> str:
        """The value among the fields of an experiment, as text."""
        here: Any = values
        for names in self.names:
            here = in_full(self.key, here)
            given = [name for name in names if isinstance(here, Mapping) and name in here]
            if not given:
                return text_of(self.key, self.default)
            here = here[given[0]]
        return text_of(self.key, here)


@dataclass(frozen=True)
class Exclusion:
    """Combinations in which each of these fields has one of its values, which are kept as text."""

    conditions: Mapping[Key, frozenset[str]]
    at: Location
    in_words: str

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines whose sections it names."""
        return tuple(engine for key in self.conditions if (engine := engine_of(key)) is not None)


class Exclusions:
    """Which of many exclusions an experiment falls under; the bits of an integer are their numbers.

    One look for each field that they name, however many they are.
    """

    def __init__(self, entries: Sequence[Exclusion]) -> None:
        """The exclusions, numbered as they come."""
        self._all = (1 << len(entries)) - 1
        keys = dict.fromkeys(key for entry in entries for key in entry.conditions)
        self._looks = [(_field_at(key), *self._of_field(key, entries)) for key in keys]

    def matching(self, engine: str, values: Mapping[str, Any]) -> int:
        """The exclusions that an experiment on this engine with these fields falls under."""
        found = self._all
        for field, by_text, without in self._looks:
            section = engine_of(field.key)
            runs = section is None or engine in (section, registry.AUTO)
            found &= by_text.get(field.text_in(values), without) if runs else without
            if not found:
                break
        return found

    @staticmethod
    def _of_field(key: Key, entries: Sequence[Exclusion]) -> tuple[Mapping[str, int], int]:
        """For each value of a field the exclusions that allow it, and those that do not name the field."""
        without = sum(1 << number for number, entry in enumerate(entries) if key not in entry.conditions)
        by_text: dict[str, int] = {}
        for number, entry in enumerate(entries):
            for text in entry.conditions.get(key, ()):
                by_text[text] = by_text.get(text, without) | 1 << number
        return by_text, without


def exclusions_in(exclude: Any, problems: Problems) -> list[Exclusion]:
    """The entries of ``exclude:``."""
    if exclude is None:
        return []
    if not isinstance(exclude, Sequence) or isinstance(exclude, str):
        problems.add(("exclude",), "this is a list of mappings, such as - {precision: fp32, pytorch.batch_size: 16}")
        return []
    found = []
    for number, entry in enumerate(exclude):
        at = ("exclude", number)
        given = list(given_in(entry, at, problems))
        if given:
            words = ", ".join(f"{'.'.join(each.key)}: {canonical_value(each.value)}" for each in given)
            conditions: dict[Key, frozenset[str]] = {}
            for each in given:
                values = _values_of(each)
                conditions[each.key] = conditions.get(each.key, values) & values
            found.append(Exclusion(conditions, at, words))
        elif isinstance(entry, Mapping) and not entry:
            problems.add(at, "this names no field, and so would leave out everything")
    return found


def canonical_value(value: Any) -> str:
    """A value as text that is equal for equal values."""
    try:
        return canonical({"": value})[4:-1]
    except (TypeError, ValueError):
        return repr(value)


def _values_of(given: Given) -> frozenset[str]:
    """The values that a condition allows: one, or any of a list."""
    kind, value = kind_of(given.key), given.value
    is_several = isinstance(value, list | tuple)
    if is_several and kind is not None and kind.is_only_a_list:
        is_several = all(isinstance(each, list | tuple | None) for each in value)
    return frozenset(text_of(given.key, each) for each in (value if is_several else [value]))


def _field_at(key: Key) -> _Field:
    names: list[tuple[str, ...]] = []
    model: Any = ExperimentConfig
    default: Any = None
    for part in key:
        others = () if model is None else tuple(other for other, name in keys_of(model).items() if name == part)
        names.append(tuple(dict.fromkeys((part, *others))))
        default = None if model is None else defaults_of(model).get(part)
        model = None if model is None else model_in(type_of(model, part))
    return _Field(key, tuple(names), default)


def in_full(key: Key, value: Any) -> Any:
    """A section in its full form."""
    if key[0] == "dataset" and isinstance(value, str):
        return DatasetConfig.from_shorthand(value)
    if key[0] == "phases" and isinstance(value, bool):
        return PhasesConfig.from_shorthand(value)
    return value


def text_of(key: Key, value: Any) -> str:
    """A value as text; a whole number is also the one with a point."""
    if len(key) == 1:
        value = in_full(key, value)
    return canonical_value(int(value) if isinstance(value, float) and value.is_integer() else value)
