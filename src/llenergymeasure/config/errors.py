"""Configuration errors as lines a person can act on."""

import difflib
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.yaml_file import ConfigFile, printable

_EXTRA = "extra_forbidden"
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def error_lines(
    error: ValidationError, file: ConfigFile | None = None, overrides: Mapping[str, Any] | None = None
) -> list[str]:
    """One line per wrong field: ``file:line: field: what is wrong``.

    Without a file, or for a value that came from ``overrides``, there is no place.
    """
    model = StudyConfig if error.title == "StudyConfig" else ExperimentConfig
    lines: dict[tuple[str | int, ...], tuple[str, list[str]]] = {}
    for detail in error.errors(include_url=False):
        location = _field_location(model, detail["loc"]) if detail["type"] != _EXTRA else detail["loc"]
        place = ""
        if file is not None and not _is_overridden(location, overrides or {}):
            place = f"{file.path}:{file.line_of(location)}: "
        field = ".".join(printable(str(part)) for part in location) or "configuration"
        _, messages = lines.setdefault(location, (f"{place}{field}", []))
        messages.append(_message(detail, model))
    return [f"{head}: {' or '.join(messages)}{_given(error, at)}" for at, (head, messages) in lines.items()]


def has_unknown_keys(error: ValidationError) -> bool:
    """Whether one of the errors is a key that does not exist."""
    return any(detail["type"] == _EXTRA for detail in error.errors(include_url=False))


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint naming the closest known word, or all of them when none is close."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    if detail["type"] == _EXTRA:
        *above, name = detail["loc"]
        return f"unknown key; {_hint(str(name), model, above)}"
    if detail["type"] in ("model_type", "dict_type"):
        return "Input should be a mapping of fields"
    return detail["msg"].removeprefix("Value error, ")


def _hint(name: str, model: type[BaseModel], above: Sequence[str | int]) -> str:
    """The section that has exactly this key, else the nearest key."""
    if not above:
        for section, field in model.model_fields.items():
            inner = _model_in(field.annotation)
            if inner is not None and name in _keys(inner):
                return f"did you mean '{section}.{name}'?"
    return nearest(name, _known_keys(model, above))


def _given(error: ValidationError, location: tuple[str | int, ...]) -> str:
    """What was given, for errors whose value says something."""
    for detail in error.errors(include_url=False):
        quiet = detail["type"] in (_EXTRA, "missing") or isinstance(detail["input"], dict | BaseModel)
        if detail["loc"][: len(location)] == location and not quiet:
            return f", got {_SHORT.repr(detail['input'])}"
    return ""


def _is_overridden(location: Sequence[str | int], overrides: Mapping[str, Any]) -> bool:
    if location[:1] == ("experiments",):
        location = location[2:]
    here: Any = overrides
    for part in location:
        if not isinstance(here, Mapping):
            return True
        if part not in here:
            return False
        here = here[part]
    return bool(location)


def _field_location(model: type[BaseModel], location: Sequence[str | int]) -> tuple[str | int, ...]:
    """The location as far as it names fields; pydantic goes on with the branches of a union."""
    found: list[str | int] = []
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            found.append(part)
            continue
        if current is None or part not in _keys(current):
            break
        found.append(part)
        current = _model_in(_field_type(current, part))
    return tuple(found)


def _known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in location:
        if current is not None and isinstance(part, str):
            current = _model_in(_field_type(current, part))
    return list(_keys(current)) if current else []


def _keys(model: type[BaseModel]) -> dict[str, str]:
    """Every key a mapping for ``model`` may have, with the field it stands for."""
    keys = {name: name for name in model.model_fields}
    for name, field in model.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            keys |= {str(alias): name for alias in field.validation_alias.choices}
    return keys


def _field_type(model: type[BaseModel], key: str) -> Any:
    name = _keys(model).get(key)
    return model.model_fields[name].annotation if name else None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, list):
        return next((m for m in map(_model_in, typing.get_args(annotation)) if m), None)
    return None
