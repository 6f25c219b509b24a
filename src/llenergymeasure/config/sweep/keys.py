"""Dotted keys of an experiment's fields, and what may stand under each of them in a study."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, get_origin

from pydantic import BaseModel

from llenergymeasure.config.engines import registry
from llenergymeasure.config.errors import unknown_key
from llenergymeasure.config.experiment import ExperimentConfig
from llenergymeasure.config.fields import field_of, keys_of, members, model_in, takes_mapping
from llenergymeasure.config.reading.yaml_file import Location, printable
from llenergymeasure.config.sweep.ranges import is_range

# A field by the names of its sections and its own.
Key = tuple[str, ...]

OF_THE_STUDY = frozenset({"name", "output_dir", "execution", "cluster"})


@dataclass
class Problems:
    """What is wrong with a study, each with its place in the study."""

    found: list[tuple[Location, str]] = field(default_factory=list)

    def add(self, at: Location, text: str) -> None:
        """Something is wrong here."""
        self.found.append((at, text))


@dataclass(frozen=True)
class Given:
    """What stands under a key of a study: a field, what was given, and where."""

    key: Key
    value: Any
    at: Location


@dataclass(frozen=True)
class FieldKind:
    """What a field of an experiment takes, as far as a study must know."""

    is_section: bool
    takes_list: bool
    is_only_a_list: bool
    takes_mapping: bool
    takes_numbers: bool


def canonical_key(location: Location) -> Key:
    """A place in an experiment with names of fields for other names of them, and without numbers of lists."""
    model: type[BaseModel] | None = ExperimentConfig
    found: list[str] = []
    for part in location:
        if not isinstance(part, str):
            break
        found.append(keys_of(model).get(part, part) if model is not None else part)
        model = model_in(_annotation(model, part))
    return tuple(found)


def kind_of(key: Key) -> FieldKind | None:
    """What the field takes; None where there is no such field."""
    model: type[BaseModel] | None = ExperimentConfig
    annotation: Any = None
    for position, part in enumerate(key):
        if model is None:
            # Inside a mapping of the user's own: its keys are what the user makes them.
            return FieldKind(False, True, False, True, True) if position == 1 and takes_mapping(annotation) else None
        annotation = _annotation(model, part)
        if annotation is None:
            return None
        model = model_in(annotation)
    kinds = [get_origin(member) or member for member in members(annotation)]
    lists = [kind for kind in kinds if kind in (list, tuple)]
    return FieldKind(
        is_section=model is not None,
        takes_list=bool(lists),
        is_only_a_list=all(kind in (list, tuple, type(None)) for kind in kinds),
        takes_mapping=takes_mapping(annotation),
        takes_numbers=any(kind in (int, float) for kind in kinds),
    )


def _annotation(model: type[BaseModel] | None, part: str) -> Any:
    found = None if model is None else field_of(model, part)
    return None if found is None else found.annotation


def given_in(mapping: Any, at: Location, problems: Problems, above: Key = ()) -> Iterator[Given]:
    """Every field that a mapping of dotted keys gives, nested or not; what is no field is a problem."""
    if not isinstance(mapping, Mapping):
        problems.add(at, "this is a mapping of fields, such as precision: [fp32, bf16]")
        return
    for name, value in mapping.items():
        key, where = (*above, *str(name).split(".")), (*at, name)
        kind = kind_of(key)
        if kind is None:
            problems.add(where, _no_field(key))
        elif key[0] in OF_THE_STUDY:
            problems.add(where, f"{key[0]} is said once for the whole study, at the top of the file")
        elif isinstance(value, Mapping) and kind.is_section and not is_range(value):
            yield from given_in(value, where, problems, key)
        else:
            yield Given(canonical_key(key), value, where)


def _no_field(key: Key) -> str:
    for length in range(1, len(key) + 1):
        if kind_of(key[:length]) is None:
            above = kind_of(key[: length - 1]) if length > 1 else None
            if above is not None and not above.is_section:
                name = printable(".".join(key[: length - 1]))
                of_own = "its keys are your own; give a list of mappings" if above.takes_mapping else "it has no fields"
                return f"{name} is a field, {of_own}"
            return unknown_key(key[:length])
    return "unknown key"


def engine_of(key: Key) -> str | None:
    """The engine whose section a field stands in; None for those of all engines."""
    return key[0] if registry.is_section(key[0]) else None
