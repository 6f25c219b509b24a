"""What this machine could run."""

from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.checkpoint.source import PACKAGED_MODELS, model_problem
from llenergymeasure.core.energy_backends import SensorContext, choose_source
from llenergymeasure.core.nvidia.devices import visible_gpus
from llenergymeasure.domain.plan import ProcessLayout


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


def process_layout(config: ExperimentConfig) -> ProcessLayout:
    """How many processes an experiment will be run in."""
    return get_backend(config.backend).processes(config)


def energy_line(config: ExperimentConfig) -> str:
    """Where the joules of an experiment would come from, as far as can be told without running it.

    Raises:
        ConfigError: the source that it names is not usable.
    """
    wanted = config.energy.backend
    if wanted is None:
        return "energy: none is asked for (energy.backend is null)"
    devices = get_backend(config.backend).select_devices(config, visible_gpus().uuids)
    source, _ = choose_source(wanted, SensorContext(devices=devices))
    if source is None:
        return "energy: null, because no source of energy answers here; 'llem config' says why"
    return f"energy: {source.name}, {'modelled, not sensed' if source.modelled else 'sensed'}"


def model_status() -> list[Availability]:
    """Whether the packaged models are installed."""
    return [Availability(name, model_problem(name)) for name in PACKAGED_MODELS]
