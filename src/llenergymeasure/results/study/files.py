"""A summary as files: a row for each configuration, with every figure of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llenergymeasure._files import write_atomically, written_atomically
from llenergymeasure.domain.study.summary import StudySummary, SummaryRow
from llenergymeasure.results.rows.columns import FIXED, SETTINGS, Kind
from llenergymeasure.results.rows.frames import csv_lines, typed
from llenergymeasure.results.study.against import COMPARED
from llenergymeasure.results.study.circumstances import OF_JOULES, SUMMED_UP
from llenergymeasure.results.study.shown import markdown

PARQUET_FILE, CSV_FILE, MARKDOWN_FILE = "summary.parquet", "summary.csv", "summary.md"
_KNOWN = {column.name: column for column in FIXED}
_SETTINGS = frozenset(column.name for column in SETTINGS)


@dataclass(frozen=True, kw_only=True)
class _Column:
    """``kind`` None is a setting, of whatever type its values are."""

    name: str
    kind: Kind | None
    read: Callable[[SummaryRow], Any]
    unit: str = ""
    label: str = ""


def write_summary(summary: StudySummary, folder: Path) -> None:
    """Write ``summary.parquet``, ``summary.md`` and ``summary.csv``, each whole or as it was.

    Raises:
        OSError: one cannot be written.
    """
    import pyarrow.parquet as pq

    table = as_arrow(summary)
    with written_atomically(folder / PARQUET_FILE, durable=False) as aside:
        pq.write_table(table, aside)
    write_atomically(folder / MARKDOWN_FILE, markdown(summary), durable=False)
    write_atomically(folder / CSV_FILE, as_csv(summary), durable=False)


def as_rows(summary: StudySummary) -> list[dict[str, Any]]:
    """The rows of the files as data."""
    columns = _columns(summary)
    return [{column.name: column.read(row) for column in columns} for row in summary.rows]


def as_csv(summary: StudySummary) -> str:
    """The rows as CSV, the names of columns in its first line; absent is an empty cell."""
    columns = _columns(summary)
    return csv_lines([[column.name for column in columns]]) + csv_lines(
        [column.read(row) for column in columns] for row in summary.rows
    )


def as_arrow(summary: StudySummary) -> Any:
    """The rows as a ``pyarrow.Table``, ``label`` and ``unit`` in the metadata of its fields."""
    import pyarrow as pa

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    fields, arrays = [], []
    for column in _columns(summary):
        values = [column.read(row) for row in summary.rows]
        kind, values = typed(values) if column.kind is None else (types[column.kind], values)
        metadata = {"label": column.label or column.name, "unit": column.unit}
        fields.append(pa.field(column.name, kind, metadata=metadata))
        arrays.append(pa.array(values, kind))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _columns(summary: StudySummary) -> list[_Column]:
    settings = list(summary.rows[0].settings) if summary.rows else []
    failures: dict[int, list[str]] = {}
    for failure in summary.failures:
        said = f"slot {failure.slot}: {failure.error_type}: {failure.message}"
        failures.setdefault(failure.configuration, []).append(said)
    # As their number they stand once, in the first row of the configuration.
    first = {row.configuration: row.number for row in reversed(summary.rows)}
    of_row = {first[configuration]: said for configuration, said in failures.items() if configuration in first}
    # As in tables of results a setting is known by another name where a figure has its own.
    names = {name: f"effective_config.{name}" if name in _KNOWN.keys() - _SETTINGS else name for name in settings}
    return [
        *_about_the_row(),
        *(
            _Column(name=names[name], kind=None, read=lambda row, name=name: row.settings[name])  # type: ignore[misc]
            for name in settings
        ),
        *(column for metric in SUMMED_UP for column in _of_a_metric(metric)),
        *(column for metric in COMPARED for column in _of_a_ratio(metric)),
        *_about_the_figures(),
        _Column(name="failures", kind="text", read=lambda row: _joined(of_row.get(row.number, ()))),
    ]


def _about_the_row() -> list[_Column]:
    return [
        _Column(name="row", kind="integer", read=lambda row: row.number),
        _Column(name="name", kind="text", read=lambda row: row.name),
        _Column(name="configuration", kind="integer", read=lambda row: row.configuration),
        _Column(name="measurement_config_hash", kind="text", read=lambda row: row.config_hash),
        _Column(name="machine", kind="text", read=lambda row: row.machine),
        _Column(name="n_planned", kind="integer", read=lambda row: row.n_planned),
        _Column(name="n_finished", kind="integer", read=lambda row: row.n_finished),
        _Column(name="n_failed", kind="integer", read=lambda row: row.n_failed),
        *_ends("n_requests", lambda row: row.n_requests),
        *_ends("output_tokens", lambda row: row.output_tokens),
    ]


def _ends(name: str, read: Callable[[SummaryRow], tuple[int, int] | None]) -> list[_Column]:
    """The least and the most of a count of a run."""

    def end(place: int) -> Callable[[SummaryRow], int | None]:
        return lambda row: None if (ends := read(row)) is None else ends[place]

    return [
        _Column(name=f"{name}_{which}", kind="integer", read=end(place))
        for place, which in enumerate(("least", "most"))
    ]


def _of_a_metric(metric: str) -> list[_Column]:
    """A mean, its interval, how much the runs scatter, and what repeats do not take away."""
    known = _KNOWN[metric]

    def of(part: str) -> Callable[[SummaryRow], Any]:
        return lambda row: getattr(row.metrics[metric], part)

    columns = [
        _Column(name=metric, kind="number", read=of("value"), unit=known.unit, label=known.label),
        _Column(name=f"{metric}_low", kind="number", read=of("low"), unit=known.unit, label=f"{known.label}, low"),
        _Column(name=f"{metric}_high", kind="number", read=of("high"), unit=known.unit, label=f"{known.label}, high"),
        _Column(name=f"{metric}_cv", kind="number", read=of("cv"), label=f"{known.label}, CV"),
        _Column(name=f"{metric}_n", kind="integer", read=of("n"), label=f"{known.label}, runs"),
    ]
    if metric in OF_JOULES:
        label = f"{known.label}, left open by readings"
        columns.append(_Column(name=f"{metric}_bound_pct", kind="number", read=of("bound_pct"), unit="%", label=label))
    return columns


def _of_a_ratio(metric: str) -> list[_Column]:
    """A metric over that of the reference."""
    parts: tuple[tuple[str, Kind], ...] = (
        ("value", "number"), ("low", "number"), ("high", "number"), ("p", "number"), ("method", "text"),
        ("verdict", "text"), ("reason", "text"),
    )  # fmt: skip

    def of(part: str) -> Callable[[SummaryRow], Any]:
        return lambda row: getattr(row.ratios[metric], part) if metric in row.ratios else None

    names = {"value": "ratio", "p": "p_holm"}
    return [
        _Column(name=f"{metric}_{names.get(part, f'ratio_{part}')}", kind=kind, read=of(part)) for part, kind in parts
    ]


def _about_the_figures() -> list[_Column]:
    return [
        _Column(name="sensor_accuracy_pct", kind="number", read=lambda row: row.sensor_accuracy_pct, unit="%"),
        _Column(name="energy_origin", kind="text", read=lambda row: row.energy_origin or None),
        _Column(name="validity", kind="text", read=lambda row: row.validity),
        _Column(name="validity_flags", kind="text", read=lambda row: _joined(row.validity_flags)),
        _Column(name="warnings", kind="text",
                read=lambda row: _joined(f"{flag} ({n})" for flag, n in row.n_warned.items())),
        _Column(name="outputs", kind="text", read=lambda row: _joined(row.outputs)),
        _Column(name="equal_token_share", kind="number", read=lambda row: row.equal_tokens.share),
        _Column(name="equal_token_row", kind="integer", read=lambda row: row.equal_tokens.row),
        _Column(name="equal_token_verdict", kind="text", read=lambda row: row.equal_tokens.verdict),
        _Column(name="equal_token_reason", kind="text", read=lambda row: row.equal_tokens.reason),
        _Column(name="best", kind="text", read=lambda row: _joined(row.best)),
        _Column(name="pareto", kind="text", read=lambda row: _joined(row.fronts)),
        _Column(name="notes", kind="text", read=lambda row: _joined(row.notes)),
    ]  # fmt: skip


def _joined(texts: Any) -> str | None:
    return "; ".join(texts) or None
