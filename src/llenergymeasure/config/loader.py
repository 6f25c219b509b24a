"""Configurations from everything that has a say: flags > environment > file > user's file > built-in.

Wrong keys, or a file that is no configuration at all, are one ``ConfigError`` with a line
``file:line: field: what is wrong`` for every error, wrong values included. Right keys with
wrong values let pydantic's ``ValidationError`` through, with the same lines as notes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llenergymeasure.config.decoder import DECODER_PRESETS
from llenergymeasure.config.engines import registry
from llenergymeasure.config.errors import validated
from llenergymeasure.config.fields import keys_of
from llenergymeasure.config.introspection import field_defaults
from llenergymeasure.config.measurement import CONVERGENCE_FIELDS, WarmupConfig
from llenergymeasure.config.merging import merged
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.sources import Source, environment_source, file_place, nowhere, user_source
from llenergymeasure.config.yaml_file import ConfigFile, Location, read_config_file
from llenergymeasure.exceptions import ConfigError

# In a study these belong to the study and not to its experiments.
_OF_THE_STUDY = ("execution", "output_dir")


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What wins over every file: fields, and fields of whichever engine's section is in use.

    ``fallbacks`` are fields of the caller's that everything else wins over, built-in defaults apart;
    ``origin`` is what an error in the overrides is said to come from.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    engine_fields: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""


@dataclass(frozen=True)
class FieldOrigin:
    """The value a field has when no experiment sets it, and where that comes from."""

    name: str
    value: Any
    origin: str


def load_config(path: str | Path | None, overrides: Overrides) -> ExperimentConfig | StudyConfig:
    """The experiment or study in a file, whichever it is; without a file, the experiment of the overrides.

    Raises:
        ConfigError: a file cannot be read, is no YAML mapping, or has unknown keys.
        ValidationError: keys are right, values are not; notes say where.
    """
    layers = _Layers.around(None if path is None else read_config_file(path), overrides)
    return layers.study() if layers.file is not None and layers.file.is_study else layers.experiment()


def load_experiment_config(path: str | Path | None, overrides: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """The experiment in a YAML file, over the environment's and the user's defaults.

    Args:
        path: the file; None when the overrides say everything.
        overrides: fields that win over the file; a nested mapping changes only what it names.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, is a study, or has unknown keys.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = None if path is None else read_config_file(path)
    if file is not None and file.is_study:
        raise ConfigError(f"{file.path}: this is a study (it has 'experiments:'); run it with run_study")
    return _Layers.around(file, Overrides(fields=overrides or {})).experiment()


def load_study_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyConfig:
    """The study in a YAML file; overrides go into each of its experiments.

    Raises:
        ConfigError: as for an experiment, or the file is a single experiment.
        ValidationError: keys are right, values are not; notes say where.
    """
    file = read_config_file(path)
    if not file.is_study:
        raise ConfigError(f"{file.path}:1: experiments: a study needs a list of experiments; this file has none")
    return _Layers.around(file, Overrides(fields=overrides or {})).study()


def effective_defaults(fallbacks: Mapping[str, Any]) -> Iterator[FieldOrigin]:
    """Every field that has a default, with the value it takes here and where that comes from.

    Args:
        fallbacks: the caller's own defaults, in place of the built-in ones.

    Raises:
        ConfigError: the user's file or the environment has unknown keys, or cannot be read.
        ValidationError: keys are right, values are not; notes say where.
    """
    layers = _Layers.around(None, Overrides(fallbacks={"model": "example", **fallbacks}))
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
            yield FieldOrigin(name, value[field_name], layers.origin(location))


@dataclass(frozen=True, kw_only=True)
class _Layers:
    """Everything that has a say: what lies below the file, the file, what lies above it; lowest first."""

    below: tuple[Source, ...]
    file: ConfigFile | None
    above: tuple[Source, ...]
    engine_fields: Mapping[str, Any]

    @classmethod
    def around(cls, file: ConfigFile | None, overrides: Overrides) -> "_Layers":
        return cls(
            below=(Source(values=overrides.fallbacks, place=nowhere), user_source()),
            file=file,
            above=(environment_source(), Source(values=overrides.fields, place=lambda _: overrides.origin)),
            engine_fields=overrides.engine_fields,
        )

    def experiment(self) -> ExperimentConfig:
        own = {} if self.file is None else self.file.values
        return validated(
            ExperimentConfig, self._experiment(own), self.place, self._sections_of_other_engines([self._backend(own)])
        )

    def study(self) -> StudyConfig:
        assert self.file is not None
        values: dict[str, Any] = {}
        for source in self._ordered(self.file.values):
            left_out = () if source.of_the_file else [name for name in source.values if name not in _OF_THE_STUDY]
            values = merged(values, source.without(left_out))
        items, engines = values["experiments"], set[str]()
        if isinstance(items, list):
            engines = {self._backend(item) for item in items if isinstance(item, dict)}
            values["experiments"] = [
                self._experiment(item, study_engines=engines) if isinstance(item, dict) else item for item in items
            ]
        return validated(StudyConfig, values, self.place, self._sections_of_other_engines(sorted(engines)))

    def place(self, location: Location) -> str:
        """Where the value of a field was given; where it is missing, the nearest thing around it in the file."""
        in_a_study = self.file is not None and self.file.is_study and location[:1] == ("experiments",)
        inside = location[2:] if in_a_study else location
        for source in reversed(self._ordered({} if self.file is None else self.file.values)):
            if source.gives(location if source.of_the_file else inside):
                return source.place(location if source.of_the_file else inside)
        return nowhere(location) if self.file is None else file_place(self.file)(location)

    def origin(self, location: Location) -> str:
        """Where a default comes from: the place of the field, of another name of it, or of what implies it."""
        section, name = location[0], location[-1]
        implied_by: list[str] = []
        if section == "decoder" and self._preset_fills_in(str(name)):
            implied_by = ["preset"]
        if section == "warmup":
            implied_by = [key for key, field in keys_of(WarmupConfig).items() if field == name]
            implied_by += CONVERGENCE_FIELDS if name == "convergence_detection" else ()
        places = (self.place(location), *(self.place((section, other)) for other in implied_by))
        return next((place for place in places if place), "built-in")

    def _preset_fills_in(self, name: str) -> bool:
        decoders = [source.values["decoder"] for source in self._ordered({}) if source.gives(("decoder", "preset"))]
        return bool(decoders) and name in DECODER_PRESETS.get(str(decoders[-1].get("preset")), {})

    def _ordered(self, own: Mapping[str, Any]) -> tuple[Source, ...]:
        place = nowhere if self.file is None else file_place(self.file)
        return (*self.below, Source(values=own, place=place, of_the_file=True), *self.above)

    def _backend(self, own: Mapping[str, Any]) -> str:
        default = ExperimentConfig.model_fields["backend"].default
        given = [source.values["backend"] for source in self._ordered(own) if source.values.get("backend")]
        return str(given[-1] if given else default)

    def _experiment(self, own: Mapping[str, Any], study_engines: set[str] | None = None) -> dict[str, Any]:
        """The fields of one experiment of which the file says ``own``, in a study of these engines or by itself."""
        backend = self._backend(own)
        values: dict[str, Any] = {}
        for source in self._ordered(own):
            left_out = set[str]()
            elsewhere = {name for name in source.values if backend not in (name, registry.AUTO)}
            elsewhere = {name for name in elsewhere if registry.is_section(name)}
            if source.ambient:
                left_out = elsewhere
            elif not source.of_the_file:
                # What is asked of another engine is for the experiments that run on it.
                left_out = elsewhere & (study_engines or set())
            if study_engines is not None and not source.of_the_file:
                left_out |= set(_OF_THE_STUDY)
            if source is self.above[-1]:
                values = merged(values, self._for_engine(backend))
            values = merged(values, source.without(left_out))
        return values

    def _for_engine(self, backend: str) -> dict[str, Any]:
        found = {}
        for engine in _choices(backend):
            section = registry.section_class(engine)
            # An engine that does not exist is told with all other errors.
            known = {} if section is None else section.model_fields
            found[engine] = {name: value for name, value in self.engine_fields.items() if name in known}
        return {engine: fields for engine, fields in found.items() if fields}

    def _sections_of_other_engines(self, engines: Sequence[str]) -> list[str]:
        """A line for each field of whichever engine is in use that one of these does not have."""
        return [
            f"--{name.replace('_', '-')}: the engine {engine!r} has no field {name}"
            for engine in engines
            for name in self.engine_fields
            if (sections := [s for choice in _choices(engine) if (s := registry.section_class(choice)) is not None])
            and not any(name in section.model_fields for section in sections)
        ]


def _choices(backend: str) -> tuple[str, ...]:
    """The engines that ``backend`` may come to stand for."""
    return registry.names() if backend == registry.AUTO else (backend,)
