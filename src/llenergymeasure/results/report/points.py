"""Two columns of the table of results as points: a configuration each where both have a mean, else a run each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure._telling import in_a_line, told
from llenergymeasure.domain.study.summary import SummaryRow
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.reading import OnSkipped
from llenergymeasure.results.report.gathered import Gathered, gathered
from llenergymeasure.results.report.table import label_of
from llenergymeasure.results.rows.columns import OF_ENERGY
from llenergymeasure.results.rows.frames import setting_text
from llenergymeasure.results.rows.settings import same
from llenergymeasure.results.rows.shown import marks_of
from llenergymeasure.results.rows.table import ResultTable
from llenergymeasure.results.study.circumstances import SUMMED_UP

# What the measurement of a single run leaves open, by the column that it is of.
_OPEN = {"total_energy_j": ("energy_interval_low_j", "energy_interval_high_j")}
_NOT_SET = "not set"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number, and the ends of its interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Point:
    """Two figures of a configuration or a run. ``doubt`` says what stands behind its joules, where they are drawn."""

    x: Figure
    y: Figure
    series: str
    label: str
    doubt: str = ""


@dataclass(frozen=True, kw_only=True)
class Points:
    """[n] points under the headers of their columns; ``series`` are in their order, ``told`` says what a point is."""

    x: str
    y: str
    by: str | None
    points: tuple[Point, ...]
    series: tuple[str, ...]
    told: str


def points_within(
    paths: Sequence[Path], names: tuple[str, str, str | None], on_skipped: OnSkipped, *, each_run: bool = False
) -> Points:
    """The points of two columns of what lies in some paths.

    Args:
        paths: as for ``llem results``.
        names: the columns for x and y, and that which tells series apart, or None.
        on_skipped: is told of each thing that cannot be used.
        each_run: make a point of each run, though there are means.

    Raises:
        ConfigError: there is no result, a column is not there or has no numbers, or no point has both.
    """
    with gathered(paths, on_skipped) as found:
        return _Columns(found).points(*names, each_run=each_run)


class _Columns:
    """The table of runs beside what they come to."""

    def __init__(self, found: Gathered) -> None:
        self.found = found
        self.table = ResultTable(found.as_table())
        # Places in the table of the runs of each row.
        self._places: dict[int, list[int]] = {}
        for place, (row, _) in enumerate(found.runs):
            self._places.setdefault(row.number, []).append(place)

    def points(self, x: str, y: str, by: str | None, *, each_run: bool) -> Points:
        for option, name in (("--x", x), ("--y", y), ("--by", by)):
            if name is not None:
                self.table.check(name)
                if option != "--by":
                    self._check_numbers(option, name)
        by_run = each_run or not all(self._is_of_rows(name) for name in (x, y, by) if name is not None)
        points = self._of_runs(x, y, by) if by_run else self._of_rows(x, y, by)
        if not points:
            raise config_error(f"--x {x} --y {y}: no result has both")
        drawn = sum(end.low is not None for point in points for end in (point.x, point.y))
        kind = "run" if by_run else "configuration"
        of = "what the measurement leaves open" if by_run else "95 % intervals"
        n_all = len(self.found.runs) if by_run else len(self._places)
        more = f" ({n_all - len(points)} more have not both)" if n_all > len(points) else ""
        bars = f"; bars are {of}" if drawn else ""
        return Points(
            x=self.table.column(x).header,
            y=self.table.column(y).header,
            by=by,
            points=tuple(points),
            series=self._in_order(by, {point.series for point in points}),
            told=f"{len(points)} points, each a {kind}{more}{bars}",
        )

    def _check_numbers(self, option: str, name: str) -> None:
        values = [value for value in self.table.values(name) if value is not None]
        if not values:
            raise config_error(f"{option} {name}: no result has a value there")
        wrong = next(
            (value for value in values if isinstance(value, bool) or not isinstance(value, (int, float))), None
        )
        if wrong is not None:
            said = in_a_line(f"{wrong!r:.40}")
            raise config_error(
                f"{option} {name}: an axis takes numbers, and this has {said}; give such as tokens_per_second, or "
                "tell series apart by it with --by"
            )

    def _is_of_rows(self, name: str) -> bool:
        """Whether each row has one value of a column: a mean, or what all of its runs have alike."""
        if name in SUMMED_UP:
            return True
        values = self.table.values(name)
        return all(same(values[places[0]], values[place]) for places in self._places.values() for place in places)

    def _of_rows(self, x: str, y: str, by: str | None) -> list[Point]:
        rows = [row for row in self.found.summary.rows if row.number in self._places]
        columns = {name: self.table.values(name) for name in {x, y, by} - {None, *SUMMED_UP} if name is not None}

        def figure(row: SummaryRow, name: str) -> Figure | None:
            if name in SUMMED_UP:
                known = row.metrics[name]
                return None if known.value is None else Figure(value=known.value, low=known.low, high=known.high)
            return _exact(columns[name][self._places[row.number][0]])

        return [
            Point(
                x=of_x,
                y=of_y,
                series=self._series(by, None if by is None else self._value_of(row, by, columns)),
                label=label_of(row),
                doubt=_doubt((x, y), row.energy_origin, row.validity),
            )
            for row in rows
            if (of_x := figure(row, x)) is not None and (of_y := figure(row, y)) is not None
        ]

    def _value_of(self, row: SummaryRow, name: str, columns: Mapping[str, list[Any]]) -> Any:
        return row.metrics[name].value if name in SUMMED_UP else columns[name][self._places[row.number][0]]

    def _of_runs(self, x: str, y: str, by: str | None) -> list[Point]:
        names = [
            x,
            y,
            "energy_origin",
            "validity",
            *([by] if by else []),
            *(end for of in _OPEN.values() for end in of),
        ]
        points = []
        for (row, run), values in zip(self.found.runs, self.table.rows(names), strict=True):
            known = dict(zip(names, values, strict=True))
            of_x, of_y = (_open_figure(name, known.get) for name in (x, y))
            if of_x is None or of_y is None:
                continue
            points.append(Point(
                x=of_x, y=of_y, series=self._series(by, known.get(by) if by else None),
                label=f"{label_of(row)}, run {run.slot}",
                doubt=_doubt((x, y), str(known["energy_origin"]), known["validity"]),
            ))  # fmt: skip
        return points

    def _series(self, by: str | None, value: Any) -> str:
        return "" if by is None else in_a_line(told(setting_text(value) or _NOT_SET))

    def _in_order(self, by: str | None, there: set[str]) -> tuple[str, ...]:
        """Series with numbers in their order, before texts in theirs."""
        values = {self._series(by, value): value for value in (self.table.values(by) if by else [])}

        def key(series: str) -> tuple[int, float, str]:
            value = values.get(series)
            return (1, 0.0, series) if value is None or not _is_number(value) else (0, float(value), "")

        return tuple(sorted(there, key=key))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _exact(value: Any) -> Figure | None:
    return None if value is None else Figure(value=float(value))


def _open_figure(name: str, known: Callable[[str], Any]) -> Figure | None:
    value = known(name)
    if value is None or name not in _OPEN:
        return _exact(value)
    low, high = (known(end) for end in _OPEN[name])
    return Figure(value=float(value), low=low, high=high)


def _doubt(names: Sequence[str], origin: str, validity: str | None) -> str:
    """What has to be known of joules in a figure: that they are modelled, or that nobody may cite them."""
    if not any(name in OF_ENERGY for name in names):
        return ""
    marks = marks_of(origin, validity)
    said = ["modelled"] if "a" in marks else []
    return ", ".join([*said, *(["not citable"] if "b" in marks else [])])
