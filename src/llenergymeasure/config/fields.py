"""Finding one's way in a configuration model: keys, aliases, types and the models inside."""

import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from llenergymeasure.config.engines.takes_sections import TakesSections


def keys_of(model: type[BaseModel]) -> dict[str, str]:
    """Every key a mapping for ``model`` may have, with the field it stands for."""
    keys = {name: name for name in model.model_fields}
    for name, field in model.model_fields.items():
        if isinstance(field.validation_alias, AliasChoices):
            keys |= {str(alias): name for alias in field.validation_alias.choices}
    return keys


def type_of(model: type[BaseModel], key: str) -> Any:
    """The annotation of the field behind a key; None if there is none."""
    field = field_of(model, key)
    return None if field is None else field.annotation


def field_of(model: type[BaseModel], key: str) -> FieldInfo | None:
    """The field behind a key, which may be the section of an engine that has no field yet; None if there is none."""
    if key not in keys_of(model) and issubclass(model, TakesSections):
        model = model.with_sections(key)
    name = keys_of(model).get(key)
    return model.model_fields[name] if name else None


def members(annotation: Any) -> Iterator[Any]:
    """The members of a union, or the annotation itself, each without ``Annotated``."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        yield from members(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from members(member)
    else:
        yield annotation


def metadata(annotation: Any) -> Iterator[Any]:
    """What ``Annotated`` says of the members of a union, not of what a list or mapping holds."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        inner, *own = typing.get_args(annotation)
        yield from own
        yield from metadata(inner)
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from metadata(member)


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, by itself, or null, or in a list."""
    for member in members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
        if typing.get_origin(member) is list:
            return model_in(typing.get_args(member)[0])
    return None


def takes_mapping(annotation: Any) -> bool:
    """Whether a field takes a mapping of the user's own keys."""
    return any(typing.get_origin(member) is dict for member in members(annotation))


def takes_null(annotation: Any) -> bool:
    """Whether a field may be null."""
    return type(None) in members(annotation)


def model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that stands at a place inside of ``model``; None if there is no model."""
    current: type[BaseModel] | None = model
    for part in location:
        if current is not None and isinstance(part, str):
            current = model_in(type_of(current, part))
    return current
