"""What classes of a library's settings have, as plain data: to be kept beside the tests, with the library's version.

So the default tests hold a section against a release that is not installed, and a test beside the library holds what
was kept against the real one. Dataclasses, msgspec's structs and pydantic's models are read; names that begin with an
underscore are the library's own business.
"""

import dataclasses
import enum
import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden"
# {name: {"type": as written, "default": its value, or the name of what makes it, "choices": those of its literals}}
Shape = dict[str, dict[str, Any]]
_NOTHING = (dataclasses.MISSING, inspect.Parameter.empty)


def recorded(file: str) -> dict[str, Any]:
    """What was kept of a library: ``version``, and a ``Shape`` for each class."""
    kept: dict[str, Any] = json.loads((GOLDEN / file).read_text(encoding="utf-8"))
    return kept


def record(file: str, version: str, shapes: dict[str, Shape]) -> None:
    """Keep this; a field has a line, so that a new release shows by its lines."""
    parts = [f'"version": {json.dumps(version)}']
    for name, shape in shapes.items():
        fields = ",\n".join(f"  {json.dumps(field)}: {json.dumps(told)}" for field, told in sorted(shape.items()))
        parts.append(f"{json.dumps(name)}: {{\n{fields}\n}}")
    (GOLDEN / file).write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def shape_of(settings: type) -> Shape:
    """The fields of a class of settings."""
    return {name: _told(kind, default) for name, kind, default in _fields(settings) if not name.startswith("_")}


def choices_of(kind: Any) -> list[Any]:
    """The values of all literals in a type, and the names of an enumeration's members; sorted."""
    if typing.get_origin(kind) is typing.Literal:
        return sorted({part for part in typing.get_args(kind) if part is not None}, key=str)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return sorted(kind.__members__)
    return sorted({value for part in typing.get_args(kind) for value in choices_of(part)}, key=str)


def _fields(settings: Any) -> list[tuple[str, Any, Any]]:
    if dataclasses.is_dataclass(settings):
        made = [(f.default if f.default_factory is dataclasses.MISSING else f.default_factory) for f in _of(settings)]
        return [(f.name, f.type, default) for f, default in zip(_of(settings), made, strict=True)]
    if hasattr(settings, "model_fields"):
        return [(n, f.annotation, f.default_factory or f.default) for n, f in settings.model_fields.items()]
    hints = typing.get_type_hints(settings)
    given = inspect.signature(settings).parameters
    return [(name, hints[name], given[name].default) for name in settings.__struct_fields__ if name in given]


def _of(settings: Any) -> tuple[Any, ...]:
    return dataclasses.fields(settings)


def _told(kind: Any, default: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"type": kind if isinstance(kind, str) else _type_name(kind)}
    if type(default).__name__ == "FieldInfo":  # pydantic puts what it knows of a field in the place of the default
        default = default.default_factory or default.default
    if default not in _NOTHING and type(default).__name__ != "PydanticUndefinedType":
        told["default"] = _plain(default)
    choices = [] if isinstance(kind, str) else choices_of(kind)
    return {**told, "choices": choices} if choices else told


def _type_name(kind: Any) -> str:
    """Without literals, whose values stand in ``choices``."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return "one of choices"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(_type_name, parts)))
    if origin is typing.Annotated:
        return _type_name(parts[0])
    if kind is types.NoneType:
        return "None"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{name}[{', '.join(map(_type_name, parts))}]" if parts and origin is not None else name


def _plain(default: Any) -> Any:
    if isinstance(default, enum.Enum):
        return default.name
    if default is None or isinstance(default, bool | int | float | str):
        return default
    if isinstance(default, list | tuple | set | dict):
        return type(default).__name__
    return default.__name__ if hasattr(default, "__name__") else type(default).__name__
