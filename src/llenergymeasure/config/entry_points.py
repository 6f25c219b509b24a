"""What other distributions bring: entry points by name, found without importing anything.

A table of this package's own is written as entry points are, ``{name: "module:attribute"}``.
"""

import contextlib
import functools
import importlib
import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.exceptions import contained, in_one_line

_log = logging.getLogger(__name__)
_MOST_LINES = 100


@dataclass(frozen=True)
class EntryPoint:
    """Where something lies, ``module:attribute``, and the distribution that brings it; empty for this package."""

    value: str
    origin: str = ""


@functools.cache
def entry_points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of other distributions by name; more than one of a name contradict each other."""
    # Imported here because llem --help needs it not, and it takes as long to import as all of click.
    from importlib import metadata

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


def passed_over(group: str, own: Iterable[str]) -> dict[str, str]:
    """Names of this package's own that other distributions bring too, and who brings them: theirs is never taken."""
    others = entry_points(group)
    return {name: " and ".join(point.origin for point in others[name]) for name in own if name in others}


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What an entry point leads to, and what was wanted of it; or in one line why it cannot be had."""

    thing: Any = None
    problem: str | None = None
    facts: Any = None


def brought(
    points: Sequence[EntryPoint], wrong_name: str | None, facts: Callable[[Any], Any] = lambda _: None
) -> Loaded:
    """What the entry points of one name lead to, as ``load``; the problem goes on from what has it.

    Args:
        points: of several nobody knows which is meant.
        wrong_name: why nothing can have this name; None where something can.
        facts: what is wanted of the thing itself.
    """
    if len(points) > 1:
        return Loaded(problem="is brought by both of them; uninstall one")
    if wrong_name is not None:
        return Loaded(problem=f"cannot have this name: {wrong_name}")
    (point,) = points
    is_new = point.origin and point.value.partition(":")[0] not in sys.modules
    problem = next(filter(None, (trial(point.value) for trial in _trials if is_new)), None)
    return load(point.value, facts) if problem is None else Loaded(problem=f"cannot be loaded: {problem}")


_trials: list[Callable[[str], str | None]] = []


@contextlib.contextmanager
def tried_first(trial: Callable[[str], str | None]) -> Iterator[None]:
    """Inside of the body what another distribution brings is tried before it is imported here.

    Args:
        trial: given ``module:attribute``, says why importing that would end this process or never end; None where it
            does neither. Whoever has processes at hand has one.
    """
    _trials.append(trial)
    try:
        yield
    finally:
        _trials.remove(trial)


def load(value: str, facts: Callable[[Any], Any] = lambda _: None) -> Loaded:
    """Import what an entry point names, and ask it for facts; never raises.

    Args:
        value: ``module:attribute``.
        facts: what is wanted of the thing itself, whose attributes may raise too.
    """
    module, _, attribute = value.partition(":")
    printed = io.StringIO()
    try:
        # What is printed on stdout is the result of the program.
        with contained(), contextlib.redirect_stdout(printed):
            thing = functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
            return Loaded(thing=thing, facts=facts(thing))
    except Exception as error:  # noqa: BLE001 - another's code raises what it will while it is imported
        return Loaded(problem=f"cannot be loaded: {in_one_line(error)}")
    finally:
        for line in printed.getvalue().splitlines()[:_MOST_LINES]:
            _log.info("printed while %s was imported: %s", module, line)
