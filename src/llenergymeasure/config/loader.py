"""Configurations from everything that has a say: flags > environment > file > user's file > built-in.

Wrong keys, or a file that is no configuration at all, are one ``ConfigError`` with a line
``file:line: field: what is wrong`` for every error, wrong values included; so is everything wrong with what varies in
a study. Right keys with wrong values let pydantic's ``ValidationError`` through, with the same lines as notes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llenergymeasure.config.engines import registry
from llenergymeasure.config.in_memory import taken_in, taken_in_study
from llenergymeasure.config.introspection import field_defaults
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.reading.layers import Layers, Overrides
from llenergymeasure.config.reading.yaml_file import Location, read_config_file
from llenergymeasure.config.sweep.looks import WHAT_A_STUDY_IS, is_study, seems_a_study
from llenergymeasure.config.sweep.study import study_of
from llenergymeasure.exceptions import ConfigError

__all__ = [
    "FieldOrigin",
    "Overrides",
    "effective_defaults",
    "load_config",
    "load_experiment_config",
    "load_study_config",
    "study_config",
]


@dataclass(frozen=True)
class FieldOrigin:
    """The value a field has when no experiment sets it, and where that comes from."""

    name: str
    value: Any
    origin: str


def load_config(path: str | Path | None, overrides: Overrides) -> ExperimentConfig | StudyConfig:
    """The experiment or study in a file, whichever it is; without a file, that of the overrides.

    Raises:
        ConfigError: a file cannot be read, is no YAML mapping, or has unknown keys.
        ValidationError: keys are right, values are not; notes say where.
    """
    layers = Layers.around(None if path is None else read_config_file(path), overrides)
    return (
        study_of(layers)
        if overrides.axes or is_study(layers.own) or is_study(overrides.fields)
        else _experiment(layers)
    )


def load_experiment_config(path: str | Path | None, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """The experiment in a YAML file, over the environment's and the user's defaults.

    Args:
        path: the file; None when the overrides say everything.
        overrides: fields that win over the file; a nested mapping changes only what it names, and ``dataset`` may be a
            list of prompts.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, is a study, or has unknown keys.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = None if path is None else read_config_file(path)
    why = None if file is None else is_study(file.values)
    if file is not None and why:
        raise ConfigError(f"{file.path}: this is a study (it has '{why}:'); run it with run_study")
    return _experiment(Layers.around(file, Overrides(fields=taken_in(overrides or {}))))


def load_study_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """The study in a YAML file; overrides go into each of its experiments.

    Raises:
        ConfigError: as for an experiment, the file is a single experiment, or what varies in it is wrong.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = read_config_file(path)
    if not is_study(file.values):
        raise ConfigError(f"{file.path}:1: experiments: this file is a single experiment\n{WHAT_A_STUDY_IS}")
    return study_of(Layers.around(file, Overrides(fields=taken_in(overrides or {}))))


def study_config(values: Mapping[str, Any]) -> StudyConfig:
    """The study that these fields are, in the grammar of a file; environment and user's file play no part.

    Unlike in a file, ``dataset`` may be a list of prompts.

    Raises:
        ConfigError: there are unknown keys, or what varies is wrong.
        ValidationError: keys are right, values are not; notes say where.
    """
    return study_of(Layers(below=(), own=taken_in_study(values), above=(), overrides=Overrides()))


def effective_defaults(fallbacks: Mapping[str, Any]) -> Iterator[FieldOrigin]:
    """Every field that has a default, with the value it takes here and where that comes from.

    Args:
        fallbacks: the caller's own defaults, in place of the built-in ones.

    Raises:
        ConfigError: the user's file or the environment has unknown keys, or cannot be read.
        ValidationError: keys are right, values are not; notes say where.
    """
    layers = Layers.around(None, Overrides(fallbacks={"model": "example", **fallbacks}))
    config = layers.experiment()
    resolved = config.resolved() | {"execution": config.execution.model_dump(mode="json")}
    for name in field_defaults(type(config)):
        location: Location = tuple(name.split("."))
        section = location[0]
        if section != config.backend and registry.is_section(str(section)):
            continue
        value: Any = resolved
        *sections, field_name = location
        for part in sections:
            value = value and value[part]
        if value is not None:  # of a section that is not there, such as lora, nothing is in effect
            # Prompts that are in memory have a field only where there are any.
            yield FieldOrigin(name, value.get(field_name), layers.origin(location))


def _experiment(layers: Layers) -> ExperimentConfig:
    """The experiment, or what is wrong with it; where it was meant as a study, also what one looks like."""
    try:
        return layers.experiment()
    except ConfigError as error:
        if not seems_a_study(layers.own):
            raise
        raise ConfigError(f"{error}\n{WHAT_A_STUDY_IS}") from None
    except ValidationError as error:
        if seems_a_study(layers.own):
            error.add_note(WHAT_A_STUDY_IS)
        raise
