"""Whoever implements a seam and no more gets the defaults of its base class."""

from typing import Any, TypeVar

_Base = TypeVar("_Base")


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
