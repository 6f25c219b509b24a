"""A summary as files: a row for each configuration, with every figure of it."""

import dataclasses
import json
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from llenergymeasure._files import written_atomically
from llenergymeasure.domain.study.summary import StudySummary, SummaryRow
from llenergymeasure.results.rows.columns import FIXED, SETTINGS, Kind
from llenergymeasure.results.rows.frames import csv_lines, typed
from llenergymeasure.results.study.against import COMPARED
from llenergymeasure.results.study.circumstances import OF_JOULES, SUMMED_UP
from llenergymeasure.results.study.figures import WATCHED
from llenergymeasure.results.study.shown import markdown_lines

PARQUET_FILE, CSV_FILE, MARKDOWN_FILE = "summary.parquet", "summary.csv", "summary.md"
_KNOWN = {column.name: column for column in FIXED}
_SETTINGS = frozenset(column.name for column in SETTINGS)
# So many rows are written at a time.
_AT_A_TIME = 100
# A group of rows in Parquet.
_IN_A_GROUP = 500


@dataclass(frozen=True, kw_only=True)
class _Column:
    """``kind`` None is a setting, of whatever type its values are."""

    name: str
    kind: Kind | None
    unit: str = ""
    label: str = ""


@dataclass(frozen=True)
class _Columns:
    """Columns beside each other: ``read`` gives a value for each, what they have in common being looked up once."""

    columns: Sequence[_Column]
    read: Callable[[SummaryRow], Sequence[Any]]


def write_summary(summary: StudySummary, folder: Path) -> None:
    """Write ``summary.parquet``, ``summary.md`` and ``summary.csv``, each whole or as it was.

    Raises:
        OSError: one cannot be written.
    """
    import pyarrow as pa

    with written_atomically(folder / PARQUET_FILE, durable=False) as aside:
        _write_parquet(summary, aside)
    # What it took is kept by pyarrow otherwise, and the next one is minutes away.
    pa.default_memory_pool().release_unused()
    # Some rows at a time: the text of thousands is larger than they are.
    _write(folder / MARKDOWN_FILE, (f"{line}\n" for line in markdown_lines(summary)))
    _write(folder / CSV_FILE, _csv_parts(summary))
    # Nor what the texts of thousands of rows took, where psutil can give it back (from 7.2 on).
    getattr(psutil, "heap_trim", lambda: None)()


def _write(path: Path, parts: Iterable[str]) -> None:
    with (
        written_atomically(path, durable=False) as aside,
        aside.open("w", encoding="utf-8", newline="") as file,
    ):
        file.writelines(parts)


def as_rows(summary: StudySummary) -> list[dict[str, Any]]:
    """The rows of the files as data."""
    parts = _columns(summary)
    names = [column.name for part in parts for column in part.columns]
    return [dict(zip(names, _values(parts, row), strict=True)) for row in summary.rows]


def as_csv(summary: StudySummary) -> str:
    """The rows as CSV, the names of columns in its first line; absent is an empty cell."""
    return "".join(_csv_parts(summary))


def _csv_parts(summary: StudySummary) -> Iterator[str]:
    parts = _columns(summary)
    yield csv_lines([[column.name for part in parts for column in part.columns]])
    for first in range(0, len(summary.rows), _AT_A_TIME):
        yield csv_lines(_values(parts, row) for row in summary.rows[first : first + _AT_A_TIME])


def as_json(summary: StudySummary, folder: Path | None) -> str:
    """The study as JSON: ``rows`` as in the files, ratios against the ``reference``, what failed and what to know.

    Args:
        summary: the study.
        folder: where it lies; None where nothing is kept.
    """
    written = {
        "study": summary.name,
        "folder": None if folder is None else str(folder),
        "n_planned": summary.n_planned,
        "n_finished": summary.n_finished,
        "n_failed": summary.n_failed,
        "reference": summary.reference,
        "rows": as_rows(summary),
        "sentinels": summary.sentinels,
        "card_spreads": summary.spreads,
        "clocks": summary.clocks,
        "failures": summary.failures,
        "cautions": summary.cautions,
        "problems": summary.problems,
        "latency_counted_from": summary.latency_counted_from,
    }
    return json.dumps(written, indent=2, allow_nan=False, default=_plain)


def _plain(value: Any) -> dict[str, Any]:
    """Of a dataclass, or of a mapping of its own kind, what JSON has a word for."""
    if isinstance(value, Mapping):
        return dict(value)
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _write_parquet(summary: StudySummary, path: Path) -> None:
    """The rows with ``label`` and ``unit`` in the metadata of their fields; a group of rows is what is held at once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}
    parts, fields, settings = _columns(summary), list[Any](), dict[int, list[Any]]()
    for part in parts:
        for place, column in enumerate(part.columns):
            if column.kind is None:
                # A setting has the type that all of its values have in common.
                kind, settings[len(fields)] = typed([part.read(row)[place] for row in summary.rows])
            else:
                kind = types[column.kind]
            metadata = {"label": column.label or column.name, "unit": column.unit}
            fields.append(pa.field(column.name, kind, metadata=metadata))
    schema = pa.schema(fields)
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, len(summary.rows), _IN_A_GROUP):
            group = slice(first, first + _IN_A_GROUP)
            read = [_values(parts, row) for row in summary.rows[group]]
            arrays = [
                pa.array(settings[place][group] if place in settings else [of[place] for of in read], field.type)
                for place, field in enumerate(schema)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _values(parts: Sequence[_Columns], row: SummaryRow) -> list[Any]:
    return [value for part in parts for value in part.read(row)]


def _columns(summary: StudySummary) -> list[_Columns]:
    failures: dict[int, list[str]] = {}
    for failure in summary.failures:
        said = f"slot {failure.slot}: {failure.error_type}: {failure.message}"
        failures.setdefault(failure.configuration, []).append(said)
    # As their number they stand once, in the first row of the configuration.
    first = {row.configuration: row.number for row in reversed(summary.rows)}
    of_row = {first[configuration]: said for configuration, said in failures.items() if configuration in first}
    return [
        _about_the_row(),
        _settings(list(summary.rows[0].settings) if summary.rows else []),
        *map(_of_a_metric, SUMMED_UP),
        *map(_of_a_ratio, COMPARED),
        *map(_of_cards, WATCHED),
        _about_the_figures(),
        _Columns([_Column(name="failures", kind="text")], lambda row: [_joined(of_row.get(row.number, ()))]),
    ]


def _about_the_row() -> _Columns:
    kinds: tuple[tuple[str, Kind], ...] = (
        ("row", "integer"), ("name", "text"), ("configuration", "integer"), ("measurement_config_hash", "text"),
        ("machine", "text"), ("n_planned", "integer"), ("n_finished", "integer"), ("n_failed", "integer"),
        ("n_requests_least", "integer"), ("n_requests_most", "integer"),
        ("output_tokens_least", "integer"), ("output_tokens_most", "integer"), ("n_cards", "integer"),
    )  # fmt: skip
    none = (None, None)
    return _Columns(
        [_Column(name=name, kind=kind) for name, kind in kinds],
        lambda row: (
            row.number, row.name, row.configuration, row.config_hash, row.machine, row.n_planned, row.n_finished,
            row.n_failed, *(row.n_requests or none), *(row.output_tokens or none), row.n_cards,
        ),
    )  # fmt: skip


def _settings(names: Sequence[str]) -> _Columns:
    # As in tables of results a setting is known by another name where a figure has its own.
    taken = _KNOWN.keys() - _SETTINGS
    return _Columns(
        [_Column(name=f"effective_config.{name}" if name in taken else name, kind=None) for name in names],
        lambda row: [row.settings[name] for name in names],
    )


def _of_a_metric(metric: str) -> _Columns:
    """A mean, its interval, how much the runs scatter, and what repeats do not take away."""
    known = _KNOWN[metric]
    columns = [
        _Column(name=metric, kind="number", unit=known.unit, label=known.label),
        _Column(name=f"{metric}_low", kind="number", unit=known.unit, label=f"{known.label}, low"),
        _Column(name=f"{metric}_high", kind="number", unit=known.unit, label=f"{known.label}, high"),
        _Column(name=f"{metric}_cv", kind="number", label=f"{known.label}, CV"),
        _Column(name=f"{metric}_n", kind="integer", label=f"{known.label}, runs"),
    ]
    parts = ["value", "low", "high", "cv", "n"]
    if metric in OF_JOULES:
        label = f"{known.label}, left open by readings"
        columns.append(_Column(name=f"{metric}_bound_pct", kind="number", unit="%", label=label))
        parts.append("bound_pct")
    read = operator.attrgetter(*parts)
    return _Columns(columns, lambda row: read(row.metrics[metric]))


def _of_a_ratio(metric: str) -> _Columns:
    """A metric over that of the reference."""
    parts: tuple[tuple[str, Kind], ...] = (
        ("value", "number"), ("low", "number"), ("high", "number"), ("p", "number"), ("method", "text"),
        ("verdict", "text"), ("reason", "text"),
    )  # fmt: skip
    names = {"value": "ratio", "p": "p_holm"}
    read, none = operator.attrgetter(*(part for part, _ in parts)), (None,) * len(parts)
    return _Columns(
        [_Column(name=f"{metric}_{names.get(part, f'ratio_{part}')}", kind=kind) for part, kind in parts],
        lambda row: read(row.ratios[metric]) if metric in row.ratios else none,
    )


def _of_cards(metric: str) -> _Columns:
    """The largest mean of a card over the smallest."""
    column = _Column(name=f"{metric}_card_ratio", kind="number", label=f"{_KNOWN[metric].label}, cards")
    return _Columns([column], lambda row: [row.card_ratios.get(metric)])


def _about_the_figures() -> _Columns:
    before, after = ("energy_origin", "validity", "validity_flags", "warnings", "outputs"), ("best", "pareto", "notes")
    return _Columns(
        [
            _Column(name="sensor_accuracy_pct", kind="number", unit="%"),
            *(_Column(name=name, kind="text") for name in before),
            _Column(name="equal_token_share", kind="number"),
            _Column(name="equal_token_row", kind="integer"),
            _Column(name="equal_token_verdict", kind="text"),
            _Column(name="equal_token_reason", kind="text"),
            *(_Column(name=name, kind="text") for name in after),
        ],
        lambda row: (
            row.sensor_accuracy_pct, row.energy_origin or None, row.validity, _joined(row.validity_flags),
            _joined(f"{flag} ({n})" for flag, n in row.n_warned.items()), _joined(row.outputs),
            row.equal_tokens.share, row.equal_tokens.row, row.equal_tokens.verdict, row.equal_tokens.reason,
            _joined(row.best), _joined(row.fronts), _joined(row.notes),
        ),
    )  # fmt: skip


def _joined(texts: Any) -> str | None:
    return "; ".join(texts) or None
