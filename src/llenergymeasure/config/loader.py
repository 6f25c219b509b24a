"""Configuration files as configurations.

Wrong keys, or a file that is no configuration at all, are one ``ConfigError`` with a line
``file:line: field: what is wrong`` for every error, wrong values included. Right keys with
wrong values let pydantic's ``ValidationError`` through, with the same lines as notes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from llenergymeasure.config.errors import error_lines, has_unknown_keys
from llenergymeasure.config.models import DatasetConfig, ExperimentConfig, StudyConfig
from llenergymeasure.config.yaml_file import ConfigFile, read_config_file
from llenergymeasure.exceptions import ConfigError

_Model = TypeVar("_Model", ExperimentConfig, StudyConfig)


def load_experiment_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """The experiment in a YAML file.

    Args:
        path: the file.
        overrides: fields that win over the file; a nested mapping changes only what it names.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, or has unknown keys.
        ValidationError: keys are right, values are not; notes say where.
    """
    return experiment_from(read_config_file(path), overrides or {})


def load_study_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """The study in a YAML file; overrides go into each of its experiments.

    Raises:
        ConfigError: as for an experiment, or the file is a single experiment.
        ValidationError: keys are right, values are not; notes say where.
    """
    return study_from(read_config_file(path), overrides or {})


def experiment_from(file: ConfigFile, overrides: Mapping[str, Any]) -> ExperimentConfig:
    """As ``load_experiment_config``, of a file that is parsed already."""
    if file.is_study:
        raise ConfigError(f"{file.path}: this is a study (it has 'experiments:'); run it with run_study")
    return _validate(file, ExperimentConfig, merged(file.values, overrides), overrides)


def study_from(file: ConfigFile, overrides: Mapping[str, Any]) -> StudyConfig:
    """As ``load_study_config``, of a file that is parsed already."""
    if not file.is_study:
        raise ConfigError(f"{file.path}:1: experiments: a study needs a list of experiments; this file has none")
    values = dict(file.values)
    if overrides and isinstance(values["experiments"], list):
        values["experiments"] = [
            merged(item, overrides) if isinstance(item, dict) else item for item in values["experiments"]
        ]
    return _validate(file, StudyConfig, values, overrides)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` on top, section by section."""
    result = dict(base)
    for key, given in over.items():
        below = result.get(key)
        if key == "dataset":
            below = _without_replaced_source(below, given)
        if key == "decoder" and isinstance(given, Mapping) and given.get("preset") is not None:
            below = None  # a new preset takes the place of what was chosen before it
        nested = isinstance(given, Mapping) and isinstance(below, Mapping)
        result[key] = merged(below, given) if nested else given  # type: ignore[arg-type]
    return result


def _without_replaced_source(below: Any, given: Any) -> Any:
    """The dataset underneath; a new name or path takes the place of both."""
    if isinstance(below, str):
        below = DatasetConfig.from_shorthand(below)
    if isinstance(below, Mapping) and isinstance(given, Mapping) and given.keys() & {"name", "path"}:
        return {key: value for key, value in below.items() if key not in ("name", "path")}
    return below


def _validate(file: ConfigFile, model: type[_Model], values: Mapping[str, Any], overrides: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = error_lines(error, file, overrides)
        if has_unknown_keys(error):
            raise ConfigError("\n".join(lines)) from None
        for line in lines:
            error.add_note(line)
        raise
