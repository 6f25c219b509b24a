"""The two functions people call from Python."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llenergymeasure.config.in_memory import taken_in
from llenergymeasure.config.loader import load_experiment_config, load_study_config, study_config
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.orchestration.single import execute_experiment
from llenergymeasure.orchestration.studies.execute import execute_study


def run_experiment(config: str | Path | ExperimentConfig | None = None, **kwargs: Any) -> ExperimentResult:
    """Measure one experiment, in a fresh process unless ``execution.launcher`` is ``in_process``.

    What was measured is given also where it cannot be written; a log line says where it is then.

    Args:
        config: a YAML file, a configuration, or None to give everything by keyword.
        **kwargs: fields of ``ExperimentConfig`` that win over ``config``; a dictionary for a section
            changes only what it names, and ``dataset`` may be a list of prompts: texts, or mappings such as the lines
            of a JSONL file.

    Returns:
        The result. Nothing is written unless ``output_dir`` is set.

    Raises:
        ConfigError: the file or the way it is used is wrong.
        ValidationError: a value is wrong (pydantic's).
        PreFlightError: this machine lacks something; nothing was run.
        BackendError: the model could not be loaded.
        ExperimentError: inference failed.
    """
    return execute_experiment(_experiment_config(config, kwargs)).result


def run_study(
    config: str | Path | StudyConfig | Mapping[str, Any] | Sequence[ExperimentConfig | Mapping[str, Any]],
) -> StudyResult:
    """Measure the experiments of a study, each in a fresh process.

    Args:
        config: a YAML file, a configuration, a mapping in the grammar of a file (``sweep`` and the like), or only
            the experiments; ``dataset`` may be a list of prompts in a mapping, as in ``run_experiment``.

    Returns:
        Results and failures. Nothing is written unless ``output_dir`` is set.

    Raises:
        ConfigError: the file or the mapping is wrong.
        ValidationError: a value is wrong (pydantic's).
        PreFlightError: this machine lacks something; nothing was run.
    """
    return execute_study(_study_config(config))


def _study_config(
    config: str | Path | StudyConfig | Mapping[str, Any] | Sequence[ExperimentConfig | Mapping[str, Any]],
) -> StudyConfig:
    if isinstance(config, (str, Path)):
        return load_study_config(config)
    if isinstance(config, StudyConfig):
        return config
    # As with an experiment's configuration: environment and user's file play no part.
    return study_config(config if isinstance(config, Mapping) else {"experiments": list(config)})


def _experiment_config(config: str | Path | ExperimentConfig | None, overrides: Mapping[str, Any]) -> ExperimentConfig:
    if isinstance(config, ExperimentConfig):
        return ExperimentConfig.model_validate(merged(config.model_dump(exclude_unset=True), taken_in(overrides)))
    return load_experiment_config(config, overrides)
