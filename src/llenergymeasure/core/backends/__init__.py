"""Inference engines. A new one is one file here and one line in ``_ENGINES``."""

from collections.abc import Callable

from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.errors import nearest
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.defaults import with_defaults
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.protocols import InferenceBackend

__all__ = ["PyTorchBackend", "engine_names", "get_backend"]

# Best first.
_ENGINES: dict[str, Callable[[], InferenceBackend]] = {
    "pytorch": PyTorchBackend,
}


def engine_names() -> tuple[str, ...]:
    """The engines this package knows."""
    return tuple(_ENGINES)


def get_backend(name: str) -> EngineBase:
    """The engine of this name, with the defaults for what it does not write; whether it is installed, it says itself.

    Raises:
        ConfigError: no such engine, or one that can be configured and not yet run.
    """
    if name in ENGINE_SECTIONS and name not in _ENGINES:
        raise ConfigError(
            f"backend: the engine {name!r} can be configured, but this version cannot run it yet; "
            f"it runs: {', '.join(engine_names())}"
        )
    if name not in _ENGINES:
        raise ConfigError(f"backend: no engine is called {name!r}; {nearest(name, engine_names())}")
    return with_defaults(_ENGINES[name](), EngineBase)
