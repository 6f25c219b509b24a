"""Engines by name: those of this package, and those that other distributions bring by an entry point.

Nothing is imported, and no installed distribution is looked at, before a name is asked for that needs it.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.base import nearest
from llenergymeasure.config.engines.ctranslate2 import CTranslate2Config
from llenergymeasure.config.engines.llamacpp import LlamaCppConfig
from llenergymeasure.config.engines.onnxruntime import OnnxRuntimeConfig
from llenergymeasure.config.engines.pytorch import PyTorchConfig
from llenergymeasure.config.engines.section import EngineSection
from llenergymeasure.config.engines.server import ServerConfig
from llenergymeasure.config.engines.sglang import SGLangConfig
from llenergymeasure.config.engines.tensorrt import TensorRTConfig
from llenergymeasure.config.engines.vllm import VLLMConfig
from llenergymeasure.config.entry_points import EntryPoint, brought, entry_points, passed_over

# Entry points of this group name an engine: a class like those in ``_OWN``.
ENTRY_POINTS = "llenergymeasure.engines"
# Stands for the first installed engine.
AUTO = "auto"

# Sections that are fields of an experiment, by the name of the engine.
ENGINE_SECTIONS: dict[str, type[EngineSection]] = {
    "pytorch": PyTorchConfig,
    "vllm": VLLMConfig,
    "tensorrt": TensorRTConfig,
    "llamacpp": LlamaCppConfig,
    "ctranslate2": CTranslate2Config,
    "onnxruntime": OnnxRuntimeConfig,
    "sglang": SGLangConfig,
    "server": ServerConfig,
}
# The engines of this package, best first, written as entry points are. A new one is a file and a line here; its section
# is the class attribute ``section``, as in other distributions.
_OWN: dict[str, str] = {
    "pytorch": "llenergymeasure.core.backends.pytorch:PyTorchBackend",
    "vllm": "llenergymeasure.core.backends.vllm:VLLMBackend",
    "llamacpp": "llenergymeasure.core.backends.llamacpp:LlamaCppBackend",
    "ctranslate2": "llenergymeasure.core.backends.ctranslate2:CTranslate2Backend",
    "onnxruntime": "llenergymeasure.core.backends.onnxruntime:OnnxRuntimeBackend",
    "sglang": "llenergymeasure.core.backends.sglang:SGLangBackend",
    "tensorrt": "llenergymeasure.core.backends.tensorrt:TensorRTBackend",
    "server": "llenergymeasure.core.backends.server:ServerBackend",
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
# What stands beside sections in files; a test holds it against the models.
RESERVED = frozenset(
    {
        AUTO, "backend", "baseline", "cluster", "dataset", "decoder", "device", "energy", "exclude", "execution",
        "experiments", "left_out", "load", "lora", "max_input_tokens", "max_output_tokens", "measurement", "model", "n",
        "name", "nodes", "output", "output_dir", "passthrough_kwargs", "phases", "precision", "quality", "random_seed",
        "slo", "sweep", "warmup", "zip",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class FoundEngine:
    """An engine that was asked for by name: its class, or in one line why it cannot be had.

    ``origin`` is the distribution that brings it; empty for those of this package.
    """

    name: str
    origin: str = ""
    engine: Any = None
    section: type[EngineSection] = EngineSection
    problem: str | None = None

    @property
    def in_words(self) -> str:
        """Its name, and where it comes from."""
        return _named(self.name, self.origin)


def own_names() -> tuple[str, ...]:
    """The engines of this package that can be run, best first."""
    return tuple(_OWN)


def own_sections() -> Mapping[str, type[EngineSection]]:
    """The sections of all engines of this package."""
    further = {name: found.section for name in _OWN if name not in ENGINE_SECTIONS and (found := find(name))}
    return {**ENGINE_SECTIONS, **further}


def names() -> tuple[str, ...]:
    """Every engine that can be run, or would be if it were not broken; those of this package first."""
    return (*_OWN, *(name for name in _of_others() if name not in _OWN and name not in ENGINE_SECTIONS))


def is_section(name: str) -> bool:
    """Whether a field of this name is the section of an engine."""
    return name in ENGINE_SECTIONS or name in _OWN or (name not in RESERVED and name in _of_others())


def section_class(name: str) -> type[EngineSection] | None:
    """The section of an engine; None where there is no such engine."""
    if name in ENGINE_SECTIONS:
        return ENGINE_SECTIONS[name]
    found = None if name in RESERVED else find(name)
    return None if found is None else found.section


def find(name: str) -> FoundEngine | None:
    """The engine of a name, loaded if need be; None if there is none that could be run."""
    if name not in _OWN and (name in ENGINE_SECTIONS or name not in _of_others()):
        return None
    return _loaded(name)


def in_words(name: str) -> str:
    """An engine by its name, with where it comes from; nothing is loaded."""
    points = () if name in _OWN or name in ENGINE_SECTIONS else _of_others().get(name, ())
    return _named(name, _origins(points))


def nearest_engine(name: str) -> str:
    """A hint that names the closest engine, or all of them when none is close."""
    known = [*ENGINE_SECTIONS, *(other for other in names() if other not in ENGINE_SECTIONS)]
    return nearest(name, known, otherwise=f"there are: {', '.join(known)}")


def taken_names() -> dict[str, str]:
    """Names of this package's engines that others bring too, and who."""
    return passed_over(ENTRY_POINTS, {**_OWN, **ENGINE_SECTIONS})


def look_again() -> None:
    """Forget what is installed: the next question looks anew."""
    entry_points.cache_clear()
    _loaded.cache_clear()


def _of_others() -> Mapping[str, tuple[EntryPoint, ...]]:
    return entry_points(ENTRY_POINTS)


@functools.cache
def _loaded(name: str) -> FoundEngine:
    points = (EntryPoint(_OWN[name]),) if name in _OWN else _of_others()[name]
    origins = _origins(points)
    unusable = FoundEngine(name=name, origin=origins)
    may_be = name not in RESERVED and _NAME.fullmatch(name)
    loaded = brought(
        points,
        None if may_be else "it is that of a field, or has more than small letters, digits and _",
        lambda engine: (getattr(engine, "section", EngineSection), getattr(engine, "name", name)),
    )
    if loaded.problem is not None:
        return _broken(unusable, loaded.problem)
    section, calls_itself = loaded.facts
    if calls_itself != name:
        return _broken(unusable, f"calls itself {calls_itself!r}; both names must be the same")
    if not (isinstance(section, type) and issubclass(section, EngineSection)):
        return _broken(unusable, "has a section that does not derive from EngineSection")
    return FoundEngine(name=name, origin=origins, engine=loaded.thing, section=section)


def _origins(points: Sequence[EntryPoint]) -> str:
    return " and ".join(point.origin for point in points)


def _named(name: str, origin: str) -> str:
    return f"the engine {name!r}{f' of {origin}' if origin else ''}"


def _broken(engine: FoundEngine, why: str) -> FoundEngine:
    return FoundEngine(name=engine.name, origin=engine.origin, problem=f"{engine.in_words} {why}")
