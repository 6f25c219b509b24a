"""What a study file says: fields that experiments share, what varies, explicit experiments, what is left out."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llenergymeasure.config.engines import registry
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.reading.layers import sections_elsewhere
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.config.reading.yaml_file import Location
from llenergymeasure.config.sweep.axes import Axis, axes_in
from llenergymeasure.config.sweep.exclusions import Exclusion, exclusions_in
from llenergymeasure.config.sweep.keys import OF_THE_STUDY, Problems
from llenergymeasure.config.sweep.looks import GRAMMAR, has_list_for_value, meant_by

# What a study has beside common fields.
STUDY_FIELDS = (*sorted(OF_THE_STUDY), "left_out")


@dataclass(frozen=True)
class Document:
    """A study file in its parts; ``axes`` are those of ``sweep:``, then those of ``zip:``.

    ``items`` is what stands under ``experiments:``, whatever that is; a file of a single experiment has one that adds
    nothing to the common fields. ``has_grid`` is whether something varies in the file.
    """

    values: Mapping[str, Any]
    common: Mapping[str, Any]
    axes: list[Axis]
    exclusions: list[Exclusion]
    has_grid: bool
    problems: Problems = field(default_factory=Problems)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Document":
        """The parts of a file with these values, and what is wrong with them."""
        problems = Problems()
        for key in ("sweep", "zip", "exclude"):
            if key in values and values[key] is None:
                problems.add((key,), "nothing stands here; say what, or remove it")
        sweep, zipped, exclude = values.get("sweep"), values.get("zip"), values.get("exclude")
        has_grid = sweep is not None or zipped is not None
        if exclude is not None and not has_grid:
            problems.add(("exclude",), "there is nothing to leave out without 'sweep:' or 'zip:'")
        return cls(
            values=values,
            common=_common_in(values, problems),
            axes=axes_in(sweep, zipped, problems),
            exclusions=exclusions_in(exclude, problems),
            has_grid=has_grid,
            problems=problems,
        )

    @property
    def lists_experiments(self) -> bool:
        """Whether it has explicit experiments."""
        return "experiments" in self.values

    @functools.cached_property
    def items(self) -> list[Mapping[str, Any]]:
        """The fields of explicit experiments; what is no experiment has none."""
        given = self.values.get("experiments")
        return [_fields(each) for each in given] if isinstance(given, list | tuple) else []

    def common_of(self, engine: str) -> dict[str, Any]:
        """The common fields that concern an experiment on this engine."""
        elsewhere = sections_elsewhere(self.common, engine)
        return {name: value for name, value in self.common.items() if name not in elsewhere}

    def at(self, place: Location) -> Mapping[str, Any]:
        """The fields of the explicit experiment at a place of the file; of () none, nor where there is no list."""
        return self.items[int(place[1])] if place and self.items else {}

    def own(self, place: Location, engine: str) -> dict[str, Any]:
        """What the file says of an experiment: the common fields, and over them those of an explicit one."""
        return merged(self.common_of(engine), self.at(place))

    def sections(self) -> list[tuple[Location, str]]:
        """Where the file speaks of an engine, outside of explicit experiments, and of which."""
        found: list[tuple[Location, str]] = [
            ((name,), name) for name, value in self.common.items() if registry.is_section(name) and value is not None
        ]
        found += [(one.at, str(one.engine)) for axis in self.axes for one in axis.fields if one.engine is not None]
        return found + [(each.at, engine) for each in self.exclusions for engine in each.engines]


def _common_in(values: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    common = {}
    for name, value in values.items():
        if name in STUDY_FIELDS or name in GRAMMAR:
            continue
        meant = meant_by(name)
        if meant is not None:
            problems.add((name,), f"unknown key; did you mean '{meant}'?")
        elif has_list_for_value({name: value}):
            problems.add((name,), "here is room for a single value; a list of values stands under 'sweep:'")
        else:
            common[name] = value
    return common


def _fields(item: Any) -> Mapping[str, Any]:
    if isinstance(item, ExperimentConfig):
        return item.model_dump(exclude_unset=True)
    return item if isinstance(item, Mapping) else {}
