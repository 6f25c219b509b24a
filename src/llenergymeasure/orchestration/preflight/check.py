"""Everything that would keep a plan from running, found at once and before a GPU is touched.

Layout and GPUs that are found go into the plan, and nobody works them out again. Prompts and sensor are tried here, and
read again by the process that measures.
"""

import logging
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from llenergymeasure.config.engines import registry
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.config.sensors import AUTO
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.core.knobs.problems import knob_problems
from llenergymeasure.exceptions import ConfigError, ForeignExitError, LLEMError, PreFlightError, first_line
from llenergymeasure.orchestration.output_folder import bytes_to_write, output_folder, output_problems
from llenergymeasure.orchestration.preflight.engine import examined_here
from llenergymeasure.orchestration.preflight.examined import EXAMINED, VISIBLE, ChosenSensor, ExaminedExperiment
from llenergymeasure.orchestration.preflight.prompt_check import PromptChecks
from llenergymeasure.orchestration.preflight.sensors import Sensors
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.interpreters import interpreter_of

_log = logging.getLogger(__name__)


def check(
    experiments: Sequence[ExperimentConfig], output_dir: Path | None, asking: Asking | None = None
) -> list[ExaminedExperiment]:
    """Check [n] experiments and the place for their results, and give what was found of each; cautions are logged.

    Args:
        experiments: what is to be run.
        output_dir: the place for the results; None writes nothing.
        asking: asks engines, and may have been asked before; None starts what it needs.

    Raises:
        ConfigError: everything that is wrong is wrong in the configuration.
        PreFlightError: the machine lacks something; one line for each thing that is wrong.
    """
    found = examine(experiments, output_dir, asking)
    for line in named([e.cautions for e in found], experiments):
        _log.warning("%s", line)
    return found


def examine(
    experiments: Sequence[ExperimentConfig],
    output_dir: Path | None,
    asking: Asking | None = None,
    *,
    ask_every_sensor: bool = False,
) -> list[ExaminedExperiment]:
    """As ``check``, and nothing is logged.

    Args:
        experiments: what is to be run.
        output_dir: the place for the results; None writes nothing.
        asking: asks engines, and may have been asked before; None starts what it needs.
        ask_every_sensor: ask also those that nothing depends on before the run.

    Raises:
        ConfigError: everything that is wrong is wrong in the configuration.
        PreFlightError: the machine lacks something; one line for each thing that is wrong.
    """
    visible = visible_gpus()
    found = _examined(experiments, visible, asking)
    with Sensors(visible) as of_machine:
        found = [
            _with_sensor(config, each, of_machine) if ask_every_sensor or _depends_on_its_sensor(config) else each
            for config, each in zip(experiments, found, strict=True)
        ]
    of_sensors = [_sensor_lines(config, each) for config, each in zip(experiments, found, strict=True)]
    config_errors = named([e.config_errors for e in found], experiments) + _once(errors for errors, _ in of_sensors)
    lacking = named([e.lacking for e in found], experiments) + _once(missing for _, missing in of_sensors)
    of_knobs = [_knob_lines(config, each) for config, each in zip(experiments, found, strict=True)]
    lacking += named(of_knobs, experiments)
    lacking += _output_problems(output_dir, bytes_of_runs(experiments, found, 1))
    if config_errors or lacking:
        raise (PreFlightError if lacking else ConfigError)("\n".join(config_errors + lacking))
    return found


def check_for_elsewhere(
    experiments: Sequence[ExperimentConfig], output_dir: Path | None, asking: Asking | None = None
) -> list[ExaminedExperiment]:
    """As ``check``, where another machine measures: what this one lacks is logged, and no sensor or knob is asked for.

    Args:
        experiments: what is to be run.
        output_dir: the place for the results, which both see.
        asking: asks engines, and may have been asked before; None starts what it needs.

    Raises:
        ConfigError: something is wrong with the configuration.
        PreFlightError: nothing can be written to the place for the results.
    """
    found = _examined(experiments, visible_gpus(), asking)
    config_errors = named([e.config_errors for e in found], experiments)
    if config_errors:
        raise ConfigError("\n".join(config_errors))
    room = _output_problems(output_dir, bytes_of_runs(experiments, found, 1))
    if room:
        raise PreFlightError("\n".join(room))
    for line in named([e.lacking for e in found], experiments):
        _log.warning("here, where nothing is measured: %s; each worker looks again on its own machine", line)
    return found


def bytes_of_runs(experiments: Sequence[ExperimentConfig], found: Sequence[ExaminedExperiment], n_runs: int) -> float:
    """What [n] experiments that were examined write at most, each run so often."""
    n_prompts = [each.prompts.n if each.prompts else None for each in found]
    return bytes_to_write(experiments, n_prompts, [each.layout for each in found], n_runs)


def check_room(
    experiments: Sequence[ExperimentConfig], found: Sequence[ExaminedExperiment], n_runs: int, output_dir: Path | None
) -> None:
    """Hold what all runs of a study write against what is free.

    Raises:
        PreFlightError: there is not room for all of it.
    """
    problems = _output_problems(output_dir, bytes_of_runs(experiments, found, n_runs))
    if problems:
        raise PreFlightError("\n".join(problems))


def energy_line(config: ExperimentConfig, found: ExaminedExperiment) -> str:
    """Where the joules of an experiment would come from, as far as can be told without running it."""
    if config.energy.backend is None:
        return "energy: none is asked for (energy.backend is null)"
    if found.elsewhere is not None:
        return f"energy: null, because {found.elsewhere}"
    if found.chosen is None or found.chosen.name is None:
        return "energy: null, because no sensor answers here; 'llem config' says why"
    return f"energy: {found.chosen.name}, {'modelled, not sensed' if found.chosen.modelled else 'sensed'}"


def _output_problems(output_dir: Path | None, needed_bytes: float) -> list[str]:
    try:
        return output_problems(output_folder(output_dir), needed_bytes)
    except PreFlightError as error:
        return [str(error)]


def _examined(
    experiments: Sequence[ExperimentConfig], visible: VisibleGpus, asking: Asking | None
) -> list[ExaminedExperiment]:
    # Prompts are read once, here and there, however many experiments share them.
    prompts = PromptChecks()
    with Asking() if asking is None else nullcontext(asking) as used:
        return [_examine(experiment, prompts, visible, used) for experiment in experiments]


def _examine(
    config: ExperimentConfig, prompts: PromptChecks, visible: VisibleGpus, asking: Asking
) -> ExaminedExperiment:
    try:
        used = in_use(config)
    except PreFlightError as error:
        # Where a variable is not set, nothing else can be asked.
        return ExaminedExperiment(lacking=tuple(str(error).splitlines()))
    try:
        python = interpreter_of(config.backend)
    except PreFlightError as error:
        return ExaminedExperiment(lacking=(str(error),))
    if config.execution.launcher == "in_process" and not python.is_own:
        return ExaminedExperiment(
            config_errors=(
                f"execution.launcher: in_process cannot go with backend: {config.backend}, which lives in an "
                f"environment of its own ({python.python}); leave it out",
            )
        )
    has_own_code = getattr(config.engine_section, "trust_remote_code", False)
    if config.execution.launcher == "in_process" and not has_own_code:
        return examined_here(used, prompts, visible)
    try:
        answer = asking.ask(
            "examine",
            config.execution,
            by=python,
            alone=has_own_code,
            # With the names of secrets, which are put in place there.
            config=config.model_dump_json(exclude_unset=True),
            visible=VISIBLE.dump_json(visible).decode(),
        )
        return EXAMINED.validate_json(answer)
    except (LLEMError, ForeignExitError, ValidationError) as error:
        return ExaminedExperiment(lacking=(f"{_who(config, has_own_code)} cannot be asked: {first_line(error)}",))


def _who(config: ExperimentConfig, has_own_code: bool) -> str:
    """Whose code it was, as far as that is known."""
    if has_own_code:
        return f"model {config.model!r}: its own code"
    return f"model {config.model!r}: {registry.in_words(config.backend)}"


def _depends_on_its_sensor(config: ExperimentConfig) -> bool:
    return config.baseline.required or config.energy.backend not in (None, AUTO)


def _with_sensor(config: ExperimentConfig, found: ExaminedExperiment, of_machine: Sensors) -> ExaminedExperiment:
    """With the sensor of an experiment, where it is known for which GPUs to ask: of an engine that is installed."""
    name = config.energy.backend
    if name is None or found.devices is None:
        return found
    if found.elsewhere is not None:
        return replace(found, chosen=ChosenSensor(lacking=found.elsewhere))
    return replace(found, chosen=of_machine.ask(name, found.devices, config.execution))


def _sensor_lines(config: ExperimentConfig, found: ExaminedExperiment) -> tuple[list[str], list[str]]:
    """A named sensor that does not answer, and an idle baseline that must be and cannot be sensed."""
    chosen = found.chosen
    if chosen is not None and chosen.config_error is not None:
        return [chosen.config_error], []
    if not config.baseline.required or found.devices is None:
        return [], []
    if chosen is None:
        reason = "energy.backend is null: none was asked for"
    elif chosen.name is None:
        reason = chosen.lacking
    elif chosen.modelled:
        reason = f"{chosen.name} is a model, of which idle power says nothing"
    else:
        return [], []
    return [], [
        f"baseline.required: no sensor measures energy here: {reason}; make it false, or run where "
        "'llem config' shows a sensor"
    ]


def _knob_lines(config: ExperimentConfig, found: ExaminedExperiment) -> tuple[str, ...]:
    """What keeps the GPUs from being set as they are to be, where it is known which they are."""
    if config.device is None or found.devices is None:
        return ()
    return knob_problems(config.device.wanted, found.devices)


def _once(lines: Iterable[Sequence[str]]) -> list[str]:
    return sorted({line for of_one in lines for line in of_one})


def named(lines: Sequence[Sequence[str]], experiments: Sequence[ExperimentConfig]) -> list[str]:
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
