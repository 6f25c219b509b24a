"""What this machine could run."""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llenergymeasure.config.engines import registry
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import engine_names, failed_when_asked, get_backend, loggers_of
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, model_problem
from llenergymeasure.exceptions import LLEMError, contained


@dataclass(frozen=True)
class Availability:
    """Something by name, and why it cannot be used; None if it can.

    ``uses_gpus`` is None where that says nothing, ``python`` the one of an engine that lives in another environment;
    ``proven`` is whether an engine was ever run on hardware.
    """

    name: str
    problem: str | None
    uses_gpus: bool | None = None
    python: str | None = None
    proven: bool = True


def engine_status(name: str, visible: Sequence[str] = ()) -> Availability:
    """Whether an engine is installed, and whether it would use any of the visible GPUs, given by UUID.

    Never raises: one that cannot be loaded, or fails when it is asked, cannot be used, and the others can.
    """
    try:
        engine = get_backend(name)
        with contained():
            problem, proven = engine.installation_problem(), bool(engine.hardware_proven)
            if problem is not None or not visible:
                return Availability(name, problem, proven=proven)
            uses_gpus = bool(engine.select_devices(ExperimentConfig(model="any", backend=name), visible))
    except LLEMError as error:
        return Availability(name, str(error))
    except Exception as error:  # noqa: BLE001 - another distribution's engine raises what it will
        return Availability(name, failed_when_asked(name, error))
    return Availability(name, None, uses_gpus, proven=proven)


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
