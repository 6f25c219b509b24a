"""What the configuration can hold, derived from the models and written nowhere else."""

import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from llenergymeasure.config.base import Known
from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines import registry
from llenergymeasure.config.fields import keys_of, members, metadata
from llenergymeasure.config.in_memory import PromptsInMemory
from llenergymeasure.config.load import LOAD_KINDS
from llenergymeasure.config.models import ExperimentConfig

_BOUNDS: tuple[tuple[type, str], ...] = (
    (annotated_types.Gt, "gt"),
    (annotated_types.Ge, "ge"),
    (annotated_types.Lt, "lt"),
    (annotated_types.Le, "le"),
    (annotated_types.MinLen, "min_length"),
    (annotated_types.MaxLen, "max_length"),
)
_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "text",
    Path: "path",
    list: "list",
    tuple: "list",
    dict: "mapping",
    PromptsInMemory: "mapping",
}


def experiment_schema(further: Sequence[str] = (), sensors: Sequence[str] = ()) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of ``ExperimentConfig``.

    Args:
        further: engines of other distributions whose sections are to be in it.
        sensors: names of other distributions' sensors.
    """
    model_with_all = _experiment().with_sections(*further)
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model_with_all.model_json_schema(),
    }
    for option in schema["$defs"]["EnergyConfig"]["properties"]["backend"]["anyOf"]:
        if "enum" in option:
            option["enum"] += [name for name in sensors if name not in option["enum"]]
    engines = [name for name in model_with_all.model_fields if registry.is_section(name)]
    schema["properties"]["backend"]["enum"] = [*engines, registry.AUTO]
    for model in (
        type(part) for part in vars(ExperimentConfig(model="example")).values() if isinstance(part, BaseModel)
    ):
        properties = schema["$defs"][model.__name__]["properties"]
        for alias, name in keys_of(model).items():
            properties.setdefault(alias, properties[name])
    return schema


def field_descriptions() -> dict[str, str]:
    """What every field does, by dotted name."""
    return {name: field.description or "" for name, field in _leaves(_experiment())}


def field_defaults(model: type[ExperimentConfig] | None = None) -> dict[str, Any]:
    """The built-in default of every field that has one, by dotted name; with ``model``, of its sections too."""
    fields = _leaves(model or _experiment())
    return {name: _default_of(field) for name, field in fields if not field.is_required()}


def _default_of(field: FieldInfo) -> Any:
    """The default as a plain value: one that gives way to an engine's own is a text of another class."""
    default = field.get_default()
    return str(default) if isinstance(default, str) else default


def field_constraints() -> dict[str, dict[str, Any]]:
    """Bounds and choices of every field, by dotted name: ``{"n": {"ge": 1}, ...}``."""
    return {name: _constraints(field) for name, field in _leaves(_experiment())}


def field_kinds() -> dict[str, tuple[str, ...]]:
    """The kinds of value that every field takes beside its choices and null, by dotted name, in plain words."""
    return {
        name: tuple(
            dict.fromkeys(_KINDS[kind] for kind in map(_plain_type, _types(field.annotation)) if kind in _KINDS)
        )
        for name, field in _leaves(_experiment())
    }


def engine_support() -> dict[str, tuple[str, ...] | None]:
    """Which engines read a field, by dotted name; None means every engine."""
    return {name: _engines_of(name) for name, _ in _leaves(_experiment())}


def field_test_values() -> dict[str, list[Any]]:
    """Valid values to try for a field, by dotted name: its default, its choices, its edges."""
    values = {}
    for name, field in _leaves(_experiment()):
        found: list[Any] = [] if field.is_required() else [_default_of(field)]
        rules = _constraints(field)
        if type(None) in _types(field.annotation):
            found.append(None)
        found += [*rules.get("choices", []), *(field.examples or [])]
        found += [rules[edge] for edge in ("ge", "le") if edge in rules]
        if bool in _types(field.annotation):
            found += [True, False]
        elif "gt" in rules or "lt" in rules:
            found.append(_inside(rules, whole=int in _types(field.annotation)))
        if str in _types(field.annotation) and field.is_required():
            found.append("example")
        distinct = [v for i, v in enumerate(found) if (type(v), v) not in [(type(w), w) for w in found[:i]]]
        values[name] = [v for v in distinct if _is_kept(name, v)]
    return values


def _experiment() -> type[ExperimentConfig]:
    """An experiment with the sections of all engines of this package."""
    return ExperimentConfig.with_sections(*registry.own_names())


def _engines_of(name: str) -> tuple[str, ...] | None:
    section, _, field = name.partition(".")
    sections = registry.own_sections()
    if section in sections:
        return (section,)
    if section != "decoder" or field not in DecoderConfig.model_fields:
        return None
    having = tuple(e for e, engine in sections.items() if field not in engine.lacks_decoder_fields)
    return None if len(having) == len(sections) else having


def _is_kept(name: str, value: Any) -> bool:
    """Whether a configuration with this value is valid and keeps it."""
    *above, last = name.split(".")
    given: dict[str, Any] = {last: value}
    for part in reversed(above):
        given = {part: given}
    if above and registry.is_section(above[0]):
        given["backend"] = above[0]
    if above == ["lora"]:
        given["lora"].setdefault("path", "example")
    if above == ["nodes"]:
        given["nodes"].setdefault("n", 2)
    if above == ["slo"] or (above == ["load"] and last != "rate" and (last not in LOAD_KINDS or value is None)):
        given.setdefault("load", {})["rate"] = 1.0
    try:
        found: Any = ExperimentConfig.model_validate({"model": "example", **given})
    except ValidationError:
        return False
    for part in (*above, last):
        found = getattr(found, part)
    return bool(found == value)


def _inside(rules: dict[str, Any], *, whole: bool) -> int | float:
    """A value strictly between the bounds."""
    low: int | float | None = rules.get("gt", rules.get("ge"))
    high: int | float | None = rules.get("lt", rules.get("le"))
    if low is None:
        return high - 1 if high is not None else 0
    if high is None:
        return low + 1
    return (low + high) // 2 if whole else (low + high) / 2


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        inner = [t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)]
        if inner:
            yield from _leaves(inner[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _types(annotation: Any) -> list[Any]:
    return list(members(annotation))


def _plain_type(annotation: Any) -> Any:
    """``list`` of ``list[int]``."""
    return typing.get_origin(annotation) or annotation


def _constraints(field: FieldInfo) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    for constraint in (*field.metadata, *metadata(field.annotation)):
        found = constraint.metadata if isinstance(constraint, FieldInfo) else [constraint]
        for kind, name in _BOUNDS:
            for each in found:
                if isinstance(each, kind):
                    rules[name] = getattr(each, name)
    choices = [
        value
        for option in _types(field.annotation)
        if typing.get_origin(option) is typing.Literal
        for value in typing.get_args(option)
    ]
    known = (found for found in (*field.metadata, *metadata(field.annotation)) if isinstance(found, Known))
    choices += [value for found in known for value in found.choices]
    if choices:
        rules["choices"] = choices
    return rules
