"""Things and values that come from code of others: completed, and looked at before anything is worked out from them."""

import functools
from dataclasses import asdict
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
    """A value of one of our frozen dataclasses, every field of which is, or reads as, what it is to be.

    Args:
        kind: the dataclass.
        value: what somebody says is one.

    Raises:
        ValueError: it is none, or the first field that is wrong, in one line.
    """
    if not isinstance(value, kind):
        raise ValueError(f"gave {type(value).__name__} {value!r:.80} where a {kind.__name__} belongs")
    try:
        # The type checker cannot know that both are dataclasses.
        of_kind, a_value = cast("Any", kind), cast("Any", value)
        found: _Kind = _adapter(of_kind).validate_python(asdict(a_value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"gave {where} {first['input']!r:.80}: {first['msg']}") from None
    return found


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
