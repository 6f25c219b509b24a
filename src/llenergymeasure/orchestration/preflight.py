"""Everything that would keep a plan from running, found at once and before a GPU is touched."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.backends import failed_when_asked, get_backend
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.energy_backends import SensorContext, choose_sensor
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.core.prompts.selection import read_dataset
from llenergymeasure.exceptions import ConfigError, LLEMError, PreFlightError
from llenergymeasure.orchestration.memory_fit import MemoryFit, memory_fit
from llenergymeasure.orchestration.output_folder import bytes_to_write, output_problems

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExaminedExperiment:
    """What there is to know of an experiment before it is run.

    ``config_errors`` are wrong anywhere, ``lacking`` is wrong with this machine, ``cautions`` keep nothing from
    running. ``n_prompts`` is None where the dataset cannot be read, ``memory`` where the engine cannot be asked.
    """

    config_errors: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    n_prompts: int | None = None
    memory: MemoryFit | None = None


def check(experiments: Sequence[ExperimentConfig], output_dir: Path | None) -> None:
    """Check [n] experiments and the place for their results; what only deserves caution is logged.

    Raises:
        ConfigError: everything that is wrong is wrong in the configuration.
        PreFlightError: the machine lacks something; one line for each thing that is wrong.
    """
    found = examine(experiments, output_dir)
    for line in _named([e.cautions for e in found], experiments):
        _log.warning("%s", line)


def examine(experiments: Sequence[ExperimentConfig], output_dir: Path | None) -> list[ExaminedExperiment]:
    """As ``check``, giving what it found of each experiment.

    Raises:
        ConfigError: everything that is wrong is wrong in the configuration.
        PreFlightError: the machine lacks something; one line for each thing that is wrong.
    """
    visible = visible_gpus()
    # Each dataset is read once, however many experiments share it.
    datasets = {dataset: _read(dataset) for dataset in {experiment.dataset for experiment in experiments}}
    found = [_examine(experiment, datasets[experiment.dataset], visible) for experiment in experiments]
    unusable, unsensed = _sensors(experiments, visible)
    config_errors = _named([e.config_errors for e in found], experiments) + unusable
    lacking = _named([e.lacking for e in found], experiments) + unsensed
    lacking += output_problems(output_dir, bytes_to_write(experiments, [e.n_prompts for e in found]))
    if config_errors or lacking:
        raise (PreFlightError if lacking else ConfigError)("\n".join(config_errors + lacking))
    return found


@dataclass(frozen=True)
class _Dataset:
    """A dataset that was read: its prompts, or why there are none; a random one has as many as are asked for."""

    n_prompts: int | None = None
    error: str | None = None
    lacking: str | None = None


def _read(dataset: DatasetConfig) -> _Dataset:
    try:
        rows = read_dataset(dataset)
    except ConfigError as error:
        return _Dataset(error=str(error))
    except PreFlightError as error:
        return _Dataset(lacking=str(error))
    return _Dataset() if dataset.random is not None else _Dataset(len(rows))


def _examine(config: ExperimentConfig, dataset: _Dataset, visible: VisibleGpus) -> ExaminedExperiment:
    n_prompts = config.n if config.dataset.random is not None else dataset.n_prompts
    found = replace(_examine_by_the_engine(config, visible), n_prompts=n_prompts)
    errors = [] if dataset.error is None else [dataset.error]
    lacking = [] if dataset.lacking is None else [dataset.lacking]
    return replace(found, config_errors=(*found.config_errors, *errors), lacking=(*lacking, *found.lacking))


def _examine_by_the_engine(config: ExperimentConfig, visible: VisibleGpus) -> ExaminedExperiment:
    try:
        engine = get_backend(config.backend)
        errors = tuple(_layout_errors(config, engine))
        lacking = [*engine.problems(config)]
        if engine.installation_problem() is not None:
            return ExaminedExperiment(errors, tuple(lacking))
        memory = memory_fit(config, visible)
        lacking += [] if memory.problem is None else [memory.problem]
        cautions = [*engine.cautions(config), *([] if memory.caution is None else [memory.caution])]
        return ExaminedExperiment(errors, tuple(lacking), tuple(map(str, cautions)), memory=memory)
    except ConfigError as error:
        return ExaminedExperiment((str(error),))
    except LLEMError as error:
        return ExaminedExperiment((), (str(error),))
    except Exception as error:  # noqa: BLE001 - an engine raises what its libraries raise; all else is still to be told
        return ExaminedExperiment((), (failed_when_asked(config.backend, error),))


def _layout_errors(config: ExperimentConfig, engine: EngineBase) -> Iterator[str]:
    try:
        layout = engine.processes(config)
    except ConfigError as error:
        yield str(error)
        return
    if layout.n_processes > 1 and config.phases.enabled:
        yield f"phases: true cannot go with {layout.in_words}: prefill and decode are told apart in one process only"
    if layout.n_processes > 1 and config.measurement.methodology != "total":
        yield (
            f"measurement.methodology: {config.measurement.methodology} cannot go with {layout.in_words}, which "
            "would each choose other batches; use total"
        )


def _named(lines: Sequence[Sequence[str]], experiments: Sequence[ExperimentConfig]) -> list[str]:
    """Each line once, with the experiments that it is about where it is not about all of them.

    Args:
        lines: what there is to say of each of [n] experiments.
        experiments: these.
    """
    about: dict[str, list[int]] = {}
    for number, of_one in enumerate(lines, 1):
        for line in dict.fromkeys(of_one):
            about.setdefault(line, []).append(number)
    return [
        line if len(numbers) == len(experiments) else f"{_experiments(numbers, experiments)}: {line}"
        for line, numbers in about.items()
    ]


def _experiments(numbers: Sequence[int], experiments: Sequence[ExperimentConfig]) -> str:
    if len(numbers) > 1:
        return f"experiments {', '.join(map(str, numbers))} of {len(experiments)}"
    return f"experiment {numbers[0]} of {len(experiments)} ({experiments[numbers[0] - 1].display_name})"


def _devices(config: ExperimentConfig, visible: VisibleGpus) -> tuple[str, ...] | None:
    """The GPUs an experiment will use; None where its engine cannot say."""
    try:
        engine = get_backend(config.backend)
        return engine.select_devices(config, visible.uuids) if engine.installation_problem() is None else None
    except Exception as error:  # noqa: BLE001 - an engine raises what its libraries raise; told where it is examined
        _log.debug("the devices of %s are not known: %s", config.backend, error)
        return None


def _sensors(experiments: Sequence[ExperimentConfig], visible: VisibleGpus) -> tuple[list[str], list[str]]:
    """Named sensors that do not answer, and experiments that must have an idle baseline where nothing senses it.

    Each sensor is asked once, for the devices its experiments will use; only of engines that are installed, for
    the others cannot say which devices they are.
    """
    wanted = {
        (str(e.energy.backend), e.baseline.required, devices)
        for e in experiments
        if (e.baseline.required or e.energy.backend not in (None, "auto"))
        and (devices := _devices(e, visible)) is not None
    }
    errors, lacking = [], []
    for name, is_required, devices in sorted(wanted):
        reason = visible.problem
        try:
            if reason is None:
                sensor, reason = choose_sensor(name, SensorContext(devices=devices))
                if sensor is not None and sensor.modelled:
                    reason = f"{sensor.name} is a model, of which idle power says nothing"
        except ConfigError as error:
            errors.append(str(error))
            continue
        if is_required and reason is not None:
            lacking.append(
                f"baseline.required: no sensor measures energy here: {reason}; make it false, or run where "
                "'llem config' shows a sensor"
            )
    return list(dict.fromkeys(errors)), list(dict.fromkeys(lacking))
