"""The user's own defaults: what ``~/.config/llenergymeasure/config.yaml`` may hold."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, create_model, field_validator, model_validator

from llenergymeasure._paths import expanded
from llenergymeasure.config.base import ConfigModel, Number, conflict
from llenergymeasure.config.engines import ENGINE_SECTIONS, registry
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


def _from_everywhere(path: Path) -> Path:
    """A path that means the same wherever somebody works."""
    found = expanded(path)
    if str(found).startswith("~"):
        raise ValueError("there is no such user; write it from / or ~/ on")
    if not found.is_absolute() and not str(found).startswith("${"):
        raise ValueError("a default must not depend on the working directory; write it from / or ~ on")
    return path


class OutputDefaults(ConfigModel):
    """Where results go."""

    dir: Path | None = Field(default=None, description="Folder for results; absolute, or from ~ on.")

    @field_validator("dir")
    @classmethod
    def _same_from_everywhere(cls, path: Path | None) -> Path | None:
        return None if path is None else _from_everywhere(path)


class FootprintConfig(ConfigModel):
    """What carbon and money are worked out with. It is of the one who asks: no result and no hash has it."""

    intensity_g_per_kwh: Number | None = Field(
        default=None, ge=0, description="Grams of CO2 equivalent per kWh of the electricity that was used."
    )
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = Field(
        default=None,
        description="Three letters of a country (ISO 3166-1, such as DEU), whose yearly average is the intensity.",
    )
    pue: Number | None = Field(
        default=None, ge=1, description="Energy of the whole site over that of its computers (PUE); null leaves it out."
    )
    price_per_kwh: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})? ?[A-Z]{3}$")] | None = Field(
        default=None, description="Price of a kWh and its currency (ISO 4217), such as 0.30EUR."
    )

    @model_validator(mode="after")
    def _one_intensity(self) -> Self:
        if self.intensity_g_per_kwh is not None and self.country is not None:
            raise conflict("country cannot go with intensity_g_per_kwh; give one of them", "country")
        return self

    @field_validator("intensity_g_per_kwh")
    @classmethod
    def _in_grams(cls, grams: float | None) -> float | None:
        # No grid is between nothing and a gram: wind and water, over their lives, are at ten.
        if grams is not None and 0 < grams < 1:
            raise ValueError("this is less than any electricity has; it is in grams, not kilograms, per kWh")
        return grams

    @property
    def asks_for_something(self) -> bool:
        """Whether carbon or money can be worked out with it."""
        return any(value is not None for value in (self.intensity_g_per_kwh, self.country, self.price_per_kwh))


class EngineEnvironment(ConfigModel):
    """Where an engine lives whose dependencies do not go with those of this environment."""

    python: Path = Field(
        description="The Python of that environment, from / or ~ on; it has this package in the same version."
    )

    @field_validator("python")
    @classmethod
    def _same_from_everywhere(cls, path: Path) -> Path:
        if "${" in str(path):
            raise ValueError("no variable is put in place here; write the path itself")
        return _from_everywhere(path)


class UserConfig(ConfigModel):
    """The user's file; every section may be left out."""

    output: OutputDefaults = Field(default=OutputDefaults(), description="Where results go.")
    measurement: MeasurementDefaults = Field(  # type: ignore[valid-type]
        default=MeasurementDefaults(), description="Defaults for fields of an experiment."
    )
    execution: ExecutionConfig = Field(default=ExecutionConfig(), description="Defaults for carrying out experiments.")
    footprint: FootprintConfig = Field(
        default=FootprintConfig(), description="What carbon and cost are worked out with."
    )
    engines: dict[str, EngineEnvironment] = Field(
        default={}, description="Engines that live in an environment of their own, by name."
    )

    @field_validator("engines")
    @classmethod
    def _known(cls, engines: dict[str, EngineEnvironment]) -> dict[str, EngineEnvironment]:
        for name in engines:
            if not registry.is_section(name):
                raise ValueError(f"there is no engine {name!r}; {registry.nearest_engine(name)}")
        return engines

    @model_validator(mode="before")
    @classmethod
    def _without_empty_sections(cls, data: Any) -> Any:
        # A heading with all of its lines commented out.
        return {name: value for name, value in data.items() if value is not None} if isinstance(data, dict) else data
