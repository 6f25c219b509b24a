"""Configuration errors as lines a person can act on."""

import difflib
import reprlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.yaml_file import Location, printable
from llenergymeasure.exceptions import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)
_EXTRA = "extra_forbidden"
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def validated(model: type[_Model], values: Mapping[str, Any], place: Callable[[Location], str]) -> _Model:
    """The model of these values.

    Args:
        model: a configuration model.
        values: its fields.
        place: where the value of a field was given, such as ``file:line``; empty where there is nothing to say.

    Raises:
        ConfigError: there are unknown keys; one line for every error, wrong values included.
        ValidationError: keys are right, values are not; the same lines as notes.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = error_lines(error, model, place)
        if any(detail["type"] == _EXTRA for detail in error.errors(include_url=False)):
            raise ConfigError("\n".join(lines)) from None
        for line in lines:
            error.add_note(line)
        raise


def error_lines(
    error: ValidationError,
    model: type[BaseModel] | None = None,
    place: Callable[[Location], str] = lambda _: "",
) -> list[str]:
    """One line per wrong field: ``place: field: what is wrong``; default the model is told from the error."""
    if model is None:
        model = StudyConfig if error.title == "StudyConfig" else ExperimentConfig
    lines: dict[Location, tuple[str, list[str]]] = {}
    for detail in error.errors(include_url=False):
        location = _field_location(model, detail["loc"]) if detail["type"] != _EXTRA else detail["loc"]
        where = place(location)
        field = ".".join(printable(str(part)) for part in location) or "configuration"
        _, messages = lines.setdefault(location, (f"{where}: {field}" if where else field, []))
        messages.append(_message(detail, model))
    return [f"{head}: {' or '.join(messages)}{_given(error, at)}" for at, (head, messages) in lines.items()]


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
        if detail["loc"][: len(location)] == location and not quiet and detail["loc"][-1:] != ("[key]",):
            return f", got {_shown(detail['input'])}"
    return ""


def _shown(value: Any) -> str:
    """A value as it would be written in YAML, and not too long."""
    return {True: "true", False: "false", None: "null"}[value] if isinstance(value, bool | None) else _SHORT.repr(value)


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
        kind = _field_type(current, part)
        current = _model_in(kind)
        if typing.get_origin(kind) is dict:
            # A mapping of the user's own keys: the next part is one of them.
            found += location[len(found) : len(found) + 1]
            break
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
