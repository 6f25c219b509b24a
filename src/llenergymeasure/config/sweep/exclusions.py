"""``exclude:``, combinations that the file itself leaves out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.base import canonical, defaults_of
from llenergymeasure.config.engines import registry
from llenergymeasure.config.experiment import ExperimentConfig
from llenergymeasure.config.fields import keys_of, model_in, type_of
from llenergymeasure.config.measurement import PhasesConfig
from llenergymeasure.config.sweep.keys import Given, Key, Problems, engine_of, given_in, kind_of
from llenergymeasure.config.workload import DatasetConfig
from llenergymeasure.config.yaml_file import Location


@dataclass(frozen=True)
class _Condition:
    """A field with the values, as text, that it must have; ``names`` are those of each part of its key."""

    key: Key
    allowed: frozenset[str]
    names: tuple[tuple[str, ...], ...]
    default: Any

    def holds(self, engine: str, values: Mapping[str, Any]) -> bool:
        section = engine_of(self.key)
        if section is not None and engine not in (section, registry.AUTO):
            return False
        here: Any = values
        for names in self.names:
            here = _in_full(self.key, here)
            given = [name for name in names if isinstance(here, Mapping) and name in here]
            if not given:
                return _text(self.key, self.default) in self.allowed
            here = here[given[0]]
        return _text(self.key, here) in self.allowed


@dataclass(frozen=True)
class Exclusion:
    """Combinations in which each of these fields has one of its values."""

    conditions: tuple[_Condition, ...]
    at: Location
    in_words: str

    def matches(self, engine: str, values: Mapping[str, Any]) -> bool:
        """Whether it leaves out an experiment on this engine with these fields."""
        return all(condition.holds(engine, values) for condition in self.conditions)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The fields that it names."""
        return tuple(condition.key for condition in self.conditions)

    @property
    def engines(self) -> tuple[str, ...]:
        """The engines whose sections it names."""
        return tuple(engine for key in self.keys if (engine := engine_of(key)) is not None)


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
            found.append(Exclusion(tuple(map(_condition, given)), at, words))
        elif isinstance(entry, Mapping) and not entry:
            problems.add(at, "this names no field, and so would leave out everything")
    return found


def canonical_value(value: Any) -> str:
    """A value as text that is equal for equal values."""
    try:
        return canonical({"": value})[4:-1]
    except (TypeError, ValueError):
        return repr(value)


def _condition(given: Given) -> _Condition:
    kind, value, key = kind_of(given.key), given.value, given.key
    is_several = isinstance(value, list | tuple)
    if is_several and kind is not None and kind.is_only_a_list:
        is_several = all(isinstance(each, list | tuple | None) for each in value)
    names: list[tuple[str, ...]] = []
    model: Any = ExperimentConfig
    default: Any = None
    for part in key:
        others = () if model is None else tuple(other for other, name in keys_of(model).items() if name == part)
        names.append(tuple(dict.fromkeys((part, *others))))
        default = None if model is None else defaults_of(model).get(part)
        model = None if model is None else model_in(type_of(model, part))
    allowed = frozenset(_text(key, each) for each in (value if is_several else [value]))
    return _Condition(key, allowed, tuple(names), default)


def _in_full(key: Key, value: Any) -> Any:
    """A section in its full form."""
    if key[0] == "dataset" and isinstance(value, str):
        return DatasetConfig.from_shorthand(value)
    if key[0] == "phases" and isinstance(value, bool):
        return PhasesConfig.from_shorthand(value)
    return value


def _text(key: Key, value: Any) -> str:
    """A value as text; a whole number is also the one with a point."""
    if len(key) == 1:
        value = _in_full(key, value)
    return canonical_value(int(value) if isinstance(value, float) and value.is_integer() else value)
