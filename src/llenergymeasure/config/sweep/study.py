"""A study from its grammar: expanded, validated, each configuration once."""

from collections.abc import Mapping, Sequence
from typing import Any

from llenergymeasure.config.engines import registry
from llenergymeasure.config.errors import lines_of, name_of, validated
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.reading.layers import Layers, OfStudy
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.reading.sources import Source
from llenergymeasure.config.reading.yaml_file import Location
from llenergymeasure.config.sweep.chosen import reference_of, sentinel_of
from llenergymeasure.config.sweep.document import STUDY_FIELDS, Document
from llenergymeasure.config.sweep.equal import distinct, flat
from llenergymeasure.config.sweep.failures import Ground
from llenergymeasure.config.sweep.keys import OF_THE_STUDY
from llenergymeasure.config.sweep.ranges import MOST_VALUES as MOST_CONFIGURATIONS
from llenergymeasure.config.sweep.survey import Survey, surveyed
from llenergymeasure.config.sweep.varied import varied_in
from llenergymeasure.exceptions import ConfigError

# Runs of each configuration where what varies made them and nothing says how many.
CYCLES_OF_A_SWEEP = 5
# In place of experiments where what is wrong has left none, so that the rest of the study is looked at too.
_ANY = ExperimentConfig(model="any")


def study_of(layers: Layers) -> StudyConfig:
    """The study that the layers make.

    Raises:
        ConfigError: there are unknown keys, or what varies is wrong; one line for each thing.
        ValidationError: keys are right, values of the study or of explicit experiments are not; notes say where.
    """
    return _Expansion(layers).study()


class _Expansion:
    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._document = Document.of(layers.own)
        self._problems = self._document.problems
        self._wrong: list[tuple[str, str]] = []
        self._varied = varied_in(self._document, layers)
        self._of_study = OfStudy(engines=self._varied.engines, fields=OF_THE_STUDY)

    def study(self) -> StudyConfig:
        """The study, with each configuration once."""
        self._look_at_engines()
        surveys = self._surveys()
        wrong = self._wrong
        wrong += [(self._layers.place_in_file(at), f"{name_of(at)}: {text}") for at, text in self._problems.found]
        wrong += [line for each in surveys for line in each.wrong]
        expanded = [config for each in surveys for config, _ in each.experiments]
        lines = [*self._layers.lacking(sorted(self._varied.engines)), *lines_of(wrong)]
        values = self._values(expanded, bool(lines))
        is_as_given = values["experiments"] is self._document.values.get("experiments")
        places = _Places(self._layers, self._document, 0 if is_as_given else len(expanded))
        study = validated(StudyConfig, values, places.place, lines, places.name)
        # A plain list is run as it was written: only what varies can name one thing twice without meaning it.
        study = self._of_distinct(study, surveys) if self._varied.makes_many else study
        self._look_at_those_named(study)
        return study

    def _look_at_those_named(self, study: StudyConfig) -> None:
        """The reference is one of the configurations, and the sentinel can be run."""
        for name, look in (("reference", reference_of), ("sentinel", sentinel_of)):
            try:
                look(study)
            except ConfigError as error:
                place = self._layers.place(("execution", name))
                raise ConfigError("\n".join(lines_of((place, line) for line in str(error).splitlines()))) from None

    def _of_distinct(self, study: StudyConfig, surveys: Sequence[Survey]) -> StudyConfig:
        settings = [varied for each in surveys for _, varied in each.experiments]
        settings += [flat(self._document.at(at)) for at, _ in self._varied.listed]
        experiments, equal = distinct(list(zip(study.experiments, settings, strict=True)))
        left_out = (*study.left_out, *(out for each in surveys for out in each.left_out), *equal)
        # As it is, unless there is something to change: what was not set is not set then either.
        return study.model_copy(update={"experiments": experiments, "left_out": left_out}) if left_out else study

    def _look_at_engines(self) -> None:
        """What the file and the command line say of an engine concerns an experiment."""
        engines = self._varied.engines
        if registry.AUTO in engines:
            return
        only = f"only {', '.join(sorted(engines))}" if engines else "none"
        for at, engine in self._document.sections():
            if engine not in engines:
                self._problems.add(at, f"no configuration runs {engine} ({only}); add it to backend, or remove this")
        for one in (one for axis in self._varied.of_flags for one in axis.fields):
            if one.engine is not None and one.engine not in engines:
                said = f"{'.'.join(one.key)}: no configuration runs {one.engine} ({only})"
                self._wrong.append((self._layers.overrides.origin, said))

    def _surveys(self) -> list[Survey]:
        if self._varied.n_combinations > MOST_CONFIGURATIONS:
            said = f"{self._varied.n_combinations} combinations are too many (over {MOST_CONFIGURATIONS})"
            self._problems.add((self._what(()),), f"{said}; shorten the lists")
            return []
        exclusions = self._document.exclusions
        found = [
            surveyed(grid, self._ground(at), () if at else exclusions, bool(self._problems.found))
            for grid, at in self._varied.grids
        ]
        if not self._problems.found and not any(each.wrong for each in found):
            self._look_at_exclusions(found)
        return found

    def _look_at_exclusions(self, surveys: Sequence[Survey]) -> None:
        for number, exclusion in enumerate(self._document.exclusions):
            matched = any(each.excluded_by >> number & 1 for each in surveys)
            # One that names what a flag or a variable has replaced is let be.
            if not matched and not self._varied.replaced & exclusion.conditions.keys():
                self._problems.add(exclusion.at, f"no combination has {exclusion.in_words}")
        if surveys and not self._varied.listed and not any(each.experiments for each in surveys):
            self._problems.add(("exclude",), "this leaves nothing to run")

    def _what(self, at: Location) -> str:
        """The key of the file that makes the combinations of a grid."""
        if at:
            return "experiments"
        return next((key for key in ("sweep", "zip") if self._document.values.get(key) is not None), "sweep")

    def _ground(self, at: Location) -> Ground:
        layers, document = self._layers, self._document

        def stack(engine: str) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
            below: dict[str, Any] = {}
            for source in (*layers.under(engine, self._of_study), document.own(at, engine)):
                below = merged(below, source)
            return below, [each for each in layers.over(engine, self._of_study) if each]

        return Ground(
            layers=layers, common=document.common, own=document.at(at), at=at, what=self._what(at), stack=stack
        )

    def _values(self, expanded: Sequence[ExperimentConfig], is_wrong: bool) -> dict[str, Any]:
        """The fields of the study: experiments that were expanded, and explicit ones that were not validated yet."""
        document = self._document
        values: dict[str, Any] = {}
        of_file = {name: document.values[name] for name in STUDY_FIELDS if name in document.values}
        for source in self._layers.ordered(of_file):
            values = merged(values, {name: value for name, value in source.values.items() if name in STUDY_FIELDS})
        given = document.values.get("experiments", ())
        is_list = isinstance(given, list | tuple)
        # What is no experiment is told as that.
        if not is_list or (not self._varied.listed and not all(map(_is_one, given))):
            values["experiments"] = given
        else:
            listed = [
                self._layers.fields_of(document.own(at, engine), self._of_study)
                if not at or _is_one(given[int(at[1])])
                else given[int(at[1])]
                for at, engine in self._varied.listed
            ]
            values["experiments"] = [*expanded, *listed] or ([_ANY] if is_wrong else [])
        execution = values.get("execution", {})
        if self._varied.makes_many and isinstance(execution, Mapping) and execution.get("cycles") is None:
            values["execution"] = {**execution, "cycles": CYCLES_OF_A_SWEEP}
        return values


def _is_one(item: Any) -> bool:
    return isinstance(item, Mapping | ExperimentConfig)


class _Places:
    """Where a field of the study was given, and what it is called there; of experiments after those expanded."""

    def __init__(self, layers: Layers, document: Document, n_expanded: int) -> None:
        self._layers, self._document, self._n_expanded = layers, document, n_expanded

    def place(self, location: Location) -> str:
        """Such as ``file:line``."""
        return self._given(location)[0]

    def name(self, location: Location) -> str:
        """The keys of the file."""
        return self._given(location)[1]

    def _given(self, location: Location) -> tuple[str, str]:
        layers, inside = self._layers, location[2:]
        number = location[1] if location[:1] == ("experiments",) and len(location) > 1 else None
        if not isinstance(number, int):
            return layers.place(location), name_of(location)
        own: Location = ("experiments", number - self._n_expanded) if self._document.lists_experiments else ()
        for source in reversed(layers.ordered(self._document.common)):
            if source.of_the_file and own and Source(values=self._document.at(own), place=layers.place).gives(inside):
                break
            if source.gives(inside):
                return source.place(inside), name_of(inside)
        return layers.place_in_file((*own, *inside)), name_of((*own, *inside))
