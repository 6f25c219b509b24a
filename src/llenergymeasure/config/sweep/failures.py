"""Why combinations of a grid fail: which value is at fault, and whether any combination could have it."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from llenergymeasure.config.engines import registry
from llenergymeasure.config.errors import lines_of, messages_of, name_of, validated
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.reading.layers import Layers
from llenergymeasure.config.reading.sources import Source
from llenergymeasure.config.reading.yaml_file import Location
from llenergymeasure.config.sweep.axes import Field
from llenergymeasure.config.sweep.grid import Combination, Grid
from llenergymeasure.config.sweep.keys import canonical_key
from llenergymeasure.exceptions import ConfigError

# Of a combination that cannot be, and of a grid all of whose combinations cannot.
_MOST_REASONS = 3
_MOST_LINES = 5
# The value that an error is about: a field of an axis with the number of its value; else the field or section at the
# top of the experiment that it stands in, "" where nothing gives it, and None.
_Giver = tuple[Any, int | None]
_NOBODY: _Giver = ("", None)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What every combination of a grid stands on.

    ``common`` is what the file says of all experiments, ``own`` what it says at ``at`` of the explicit one that is
    varied, ``what`` the key of the file that makes the grid. ``stack`` gives the fields below the grid's own for an
    engine, and those above.
    """

    layers: Layers
    common: Mapping[str, Any]
    own: Mapping[str, Any]
    at: Location
    what: str
    stack: Callable[[str], tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]]


class Failures:
    """Which values fail how often, beside how often they were tried."""

    def __init__(self, grid: Grid, ground: Ground) -> None:
        """Nothing was tried yet of this grid."""
        self._grid, self._ground = grid, ground
        self._tried: list[Combination] = []
        self._failed: Counter[tuple[_Giver, Location]] = Counter()
        self._told: dict[tuple[_Giver, Location], tuple[str, str]] = {}
        self._reasons: dict[tuple[str, str], None] = {}

    @property
    def n_tried(self) -> int:
        """Combinations that were validated."""
        return len(self._tried)

    def tried(self, each: Combination, values: Mapping[str, Any]) -> tuple[ExperimentConfig | None, str]:
        """The configuration of a combination; None where it cannot be, with the reason.

        Raises:
            ConfigError: a value is a secret that is written out.
        """
        self._tried.append(each)
        try:
            return ExperimentConfig.model_validate(values), ""
        except ConfigError:
            # Told in its line, and not shown.
            given = functools.partial(self._given_by, each)
            validated(ExperimentConfig, values, lambda at: given(at)[1], name=lambda at: given(at)[2])
            raise
        except ValidationError as error:
            return None, self._noted(each, messages_of(error, ExperimentConfig))

    def _noted(self, each: Combination, errors: Mapping[Location, tuple[str, str]]) -> str:
        reasons = []
        for location, (wrong, given) in errors.items():
            giver, place, name = self._given_by(each, location)
            self._failed[giver, location] += 1
            self._told.setdefault((giver, location), (place, f"{name}: {wrong}{given}"))
            reasons.append(f"{name_of(location)}: {wrong}{given}")
            if len(self._reasons) < _MOST_LINES:
                self._reasons.setdefault((place, f"{name}: {wrong}{given}"))
        more = f"; and {len(reasons) - _MOST_REASONS} more" if len(reasons) > _MOST_REASONS else ""
        return "; ".join(reasons[:_MOST_REASONS]) + more

    def certain(self, *, also_missing: bool) -> list[tuple[str, str]]:
        """Values that no combination could have, since each fails at that very field; and what is given nowhere."""
        if not self._told:
            return []
        tried: Counter[_Giver] = Counter((each.engine, None) for each in self._tried)
        for each in self._tried:
            tried.update((one.key, number) for one, number in self._grid.fields_of(each))
        return [
            told
            for (giver, location), told in self._told.items()
            if (giver != _NOBODY or also_missing) and self._failed[giver, location] == self._n_with(giver, tried)
        ]

    def all_of_them(self) -> list[tuple[str, str]]:
        """That nothing is left, with the first few reasons."""
        text = "the combination cannot be" if self.n_tried == 1 else f"none of the {self.n_tried} combinations can be"
        layers, what = self._ground.layers, self._ground.what
        reasons = "\n".join(lines_of(self._reasons))
        return [(layers.place_in_file((what,)) or layers.overrides.origin, f"{what}: {text}\n{reasons}")]

    def _n_with(self, giver: _Giver, tried: Mapping[_Giver, int]) -> int:
        """How many of those that were tried have this value."""
        field_or_section, number = giver
        if number is not None:
            return tried[giver]
        if registry.is_section(field_or_section):
            # One that runs nowhere was given to all of them.
            return tried[field_or_section, None] + tried[registry.AUTO, None] or self.n_tried
        return self.n_tried

    def _given_by(self, each: Combination, location: Location) -> tuple[_Giver, str, str]:
        """Whose value a field has, where that was given, and what it is called there."""
        layers, key = self._ground.layers, canonical_key(location)
        varied = sorted(self._grid.fields_of(each), key=lambda one: -len(one[0].key))
        of_flags = [(one, n) for one, n in varied if not one.at and key[: len(one.key)] == one.key]
        of_file = [(one, n) for one, n in varied if one.at and key[: len(one.key)] == one.key]
        for one, number in of_flags[:1]:
            return (one.key, number), layers.overrides.origin, name_of(location)
        for source in reversed(layers.ordered(self._ground.common)):
            if source.of_the_file and of_file:
                one, number = of_file[0]
                return (one.key, number), *self._in_axis(one, number, location)
            if source.of_the_file and Source(values=self._ground.own, place=source.place).gives(location):
                at = (*self._ground.at, *location)
                return (str(location[0]), None), source.place(at), name_of(at)
            if source.gives(location):
                return (str(location[0]), None), source.place(location), name_of(location)
        # Given nowhere: told where something varies that stands inside of it.
        near = next((one.at for one, _ in varied if one.at and one.key[: len(key)] == key), self._ground.at)
        return _NOBODY, layers.place_in_file(near), name_of(location)

    def _in_axis(self, one: Field, number: int, location: Location) -> tuple[str, str]:
        rest = location[len(one.key) :]
        inside = (*one.at, number, *rest)
        return self._ground.layers.place_in_file(inside), name_of(inside if rest else one.at)
