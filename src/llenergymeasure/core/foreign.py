"""Things and values that come from code of others: completed, and looked at before anything is worked out from them."""

import functools
from dataclasses import asdict, is_dataclass
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

_Base = TypeVar("_Base")
_Kind = TypeVar("_Kind")


def with_defaults(thing: Any, base: type[_Base]) -> _Base:
    """``thing`` itself if it derives from ``base``; else one that asks it for what it has and has the rest of it.

    Args:
        thing: an object that has the names of a seam, and any of its base's.
        base: the class with a default for everything else; it is made without arguments.
    """
    if isinstance(thing, base):
        return thing

    def asked(name: str) -> property:
        return property(lambda _: getattr(thing, name))

    own = {name: asked(name) for name in dir(thing) if not name.startswith("_")}
    made: _Base = type(f"{type(thing).__name__}With{base.__name__}", (base,), own)()
    return made


def checked(kind: type[_Kind], value: Any) -> _Kind:
    """A value of one of our frozen dataclasses, every field of which is of the kind that it is to be.

    Args:
        kind: the dataclass.
        value: what somebody says is one.

    Raises:
        ValueError: it is none, or the first field that is wrong, in one line.
    """
    if not is_dataclass(value) or not isinstance(value, kind):
        raise ValueError(f"gave {type(value).__name__} {value!r:.80} where a {kind.__name__} belongs")
    try:
        fields, wanted = cast("Any", value), cast("Any", kind)
        found: _Kind = _adapter(wanted).validate_python(asdict(fields))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"gave {where} {first['input']!r:.80}: {first['msg']}") from None
    return found


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
