"""What other distributions bring: entry points by name, found without importing anything.

A table of this package's own is written as entry points are, ``{name: "module:attribute"}``.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from llenergymeasure.exceptions import ForeignExitError, contained


@dataclass(frozen=True)
class EntryPoint:
    """Where something lies, ``module:attribute``, and the distribution that brings it; empty for this package."""

    value: str
    origin: str = ""


@functools.cache
def entry_points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of other distributions by name; more than one of a name contradict each other."""
    found: dict[str, dict[str, EntryPoint]] = {}
    for distribution in metadata.distributions():
        try:
            points = list(distribution.entry_points.select(group=group))
            origin = f"{distribution.metadata['Name']} {distribution.version}" if points else ""
        except Exception:  # noqa: BLE001 - metadata that is no metadata fails in many ways, and is not ours
            continue
        for point in points:
            # Of a distribution that lies in two places on the path the first is imported.
            found.setdefault(point.name, {}).setdefault(
                origin.partition(" ")[0].lower(), EntryPoint(point.value, origin)
            )
    return {name: tuple(points.values()) for name, points in found.items()}


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What an entry point leads to, and what was wanted of it; or in one line why it cannot be had."""

    thing: Any = None
    problem: str | None = None
    facts: Any = None


def load(value: str, facts: Callable[[Any], Any] = lambda _: None) -> Loaded:
    """Import what an entry point names, and ask it for facts; never raises.

    Args:
        value: ``module:attribute``.
        facts: what is wanted of the thing itself, whose attributes may raise too.
    """
    module, _, attribute = value.partition(":")
    try:
        with contained():
            thing = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
            return Loaded(thing=thing, facts=facts(thing))
    except Exception as error:  # noqa: BLE001 - another's code raises what it will while it is imported
        return Loaded(problem=f"cannot be loaded: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """An error in one line: its kind and the beginning of its text."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    if isinstance(error, ForeignExitError):
        return text[:300]
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
