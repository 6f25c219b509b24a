"""Joule sources, and the choice among them. A new source is one file here and one line in ``_SOURCES``."""

from collections.abc import Callable, Iterator, Sequence

from llenergymeasure.config.errors import nearest
from llenergymeasure.core.energy_backends.codecarbon import CodeCarbonBackend
from llenergymeasure.core.energy_backends.nvml import NVMLBackend
from llenergymeasure.core.energy_backends.rapl import RAPLBackend
from llenergymeasure.core.energy_backends.source import NO_GPU_IN_USE, EnergySourceBase, SensorContext, SourceStatus
from llenergymeasure.core.energy_backends.zeus import ZeusBackend
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.protocols import EnergyBackend

__all__ = [
    "CodeCarbonBackend",
    "EnergyMeasurement",
    "NVMLBackend",
    "RAPLBackend",
    "SensorContext",
    "SourceStatus",
    "ZeusBackend",
    "choose_source",
    "create_source",
    "make_source",
    "probe_sources",
    "select_energy_backend",
]

# Best first: this is the order of 'auto'.
_SOURCES: dict[str, Callable[[SensorContext], EnergySourceBase]] = {
    "zeus": ZeusBackend.in_context,
    "nvml": NVMLBackend.in_context,
    "rapl": RAPLBackend.in_context,
    "codecarbon": CodeCarbonBackend.in_context,
}


def select_energy_backend(
    explicit: str | None, *, devices: Sequence[str] | None = None, device_index: int = 0
) -> EnergyBackend | None:
    """The energy source to measure with.

    Args:
        explicit: a source's name, ``"auto"`` for the best that answers, or None for none.
        devices: UUIDs of the GPUs in use, empty for a CPU; default the GPU of ``device_index``.
        device_index: NVML's index of the GPU, used when ``devices`` is None.

    Returns:
        A source that has read a device; None when none is wanted, or ``"auto"`` finds none.

    Raises:
        ConfigError: the named source is unknown or not usable.
    """
    context = SensorContext(devices=None if devices is None else tuple(devices), device_index=device_index)
    return choose_source(explicit, context)[0]


def choose_source(wanted: str | None, context: SensorContext) -> tuple[EnergySourceBase | None, str | None]:
    """The source to measure with, as ``select_energy_backend``; or None and why there is none.

    Raises:
        ConfigError: the named source is unknown or not usable.
    """
    if wanted is None:
        return None, "energy.backend is null: none was asked for"
    if wanted != "auto":
        return create_source(wanted, context), None
    problems = []
    for status in probe_sources(context):
        if status.problem is None:
            return status.source, None
        problems.append(f"{status.name}: {status.problem}")
    return None, f"no source of energy answered ({', '.join(problems)})"


def create_source(name: str, context: SensorContext) -> EnergySourceBase:
    """The source of this name.

    Raises:
        ConfigError: unknown or not usable here.
    """
    source = make_source(name, context)
    problem = _problem(source, context)
    if problem is not None:
        said = problem == NO_GPU_IN_USE or source.remedy in problem
        advice = "" if said else f"; {source.remedy}"
        raise ConfigError(f"energy backend {name!r} is not usable: {problem}{advice}")
    return source


def make_source(name: str, context: SensorContext) -> EnergySourceBase:
    """The source of this name, whether or not it is usable.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in _SOURCES:
        raise ConfigError(f"energy.backend: no source is called {name!r}; {nearest(name, [*_SOURCES, 'auto'])}")
    return _SOURCES[name](context)


def probe_sources(context: SensorContext) -> Iterator[SourceStatus]:
    """Try the sources one after another, best first; each is probed when it is asked for."""
    for name, create in _SOURCES.items():
        source = create(context)
        problem = _problem(source, context)
        yield SourceStatus(name=name, source=source, problem=problem)


def _problem(source: EnergySourceBase, context: SensorContext) -> str | None:
    if context.devices and not source.sees_gpus:
        return "the experiment runs on a GPU and this source sees only the CPU"
    return source.problem()
