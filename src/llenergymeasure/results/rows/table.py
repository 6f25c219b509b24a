"""A table of results: a row for each, a column for every setting that differs."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.config.base import nearest
from llenergymeasure.exceptions import ConfigError, config_error
from llenergymeasure.results.rows.columns import CIRCUMSTANCES, FIGURES, FIXED, FOLDER, SETTINGS, Column
from llenergymeasure.results.rows.conditions import time_of
from llenergymeasure.results.rows.extraction import ResultRow
from llenergymeasure.results.rows.kinds import kind_of, known_settings
from llenergymeasure.results.rows.settings import same

_NAMES = tuple(column.name for column in (*SETTINGS, *FIGURES))
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_BY_NAME = {column.name: column for column in FIXED}
_ABSENT = object()
_MEASURED = (
    "n_requests", "output_tokens", "tokens_per_second", "ttft_p50_s", "total_energy_j", "energy_per_output_token_j",
    "validity", "energy_origin",
)  # fmt: skip
# Shown where a result has any.
_ON_REQUEST = (
    "perplexity", "bits_per_byte", "arrived_requests_per_second", "in_flight_mean", "overloaded", "slo_met", "goodput",
    "joules_per_good_token",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row as it is held: its values in the order of ``_NAMES``, and the settings that the first result has not."""

    values: tuple[Any, ...]
    settings: dict[str, Any]
    folder: str | None


class ResultTable:
    """[n] results; of each the values of its columns are held, and of its settings what the first has otherwise."""

    def __init__(self, rows: Iterable[ResultRow], accepts: Callable[[Callable[[str], Any]], bool] | None = None):
        """Take the rows in.

        Args:
            rows: of results, read one by one.
            accepts: whether a row is to be in the table, by what it has under a name, that of a section being a
                mapping of what is set in it; None for all.
        """
        self._base: dict[str, Any] = {}
        self._rows: list[_Kept] = []
        self.n_read = 0
        # Names of settings, of rows that are left out too, with nothing; in the order of the configuration.
        self._settings: dict[str, None] = {}
        empty: dict[str, Any] = {}
        for row in rows:
            self._base = self._base if self.n_read else dict(row.settings)
            self.n_read += 1
            if row.settings.keys() - self._settings.keys():
                self._settings |= dict.fromkeys(map(sys.intern, row.settings))
            others = self._otherwise(row.settings)
            kept = _Kept(tuple(map(row.values.__getitem__, _NAMES)), others or empty, row.folder)
            if accepts is None or accepts(lambda name, kept=kept: self._asked(kept, name)):  # type: ignore[misc]
                self._rows.append(kept)

    def _otherwise(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Settings that are not those of the first result; None for those that it alone has."""
        base = self._base
        # Once for each setting of each result: what is the same object, as most are, needs no comparison.
        others = {
            sys.intern(name): value
            for name, value in settings.items()
            if (ours := base.get(name, _ABSENT)) is not value and not (type(ours) is type(value) and ours == value)
        }
        gone = base.keys() - settings.keys()
        return others | dict.fromkeys(map(sys.intern, gone)) if gone else others

    def _value(self, row: _Kept, name: str) -> Any:
        place = _PLACES.get(name)
        if place is not None:
            return row.values[place]
        if name == FOLDER.name:
            return row.folder
        return row.settings[name] if name in row.settings else self._base.get(name)

    def _asked(self, row: _Kept, name: str) -> Any:
        """The value under a name; of a section what is set in it, None where nothing is."""
        value = self._value(row, name)
        if value is not None or name in _BY_NAME:
            return value
        inside = {each: self._value(row, each) for each in self._settings if each.startswith(f"{name}.")}
        return {each: inner for each, inner in inside.items() if inner is not None} or None

    def __len__(self) -> int:
        return len(self._rows)

    def check(self, name: str) -> None:
        """Refuse a column that no result has.

        Raises:
            ConfigError: it is none; with the nearest that is one.
        """
        if name not in _BY_NAME and name not in self._settings and self.n_read:
            raise self._unknown(name, self._settings)

    def check_condition(self, name: str) -> None:
        """Refuse a name that neither a result nor the configuration has; what a result lacks is not set there.

        Raises:
            ConfigError: it is none; with the nearest that is one.
        """
        is_section = any(each.startswith(f"{name}.") for each in self._settings)
        if kind_of(name) is None and name not in self._settings and not is_section:
            raise self._unknown(name, dict.fromkeys([*self._settings, *known_settings()]))

    def _unknown(self, name: str, settings: Iterable[str]) -> ConfigError:
        known = [*_BY_NAME, *settings]
        ends = [each for each in known if each.endswith(f".{name}")]
        hint = f"did you mean {' or '.join(map(repr, ends))}?" if ends else None
        said = hint or nearest(name, known, otherwise="llem results DIR --format csv has all of them in its first line")
        return config_error(f"{name}: no result has a column or a setting of this name; {said}")

    def column(self, name: str) -> Column:
        """What is known of a column; a setting has its dotted name for a label."""
        return _BY_NAME.get(name) or Column(name=name, kind="text", label=name)

    def is_setting(self, name: str) -> bool:
        """Whether a column is that of a setting by its dotted name, of whatever type its values are."""
        return name not in _BY_NAME

    def values(self, name: str) -> list[Any]:
        """[n] values of a column."""
        return [self._value(row, name) for row in self._rows]

    def rows(self, names: Sequence[str]) -> Iterator[list[Any]]:
        """[n] rows of these columns."""
        return ([self._value(row, name) for name in names] for row in self._rows)

    def differing_settings(self) -> list[str]:
        """The dotted names of the settings that are not the same in all rows, in the order of the configuration."""
        touched = {name for row in self._rows for name in row.settings}
        return [name for name in self._settings if name in touched and self._differs(name)]

    def _differs(self, name: str) -> bool:
        first, *others = self.values(name) or [None]
        return any(not same(first, other) for other in others)

    def all_columns(self) -> list[str]:
        """Every column: what files of tables have."""
        return columns_with(self.differing_settings())

    def usual_columns(self) -> list[str]:
        """What people look at: names, what differs, and the figures of the energy, throughput and latency."""
        settings = [
            *(column.name for column in SETTINGS if self._differs(column.name)),
            *self.differing_settings(),
        ]
        shown = {tuple(map(repr, self.values(name))) for name in settings}
        # What the settings say already is not said twice.
        others = [
            column.name
            for column in CIRCUMSTANCES
            if self._differs(column.name) and tuple(map(repr, self.values(column.name))) not in shown
        ]
        asked = [name for name in _ON_REQUEST if any(value is not None for value in self.values(name))]
        return ["name", *settings, *others, *_MEASURED, *asked, FOLDER.name]

    def sort(self, names: Sequence[str]) -> None:
        """Sort by columns, the first of them first; ``-name`` is from the largest. What is absent comes last.

        Raises:
            ConfigError: a column is none.
        """
        for given in reversed(names):
            name, down = given.removeprefix("-"), given.startswith("-")
            self.check(name)
            there = [row for row in self._rows if self._value(row, name) is not None]
            absent = [row for row in self._rows if self._value(row, name) is None]
            is_time = self.column(name).kind == "time"
            there.sort(key=lambda row: _sort_key(self._value(row, name), is_time=is_time), reverse=down)
            self._rows = there + absent


def columns_with(settings: Sequence[str]) -> list[str]:
    """Every column of a table in which these settings differ."""
    return [*(column.name for column in SETTINGS), *settings, *(column.name for column in (*FIGURES, FOLDER))]


def _sort_key(value: Any, *, is_time: bool) -> tuple[int, float, str]:
    """Numbers, and times by when they are whatever their zones, before texts."""
    moment = time_of(value) if is_time and isinstance(value, str) else None
    if moment is not None:
        return (0, moment.timestamp(), "")
    if isinstance(value, (bool, int, float)):
        return (0, value, "")
    return (1, 0.0, value if isinstance(value, str) else repr(value))
