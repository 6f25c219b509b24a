"""Inference engines by name: those of this package, and those of other distributions.

``config.engines.registry`` finds them; a new one of this package is one file here and one line there.
"""

import logging

from llenergymeasure.config.engines import registry
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.exceptions import BackendError, ConfigError, contained, in_one_line

__all__ = ["EngineBase", "LoadedModelBase", "engine_names", "failed_when_asked", "get_backend", "loggers_of"]

_log = logging.getLogger(__name__)


def engine_names() -> tuple[str, ...]:
    """Every engine that can be run, those of this package first; looks at what is installed."""
    return registry.names()


def get_backend(name: str) -> EngineBase:
    """The engine of this name, with the defaults for what it does not write; whether it is installed, it says itself.

    Raises:
        ConfigError: no such engine.
        BackendError: an engine of another distribution that cannot be loaded.
    """
    found = registry.find(name)
    if found is None:
        raise ConfigError(f"backend: no engine is called {name!r}; {registry.nearest_engine(name)}")
    if found.problem is not None:
        raise BackendError(found.problem)
    try:
        with contained():
            return with_defaults(found.engine(), EngineBase)
    except Exception as error:  # another distribution's constructor raises what it will
        raise BackendError(f"{found.in_words} cannot be made: {in_one_line(error)}") from error


def loggers_of(engine: EngineBase) -> list[str]:
    """The loggers of an engine's libraries; none of one that cannot name them, which is told of elsewhere."""
    try:
        with contained():
            return list(map(str, engine.loggers))
    except Exception as error:  # noqa: BLE001 - another distribution's engine raises what it will
        _log.debug("the loggers of %s are not known: %s", type(engine).__name__, in_one_line(error))
        return []


def failed_when_asked(name: str, error: Exception) -> str:
    """What to say of an engine that raised where it should have answered."""
    return f"{registry.in_words(name)} failed when it was asked: {in_one_line(error)}"
