"""Configuration errors as lines a person can act on."""

import functools
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from llenergymeasure.config.base import CONFLICT, VALUE_ERROR, closest
from llenergymeasure.config.engines import ENGINE_SECTIONS, registry
from llenergymeasure.config.engines.takes_sections import TakesSections
from llenergymeasure.config.fields import field_of, keys_of, members, model_at, model_in, takes_mapping, takes_null
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.names.secrets import WrittenOut, literal_secrets, without
from llenergymeasure.config.reading.yaml_file import Location, printable
from llenergymeasure.exceptions import ConfigError

_Model = TypeVar("_Model", bound=BaseModel)

_EXTRA = "extra_forbidden"
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
# Finding the nearest key takes time; whoever has more wrong keys than this has another kind of file.
_MOST_HINTS = 50


def name_of(location: Location) -> str:
    """A field as it is called in a message."""
    return ".".join(printable(str(part)) for part in location) or "configuration"


def validated(
    model: type[_Model],
    values: Mapping[str, Any],
    place: Callable[[Location], str],
    also_wrong: Sequence[str] = (),
    name: Callable[[Location], str] = name_of,
) -> _Model:
    """The model of these values.

    Args:
        model: a configuration model.
        values: its fields.
        place: where the value of a field was given, such as ``file:line``; empty where there is nothing to say.
        also_wrong: lines about what is wrong and no part of the values.
        name: what a field is called there.

    Raises:
        ConfigError: there are unknown keys, secrets that are written out, or lines in ``also_wrong``; one line for
            every error, of values too.
        ValidationError: keys are right, values are not; the same lines as notes.
    """
    secrets = dict(literal_secrets(values))
    if secrets:
        raise ConfigError("\n".join([*also_wrong, *_lines_beside(secrets, model, values, place, name)]))
    try:
        found = model.model_validate(values)
    except ValidationError as error:
        lines = [*also_wrong, *error_lines(error, model, place, name)]
        if also_wrong or any(detail["type"] == _EXTRA for detail in error.errors(include_url=False)):
            raise ConfigError("\n".join(lines)) from None
        for line in lines:
            error.add_note(line)
        raise
    if also_wrong:
        raise ConfigError("\n".join(also_wrong))
    return found


def _lines_beside(
    secrets: Mapping[Location, WrittenOut],
    model: type[BaseModel],
    values: Mapping[str, Any],
    place: Callable[[Location], str],
    name: Callable[[Location], str],
) -> list[str]:
    """A line for each secret, with what else is wrong with its field, and for each other error that shows none."""
    errors: dict[Location, tuple[str, str]] = {}
    try:
        model.model_validate(without(values, secrets))
    except ValidationError as error:
        errors = messages_of(error, model)
    lines = []
    for where, secret in secrets.items():
        told = printable(f"{name(where)}: {secret.told(errors.pop(where, ('', ''))[0])}", 400)
        lines.append(f"{place(where)}: {told}" if place(where) else told)
    return [*lines, *_in_order(errors, place, name)]


def error_lines(
    error: ValidationError,
    model: type[BaseModel] | None = None,
    place: Callable[[Location], str] = lambda _: "",
    name: Callable[[Location], str] = name_of,
) -> list[str]:
    """One line per wrong field, ``place: field: what is wrong``, those of a file in the order of its lines.

    Args:
        error: pydantic's error.
        model: the model that was validated; default the experiment or the study, as the error says.
        place: where the value of a field was given.
        name: what a field is called there.
    """
    if model is None:
        model = StudyConfig if error.title == "StudyConfig" else ExperimentConfig
    return _in_order(messages_of(error, model), place, name)


def messages_of(error: ValidationError, model: type[BaseModel]) -> dict[Location, tuple[str, str]]:
    """What is wrong with each field, and what was given where that says something."""
    by_location: dict[Location, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        by_location.setdefault(_field_location(model, detail), []).append(detail)
    hint = _Hints(model)
    found = {}
    for location, details in by_location.items():
        messages = dict.fromkeys(_message(detail, location, model, hint) for detail in details)
        found[location] = " or ".join(messages), _given(details)
    return found


def _in_order(
    errors: Mapping[Location, tuple[str, str]], place: Callable[[Location], str], name: Callable[[Location], str]
) -> list[str]:
    return lines_of([(place(at), f"{name(at)}: {wrong}{given}") for at, (wrong, given) in errors.items()])


def lines_of(errors: Iterable[tuple[str, str]]) -> list[str]:
    """Each (place, what is wrong there) as a line, once, those of a file in the order of its lines."""
    # Stable: what has no line keeps its order and comes first.
    found = sorted(dict.fromkeys(errors), key=lambda line: _line_number(line[0]))
    return [f"{where}: {text}" if where else text for where, text in found]


def unknown_key(location: Location) -> str:
    """What to say of a key that an experiment does not have."""
    return f"unknown key{_Hints(ExperimentConfig)(str(location[-1]), location[:-1])}"


def _line_number(place: str) -> int:
    line = re.search(r":(\d+)$", place)
    return int(line[1]) if line else 0


def _message(detail: ErrorDetails, location: Location, model: type[BaseModel], hint: "_Hints") -> str:
    kind = detail["type"]
    if kind == _EXTRA:
        return f"unknown key{hint(str(location[-1]), location[:-1])}"
    above = model_at(model, location[:-1])
    field = field_of(above, str(location[-1])) if above and location else None
    if kind == "string_pattern_mismatch" and field is not None:
        return f"this is not of the form that the field takes ({field.description})"
    if kind == "missing" and location == ("model",):
        return "Field required; give a hub id, a directory, a GGUF file, or a packaged model's short name"
    message = detail["msg"].removeprefix(VALUE_ERROR)
    return f"{message}, or null" if kind == "literal_error" and field and takes_null(field.annotation) else message


class _Hints:
    """What an unknown key may have been meant for; nothing once there were too many to be mistakes of spelling."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self._n_given = 0
        self._closest = functools.cache(closest)

    def __call__(self, name: str, above: Location) -> str:
        self._n_given += 1
        if self._n_given > _MOST_HINTS:
            return ""
        model = model_at(self._model, above)
        if model is None:
            return ""
        if name in keys_of(model):
            return f"; it is another name of {keys_of(model)[name]!r}, which is given too; keep one of them"
        if model is StudyConfig and name in keys_of(ExperimentConfig):
            return "; it belongs into an experiment, below 'experiments:'"
        if model is ExperimentConfig and _sections_with(name):
            return _meant(_sections_with(name), name)
        for section, field in model.model_fields.items() if model is ExperimentConfig else ():
            inner = model_in(field.annotation)
            part = name.removeprefix(f"{section}_")
            if inner is not None and part != name and part in keys_of(inner):
                return f"; did you mean '{section}.{part}' (LLEM_{section.upper()}__{part.upper()} in a variable)?"
        return self._near(name, above, model)

    def _near(self, name: str, above: Location, model: type[BaseModel]) -> str:
        """The key that a misspelt one was meant for, by its whole name: of the same model, or else of a section."""
        known = [*keys_of(model), *(("experiments",) if model is ExperimentConfig and not above else ())]
        known += [engine for engine in registry.names() if issubclass(model, TakesSections) and engine not in known]
        found = self._closest(name, tuple(known))
        if found is not None:
            inside = above[2:] if above[:1] == ("experiments",) else above
            return _meant([".".join(map(str, inside))], found)
        further = self._closest(name, _keys_of_sections()) if model is ExperimentConfig else name
        having = _sections_with(further) if further is not None else []
        return _meant(having, further) if further is not None and having else f"; known: {', '.join(sorted(known))}"


def _meant(sections: Sequence[str], key: str) -> str:
    places = (f"'{section}.{key}'" if section else f"'{key}'" for section in sections)
    return f"; did you mean {' or '.join(places)}?"


def _keys_of_sections() -> tuple[str, ...]:
    """Every key of a section of an experiment, once."""
    inner = (model_in(field.annotation) for field in ExperimentConfig.model_fields.values())
    return tuple(dict.fromkeys(key for model in inner if model is not None for key in keys_of(model)))


def _sections_with(name: str) -> list[str]:
    """The sections of an experiment that have a field or alias of this name; of those of engines the first."""
    having = [
        section
        for section, field in ExperimentConfig.model_fields.items()
        if (inner := model_in(field.annotation)) is not None and name in keys_of(inner)
    ]
    engines = [section for section in having if section in ENGINE_SECTIONS]
    return [section for section in having if section not in engines[1:]]


def _given(details: Sequence[ErrorDetails]) -> str:
    """What was given, for errors whose value says something."""
    for detail in details:
        quiet = detail["type"] in (_EXTRA, "missing", CONFLICT) or isinstance(detail["input"], dict | BaseModel)
        if not quiet and detail["loc"][-1:] != ("[key]",):
            return f", got {_shown(detail['input'])}"
    return ""


def _shown(value: Any) -> str:
    """A value as it would be written in YAML, and not too long."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    text = _SHORT.repr(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return f"{text}, which YAML reads as text; write it as {float(value)!r}"
    return text


def _field_location(model: type[BaseModel], detail: ErrorDetails) -> Location:
    """The location as far as it names fields; pydantic goes on with the branches of a union."""
    location = detail["loc"]
    if detail["type"] == _EXTRA:
        return location
    found: list[str | int] = []
    current: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int):
            found.append(part)
            continue
        field = None if current is None else field_of(current, part)
        if field is None:
            break
        found.append(part)
        kind = field.annotation
        current = model_in(kind)
        if takes_mapping(kind):
            # A mapping of the user's own keys: next comes one of them, behind the branch if it is a union.
            branch = len(set(members(kind)) - {type(None)}) > 1
            if not branch or "dict[" in "".join(map(str, location[len(found) : len(found) + 1])):
                found += location[len(found) + branch : len(found) + branch + 1]
            break
    # A conflict inside of a section is found when the section is there as a whole.
    inside = detail.get("ctx", {}).get("field") if detail["type"] == CONFLICT else None
    return (*found, inside) if inside else tuple(found)
