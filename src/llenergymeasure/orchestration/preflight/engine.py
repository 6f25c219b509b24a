"""What engine, model and prompts say of an experiment, asked in the process that has the engine's libraries."""

from dataclasses import replace

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import failed_when_asked, get_backend
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.backends.unproven import unproven
from llenergymeasure.core.checkpoint.source import describe_source, is_here
from llenergymeasure.core.checkpoint.tokenizer import tokenising_lacks
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.load.traffic import arrives_as
from llenergymeasure.core.quality.text import read_text
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ConfigError, LLEMError, contained
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.preflight.memory_fit import memory_fit
from llenergymeasure.orchestration.preflight.prompt_check import PromptChecks


def examined_here(config: ExperimentConfig, prompts: PromptChecks, visible: VisibleGpus) -> ExaminedExperiment:
    """What engine, model and prompts say of an experiment, asked in this process.

    Args:
        config: as it is used, variables and ``~`` put in place.
        prompts: checks them.
        visible: the GPUs that could be chosen.
    """
    found = _examine_by_the_engine(config, visible)
    # Where something else is missing the files that tokens are made from may be, and only rows can be told wrong.
    checked = prompts.check(config, tokenise=not found.lacking or is_here(config.model))
    missing = checked.lacking if checked.n is None or not found.lacking else ()
    return replace(
        found,
        config_errors=(*found.config_errors, *checked.config_errors, *_text_errors(config)),
        lacking=(*missing, *found.lacking),
        cautions=(*found.cautions, *map(str, checked.cautions)),
        prompts=None if checked.n is None else checked,
    )


def _text_errors(config: ExperimentConfig) -> list[str]:
    """What is wrong with the text that is to be scored."""
    try:
        if config.quality is not None:
            read_text(config.quality.text)
    except ConfigError as error:
        return [str(error)]
    return []


def _examine_by_the_engine(config: ExperimentConfig, visible: VisibleGpus) -> ExaminedExperiment:
    try:
        with contained():
            return _asked(config, visible)
    except ConfigError as error:
        return ExaminedExperiment(config_errors=(str(error),))
    except LLEMError as error:
        return ExaminedExperiment(lacking=(str(error),))
    except Exception as error:  # noqa: BLE001 - an engine raises what its libraries raise; all else is still to be told
        return ExaminedExperiment(lacking=(failed_when_asked(config.backend, error),))


def _asked(config: ExperimentConfig, visible: VisibleGpus) -> ExaminedExperiment:
    """What an engine says of an experiment, which may raise what it will."""
    engine = get_backend(config.backend)
    layout, errors = _layout(config, engine)
    found = ExaminedExperiment(config_errors=(*errors, *_load_errors(config, engine, layout)), layout=layout)
    missing = engine.installation_problem()
    if missing is not None:
        return replace(found, lacking=(missing,))
    devices = tuple(engine.select_devices(config, visible.uuids))
    lacking = (*engine.problems(config), *_tokenising_lacks(config, engine))
    memory = memory_fit(engine.estimate_memory(config), devices, layout.n_processes, visible)
    cautions = [
        *unproven(engine),
        *MeasurementWarning.all_of(engine.cautions(config)),
        *([] if memory.caution is None else [memory.caution]),
    ]
    return replace(
        found,
        lacking=lacking if memory.problem is None else (*lacking, memory.problem),
        cautions=tuple(map(str, cautions)),
        devices=devices,
        memory=memory,
        elsewhere=engine.elsewhere(config),
    )


def _tokenising_lacks(config: ExperimentConfig, engine: EngineBase) -> list[str]:
    """What is not installed of what prompts are tokenised with."""
    if engine.takes_text(config):
        return []
    lacks = tokenising_lacks(describe_source(config.model))
    return [] if lacks is None else [lacks]


def _layout(config: ExperimentConfig, engine: EngineBase) -> tuple[ProcessLayout, tuple[str, ...]]:
    """The processes of an experiment, and what cannot go with them."""
    try:
        layout = engine.processes(config)
    except ConfigError as error:
        return ProcessLayout(), (str(error),)
    errors = []
    if layout.n_processes > 1 and config.phases.enabled:
        errors.append(
            f"phases: true cannot go with {layout.in_words}: prefill and decode are told apart in one process only"
        )
    if layout.n_processes > 1 and config.measurement.methodology != "total":
        errors.append(
            f"measurement.methodology: {config.measurement.methodology} cannot go with {layout.in_words}, which "
            "would each choose other batches; use total"
        )
    return layout, tuple(errors)


def _load_errors(config: ExperimentConfig, engine: EngineBase, layout: ProcessLayout) -> list[str]:
    """Why requests cannot arrive as they are to, with this engine."""
    if config.load is None:
        return []
    if layout.n_processes > 1:
        return [f"load cannot go with {layout.in_words}: one process takes what arrives; remove one of them"]
    if arrives_as(config.load.kind) not in engine.loads:
        return [
            f"load.{config.load.kind} cannot go with backend: {config.backend}, which takes its requests otherwise; "
            "use an engine with a scheduler of its own, such as vllm, sglang or llamacpp"
        ]
    return []
