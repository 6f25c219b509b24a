"""Which GPU each worker of a study has to itself, and what cannot be run so."""

import contextlib
import os
from collections.abc import Iterator, Sequence

from llenergymeasure.config import sensors
from llenergymeasure.config.execution import Workers
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.sensors import AUTO
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.gpu.machine import variables_showing, visible_gpus
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import EnergyScope
from llenergymeasure.exceptions import ConfigError, LLEMError, PreFlightError, first_line
from llenergymeasure.orchestration.preflight.check import examine, named
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.preflight.sensors import Sensors
from llenergymeasure.orchestration.processes.asking import Asking

# What a sensor may cover so that what others do meanwhile, on other GPUs, is not in its figures.
_OF_ONE_GPU: frozenset[EnergyScope] = frozenset({"gpu", "module"})
_LEAVE_OUT = "leave execution.workers (--workers) out"


def gpus_of_workers(workers: Workers, visible: VisibleGpus | None = None) -> tuple[GpuInfo, ...]:
    """The GPU of each worker that is to be started; none where this process is the only one.

    Args:
        workers: how many there are to be.
        visible: the GPUs that this process may use; None looks.

    Raises:
        PreFlightError: there are not as many GPUs.
    """
    if workers == 1:
        return ()
    visible = visible or visible_gpus()
    asked = f"execution.workers: {workers}"
    if visible.problem is not None:
        raise PreFlightError(f"{asked}: {visible.problem}")
    if not visible.gpus:
        raise PreFlightError(
            f"{asked}: each worker has a GPU to itself, and there is none here that can be used; without one they "
            f"would measure the same host, and so wait for each other; {_LEAVE_OUT} ('llem config' shows the GPUs)"
        )
    n_there = len(visible.gpus)
    n = n_there if workers == "per_gpu" else workers
    if n > n_there:
        raise PreFlightError(
            f"{asked}: each worker has a GPU to itself, and {n_there} can be used here; give no more, or per_gpu"
        )
    unshown = [gpu.uuid for gpu in visible.gpus[:n] if variables_showing(gpu.uuid) is None]
    if unshown:
        raise PreFlightError(f"{asked}: no process can be shown {unshown[0]} alone; {_LEAVE_OUT}")
    return visible.gpus[:n] if n > 1 else ()


def refuse_what_one_gpu_cannot(
    gpus: Sequence[GpuInfo], found: Sequence[tuple[Settled, ExaminedExperiment]], workers: Workers
) -> None:
    """Raise where an experiment could not be run, or not be measured, by workers that see one GPU each.

    Args:
        gpus: of the workers; where there are none, nothing is refused.
        found: the experiments, with what preflight found where all GPUs are seen.
        workers: as it was given, for the message.

    Raises:
        ConfigError: it names the experiments, and what each would need.
    """
    if not gpus:
        return
    experiments = [chosen.config for chosen, _ in found]
    kinds = list(dict.fromkeys(gpu.name for gpu in gpus))
    with Sensors(VisibleGpus(tuple(gpus))) as of_machine, Asking() as asking:
        problems = [
            [
                *_left_to_the_machine(chosen, kinds),
                *_about_the_gpu(chosen.config, examined, gpus[0].uuid, asking),
                *_about_the_sensor(chosen.config, gpus[0].uuid, of_machine),
            ]
            for chosen, examined in found
        ]
    if lines := named(problems, experiments):
        head = f"execution.workers: {workers} gives each worker one GPU, which does not go with what is to be run; "
        raise ConfigError("\n".join([f"{head}{_LEAVE_OUT}, or change:", *lines]))


@contextlib.contextmanager
def showing_only(uuid: str) -> Iterator[None]:
    """As a worker sees it: this process, and all that it starts meanwhile, find one GPU."""
    variables = variables_showing(uuid) or {}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _left_to_the_machine(chosen: Settled, kinds: Sequence[str]) -> Iterator[str]:
    """What another kind of GPU may choose otherwise."""
    if len(kinds) > 1:
        for field, given in chosen.as_given.items():
            of_kinds = f"of several kinds ({', '.join(kinds)})"
            yield f"{field}: {given} is left to the machine, whose GPUs are {of_kinds}; write what it is to be"


def _about_the_gpu(config: ExperimentConfig, found: ExaminedExperiment, first: str, asking: Asking) -> Iterator[str]:
    if found.layout.n_processes > 1:
        yield f"it takes {found.layout.in_words}, each with a GPU"
        return
    devices = found.devices or ()
    if not devices:
        yield "it uses no GPU, and what the host does would be measured while other workers use it"
        return
    if first not in devices:
        yield f"it names a GPU by its place ({', '.join(devices)}), and each worker sees one, as the first"
        return
    # More may only be what there is: whether one will do, and whether it can be read, is asked as a worker will ask.
    if len(devices) == 1 and config.energy.backend in (None, AUTO):
        return
    try:
        with showing_only(first):
            (alone,) = examine([config], None, asking)
    except LLEMError as error:
        yield f"with one GPU it cannot be run: {first_line(error)}"
        return
    if alone.layout.n_processes > 1 or alone.devices != (first,):
        yield f"it takes {len(devices)} GPUs"


def _about_the_sensor(config: ExperimentConfig, first: str, of_machine: Sensors) -> Iterator[str]:
    """A sensor that would count what other workers do."""
    name = config.energy.backend
    if name == AUTO:
        name = of_machine.ask(AUTO, (first,), config.execution).name
    if name is None:
        return
    known = sensors.find(name)
    covers: EnergyScope | None = None if known is None else getattr(known.sensor, "scope", None)
    if covers not in _OF_ONE_GPU:
        what = "does not say what it covers" if covers is None else f"reads the {covers}"
        yield f"its energy sensor {name} {what}, and so what other workers do would be in its joules"
