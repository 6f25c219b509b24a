"""Configurations from everything that has a say: flags > environment > file > user's file > built-in.

Wrong keys, or a file that is no configuration at all, are one ``ConfigError`` with a line
``file:line: field: what is wrong`` for every error, wrong values included. Right keys with
wrong values let pydantic's ``ValidationError`` through, with the same lines as notes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.errors import validated
from llenergymeasure.config.introspection import field_defaults
from llenergymeasure.config.models import DatasetConfig, ExperimentConfig, StudyConfig
from llenergymeasure.config.sources import Source, environment_source, file_place, nowhere, user_source
from llenergymeasure.config.yaml_file import ConfigFile, Location, read_config_file
from llenergymeasure.exceptions import ConfigError

# In a study these belong to the study and not to its experiments.
_OF_THE_STUDY = ("execution", "output_dir")


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What wins over every file: fields, and fields of whichever engine's section is in use.

    ``fallbacks`` are fields of the caller's that everything else wins over, built-in defaults apart.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    engine_fields: Mapping[str, Any] = field(default_factory=dict)
    fallbacks: Mapping[str, Any] = field(default_factory=dict)


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
    resolved = config.resolved()
    for name in field_defaults():
        location: Location = tuple(name.split("."))
        if location[0] in ENGINE_SECTIONS and location[0] != config.backend:
            continue
        value: Any = resolved
        for part in location:
            value = None if value is None else value[part]
        yield FieldOrigin(name, value, layers.place(location) or "built-in")


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
            above=(environment_source(), Source(values=overrides.fields, place=nowhere)),
            engine_fields=overrides.engine_fields,
        )

    def experiment(self) -> ExperimentConfig:
        own = {} if self.file is None else self.file.values
        return validated(ExperimentConfig, self._experiment(own), self.place)

    def study(self) -> StudyConfig:
        assert self.file is not None
        values: dict[str, Any] = {}
        for source in self._ordered(self.file.values):
            is_file = source.values is self.file.values
            left_out = () if is_file else [name for name in source.values if name not in _OF_THE_STUDY]
            values = merged(values, source.without(left_out))
        items = values["experiments"]
        if isinstance(items, list):
            engines = {self._backend(item) for item in items if isinstance(item, dict)}
            values["experiments"] = [
                self._experiment(item, study_engines=engines) if isinstance(item, dict) else item for item in items
            ]
        return validated(StudyConfig, values, self.place)

    def place(self, location: Location) -> str:
        """Where the value of a field was given; where it is missing, the nearest thing around it in the file."""
        inside = location[2:] if location[:1] == ("experiments",) else location
        in_file = nowhere if self.file is None else file_place(self.file)
        own = {} if self.file is None else self.file.values
        for source in reversed(self._ordered(own)):
            if source.values is own and source.gives(location):
                return in_file(location)
            if source.values is not own and source.gives(inside):
                return source.place(inside)
        return in_file(location)

    def _ordered(self, own: Mapping[str, Any]) -> tuple[Source, ...]:
        return (*self.below, Source(values=own, place=nowhere), *self.above)

    def _backend(self, own: Mapping[str, Any]) -> str:
        default = ExperimentConfig.model_fields["backend"].default
        given = [source.values["backend"] for source in self._ordered(own) if source.values.get("backend")]
        return str(given[-1] if given else default)

    def _experiment(self, own: Mapping[str, Any], study_engines: set[str] | None = None) -> dict[str, Any]:
        """The fields of one experiment of which the file says ``own``, in a study of these engines or by itself."""
        backend = self._backend(own)
        elsewhere = set(ENGINE_SECTIONS) - {backend}
        values: dict[str, Any] = {}
        for source in self._ordered(own):
            left_out: set[str] = set()
            if source.ambient:
                left_out = elsewhere | {"execution"}
            elif source.values is not own:
                # What is asked of another engine is for the experiments that run on it.
                left_out = elsewhere & (study_engines or set())
            if study_engines is not None and source.values is not own:
                left_out |= set(_OF_THE_STUDY)
            if source is self.above[-1]:
                values = merged(values, self._for_engine(backend))
            values = merged(values, source.without(left_out))
        return values

    def _for_engine(self, backend: str) -> dict[str, Any]:
        section = ENGINE_SECTIONS.get(backend)
        for name in self.engine_fields:
            if section is None or name not in section.model_fields:
                raise ConfigError(f"--{name.replace('_', '-')}: the engine {backend!r} has no field {name}")
        return {backend: self.engine_fields} if self.engine_fields else {}
