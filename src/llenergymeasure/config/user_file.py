"""The user's own defaults: what ``~/.config/llenergymeasure/config.yaml`` may hold."""

from pathlib import Path
from typing import Any

from pydantic import Field, create_model, field_validator, model_validator

from llenergymeasure._paths import expanded
from llenergymeasure.config.base import ConfigModel
from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.engines.takes_sections import TakesSections
from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig

# What an experiment is about is said by the experiment.
_OF_THE_EXPERIMENT = frozenset({"model", "name", "dataset", "lora", "passthrough_kwargs", "output_dir", "execution"})

MeasurementDefaults = create_model(
    "MeasurementDefaults",
    __base__=TakesSections,
    __doc__="Defaults for the fields of an experiment, apart from what it is about.",
    **{
        name: (field.annotation, field)
        for name, field in ExperimentConfig.model_fields.items()
        if name not in _OF_THE_EXPERIMENT
    },  # type: ignore[call-overload]
)


# What an experiment on another engine does not look at, and what somebody who carries it out does.
SectionOfAnotherEngine = create_model(
    "SectionOfAnotherEngine",
    __base__=TakesSections,
    __doc__="The sections of all engines, and how experiments are carried out.",
    execution=(ExecutionConfig, ExecutionConfig()),
    **{name: (section | None, None) for name, section in ENGINE_SECTIONS.items()},  # type: ignore[call-overload]
)


class OutputDefaults(ConfigModel):
    """Where results go."""

    dir: Path | None = Field(default=None, description="Folder for results; absolute, or from ~ on.")

    @field_validator("dir")
    @classmethod
    def _same_from_everywhere(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        found = expanded(path)
        if str(found).startswith("~"):
            raise ValueError("there is no such user; write it from / or ~/ on")
        if not found.is_absolute() and not str(found).startswith("${"):
            raise ValueError("a default must not depend on the working directory; write it from / or ~ on")
        return path


class UserConfig(ConfigModel):
    """The user's file; every section may be left out."""

    output: OutputDefaults = Field(default=OutputDefaults(), description="Where results go.")
    measurement: MeasurementDefaults = Field(  # type: ignore[valid-type]
        default=MeasurementDefaults(), description="Defaults for fields of an experiment."
    )
    execution: ExecutionConfig = Field(default=ExecutionConfig(), description="Defaults for carrying out experiments.")

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, data: Any) -> Any:
        # A heading with all of its lines commented out.
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data
