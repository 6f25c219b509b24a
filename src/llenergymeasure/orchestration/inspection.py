"""What this machine could run."""

from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.models import PACKAGED_MODELS, model_problem


@dataclass(frozen=True)
class Availability:
    """Something by name, and why it cannot be used; None if it can. ``uses_gpus`` is None where that says nothing."""

    name: str
    problem: str | None
    uses_gpus: bool | None = None


def engine_status(name: str, visible: Sequence[str] = ()) -> Availability:
    """Whether an engine is installed, and whether it would use any of the visible GPUs, given by UUID."""
    engine = get_backend(name)
    problem = engine.installation_problem()
    if problem is not None or not visible:
        return Availability(name, problem)
    uses_gpus = bool(engine.select_devices(ExperimentConfig(model="any", backend=name), visible))
    return Availability(name, None, uses_gpus)


def model_status() -> list[Availability]:
    """Whether the packaged models are installed."""
    return [Availability(name, model_problem(name)) for name in PACKAGED_MODELS]
