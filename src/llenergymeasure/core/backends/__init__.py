"""Inference engines. A new one is one file here and one line in ``_OWN``, or an entry point of another distribution."""

from importlib.metadata import EntryPoint, entry_points

from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.errors import nearest
from llenergymeasure.core.backends.base import EngineBase, LoadedModelBase
from llenergymeasure.core.defaults import with_defaults
from llenergymeasure.exceptions import BackendError, ConfigError

__all__ = ["ENTRY_POINTS", "EngineBase", "LoadedModelBase", "engine_names", "get_backend"]

ENTRY_POINTS = "llenergymeasure.engines"

# Best first. An engine is imported when it is asked for: what one of them imports is nobody else's burden.
_OWN = {"pytorch": "llenergymeasure.core.backends.pytorch:PyTorchBackend"}


def engine_names() -> tuple[str, ...]:
    """The engines that can be asked for: those of this package, best first, then those of other distributions."""
    return tuple(_found())


def get_backend(name: str) -> EngineBase:
    """The engine of this name, with the defaults for what it does not write; whether it is installed, it says itself.

    Raises:
        ConfigError: no such engine, or one that can be configured and not yet run.
        BackendError: it is another distribution's, and raises while it is imported or made.
    """
    found = _found()
    if name in ENGINE_SECTIONS and name not in found:
        raise ConfigError(
            f"backend: the engine {name!r} can be configured, but this version cannot run it yet; "
            f"it runs: {', '.join(found)}"
        )
    if name not in found:
        raise ConfigError(f"backend: no engine is called {name!r}; {nearest(name, tuple(found))}")
    try:
        engine = found[name].load()()
    except Exception as error:  # code of others raises whatever it will
        raise BackendError(_broken(found[name], error)) from error
    return with_defaults(engine, EngineBase)


def _found() -> dict[str, EntryPoint]:
    """By their names; one of this package goes before another distribution's."""
    own = {name: EntryPoint(name, value, ENTRY_POINTS) for name, value in _OWN.items()}
    return own | {point.name: point for point in entry_points(group=ENTRY_POINTS) if point.name not in own}


def _broken(point: EntryPoint, error: Exception) -> str:
    of = f" of the distribution {point.dist.name}" if point.dist is not None else ""
    said = (str(error).splitlines() or [""])[0]
    return f"the engine {point.name}{of} cannot be used: {type(error).__name__}: {said}"
