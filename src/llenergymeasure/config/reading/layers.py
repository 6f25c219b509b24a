"""Everything that has a say in an experiment, one layer over the other, and where each value was given."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llenergymeasure.config.decoder import DECODER_PRESETS
from llenergymeasure.config.engines import registry
from llenergymeasure.config.errors import lines_of, name_of, validated
from llenergymeasure.config.fields import keys_of
from llenergymeasure.config.in_memory import ONLY_IN_PYTHON, lists_in
from llenergymeasure.config.measurement import CONVERGENCE_FIELDS, WarmupConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.reading.sources import Source, environment_source, file_place, nowhere, user_source
from llenergymeasure.config.reading.yaml_file import ConfigFile, Location
from llenergymeasure.exceptions import ConfigError


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What wins over every file: fields, and fields of whichever engine's section is in use.

    ``axes`` are fields with several values each, which make a study, by dotted name; ``.name`` is the field of
    whichever engine's section is in use.
    ``fallbacks`` are fields of the caller's that everything else wins over, built-in defaults apart;
    ``origin`` is what an error in the overrides is said to come from.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    engine_fields: Mapping[str, Any] = field(default_factory=dict)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    fallbacks: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What lies below the file, what the file says, what lies above it; lowest first.

    ``place_in_file`` gives the place of something in the file, or of the nearest thing around it.
    """

    below: tuple[Source, ...]
    above: tuple[Source, ...]
    overrides: Overrides
    own: Mapping[str, Any] = field(default_factory=dict)
    place_in_file: Callable[[Location], str] = nowhere

    @classmethod
    def around(cls, file: ConfigFile | None, overrides: Overrides) -> "Layers":
        """The layers of this process: the user's file, the environment and the overrides around a file.

        Raises:
            ConfigError: one of them has a list of prompts, or cannot be read.
        """
        found = cls(
            below=(Source(values=overrides.fallbacks, place=nowhere), user_source()),
            own={} if file is None else file.values,
            place_in_file=nowhere if file is None else file_place(file),
            above=(environment_source(), Source(values=overrides.fields, place=lambda _: overrides.origin)),
            overrides=overrides,
        )
        lists = [
            (source.place(at), name_of(at)) for source in found.ordered(found.own) for at in lists_in(source.values)
        ]
        if lists:
            raise ConfigError("\n".join(lines_of([(place, f"{name}: {ONLY_IN_PYTHON}") for place, name in lists])))
        return found

    def experiment(self) -> ExperimentConfig:
        """The experiment that the file is."""
        return validated(
            ExperimentConfig, self.fields_of(self.own), self.place, self.lacking([self.backend_of(self.own)])
        )

    def place(self, location: Location) -> str:
        """Where the value of a field was given; where it is missing, the nearest thing around it in the file."""
        for source in reversed(self.ordered(self.own)):
            if source.gives(location):
                return source.place(location)
        return self.place_in_file(location)

    def origin(self, location: Location) -> str:
        """Where a default comes from: the place of the field, of another name of it, or of what implies it."""
        section, name = location[0], location[-1]
        implied_by: list[str] = []
        if section == "decoder" and self._preset_fills_in(str(name)):
            implied_by = ["preset"]
        if section == "warmup":
            implied_by = [key for key, field_name in keys_of(WarmupConfig).items() if field_name == name]
            implied_by += CONVERGENCE_FIELDS if name == "convergence_detection" else ()
        places = (self.place(location), *(self.place((section, other)) for other in implied_by))
        return next((place for place in places if place), "built-in")

    def _preset_fills_in(self, name: str) -> bool:
        decoders = [source.values["decoder"] for source in self.ordered({}) if source.gives(("decoder", "preset"))]
        return bool(decoders) and name in DECODER_PRESETS.get(str(decoders[-1].get("preset")), {})

    def ordered(self, own: Mapping[str, Any]) -> tuple[Source, ...]:
        """All of them, with ``own`` as what the file says."""
        return (*self.below, Source(values=own, place=self.place_in_file, of_the_file=True), *self.above)

    def backend_of(self, own: Mapping[str, Any]) -> str:
        """The engine of an experiment of which the file says ``own``."""
        default = ExperimentConfig.model_fields["backend"].default
        given = [source.values["backend"] for source in self.ordered(own) if source.values.get("backend")]
        return str(given[-1] if given else default)

    def fields_of(self, own: Mapping[str, Any], of_study: "OfStudy | None" = None) -> dict[str, Any]:
        """The fields of one experiment of which the file says ``own``, by itself or in a study."""
        backend = self.backend_of(own)
        values: dict[str, Any] = {}
        for source in (*self.under(backend, of_study), own, *self.over(backend, of_study)):
            values = merged(values, source)
        return values

    def under(self, backend: str, of_study: "OfStudy | None" = None) -> Iterator[Mapping[str, Any]]:
        """What lies below the file and concerns an experiment on this engine."""
        return (_concerning(source, backend, of_study) for source in self.below)

    def over(self, backend: str, of_study: "OfStudy | None" = None) -> Iterator[Mapping[str, Any]]:
        """What lies above the file and concerns an experiment on this engine."""
        for source in self.above:
            if source is self.above[-1]:
                yield self._for_engine(backend)
            yield _concerning(source, backend, of_study)

    def _for_engine(self, backend: str) -> dict[str, Any]:
        found = {}
        for engine in choices(backend):
            section = registry.section_class(engine)
            # An engine that does not exist is told with all other errors.
            known = {} if section is None else section.model_fields
            found[engine] = {name: value for name, value in self.overrides.engine_fields.items() if name in known}
        return {engine: fields for engine, fields in found.items() if fields}

    def lacking(self, engines: Sequence[str]) -> list[str]:
        """A line for each field of whichever engine is in use that one of these does not have."""
        return [
            f"--{name.replace('_', '-')}: the engine {engine!r} has no field {name}"
            for engine in engines
            for name in (*self.overrides.engine_fields, *(key[1:] for key in self.overrides.axes if key[0] == "."))
            if (sections := [s for choice in choices(engine) if (s := registry.section_class(choice)) is not None])
            and not any(name in section.model_fields for section in sections)
        ]


@dataclass(frozen=True, kw_only=True)
class OfStudy:
    """The study that an experiment is of: the engines it runs, and the fields that are its own."""

    engines: frozenset[str]
    fields: frozenset[str]


def choices(backend: str) -> tuple[str, ...]:
    """The engines that ``backend`` may come to stand for."""
    return registry.names() if backend == registry.AUTO else (backend,)


def sections_elsewhere(names: Iterable[str], backend: str) -> set[str]:
    """Those of the names that are sections of other engines than this."""
    return {name for name in names if backend not in (name, registry.AUTO) and registry.is_section(name)}


def _concerning(source: Source, backend: str, of_study: OfStudy | None) -> Mapping[str, Any]:
    elsewhere = sections_elsewhere(source.values, backend)
    left_out = set[str](of_study.fields) if of_study is not None else set[str]()
    if source.ambient:
        left_out |= elsewhere
    elif of_study is not None:
        # What is asked of another engine is for the experiments that run on it.
        left_out |= elsewhere & of_study.engines
    return source.without(left_out)
