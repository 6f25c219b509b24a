"""The table of a report: a row for each configuration on one kind of machine, column by column."""

from collections.abc import Callable, Sequence
from typing import Any

from llenergymeasure.domain.in_figures import NONE, number, with_interval
from llenergymeasure.domain.metrics import VALUES_NEEDED
from llenergymeasure.domain.study.summary import MetricSummary, SummaryRow
from llenergymeasure.domain.warnings import in_words
from llenergymeasure.results.report.gathered import Gathered
from llenergymeasure.results.rows.columns import FIXED
from llenergymeasure.results.rows.frames import setting_text
from llenergymeasure.results.rows.settings import telling
from llenergymeasure.results.rows.shown import NOTES, marks_of
from llenergymeasure.results.study.circumstances import OF_JOULES, SUMMED_UP
from llenergymeasure.results.study.fronts import JOULES
from llenergymeasure.results.study.notes import meaning_of
from llenergymeasure.results.study.remarks import Notes, failures, remarks, totals
from llenergymeasure.results.study.rows import SlotRow

_KNOWN = {column.name: column for column in FIXED}
# Shown at once; the others when somebody asks for all columns.
_MAIN = (JOULES, "total_energy_j", "tokens_per_second", "ttft_p50_s", "goodput", "joules_per_good_token", "perplexity")
# What a limit of a service is on, after the median that it stands behind.
LIMITED = {"ttft_p50_s": "ttft", "tpot_p50_s": "tpot", "e2e_p50_s": "e2e"}
# More settings than these are beside the figures only when somebody asks for all columns.
_MOST_SETTINGS = 4
# Of the remarks beneath the table nobody reads more.
_MOST_REMARKS = 200


def table_of(gathered: Gathered) -> dict[str, Any]:
    """The table as plain values.

    ``columns`` have a value for each row, and where there are intervals the ends of them; ``shown`` are their cells.
    ``rows`` have what belongs to a row and not to a column, ``remarks`` what has to be known of the whole.
    """
    summary = gathered.summary
    notes = Notes.of(summary)
    said = [*remarks(summary, notes), *failures(summary, None)]
    return {
        "columns": _columns(gathered),
        "rows": [_row(row) for row in summary.rows],
        "marks": {mark: f"the energy is {of}" for mark, of in NOTES.items()},
        "remarks": [[remark.label.strip(), remark.text] for remark in said[:_MOST_REMARKS]],
        "n_more_remarks": max(0, len(said) - _MOST_REMARKS),
        "totals": totals(summary),
    }


def _row(row: SummaryRow) -> dict[str, Any]:
    return {
        "number": row.number,
        "label": label_of(row),
        "hash": row.config_hash,
        "n": row.n_finished,
        "n_planned": row.n_planned,
        "n_failed": row.n_failed,
        "marks": marks_of(row.energy_origin, row.validity),
        "validity": row.validity,
        "origin": row.energy_origin,
        "flags": [[flag, meaning_of(flag)] for flag in row.validity_flags],
        "warned": [[flag, n] for flag, n in row.n_warned.items()],
        "fronts": list(row.fronts),
        "best": list(row.best),
        "notes": list(row.notes),
    }


def label_of(row: SummaryRow) -> str:
    """What a row is called: by its name where somebody gave one, else by its settings."""
    if row.is_named or not row.settings:
        return row.name
    names = telling(list(row.settings), [row.settings])
    told = (f"{name.rpartition('.')[2]} {setting_text(row.settings[name])}" for name in names
            if row.settings[name] is not None)  # fmt: skip
    return ", ".join(told) or row.name


def _columns(gathered: Gathered) -> list[dict[str, Any]]:
    rows = gathered.summary.rows
    columns = [_plain("number", "#", [row.number for row in rows], main=True)]
    columns += _setting_columns(rows)
    columns.append(_plain("n", "runs", [row.n_finished for row in rows], main=True))
    for metric in SUMMED_UP:
        columns += _metric_columns(metric, gathered)
    columns.append(_text("validity", "validity", [in_words(row.validity) if row.validity else None for row in rows]))
    columns.append(_text("origin", "origin of the joules", [row.energy_origin or None for row in rows], main=False))
    columns.append(_text("hash", "hash", [row.config_hash for row in rows], main=False))
    return columns


def _setting_columns(rows: Sequence[SummaryRow]) -> list[dict[str, Any]]:
    names = telling(list(rows[0].settings), [row.settings for row in rows])
    many = len(names) > _MOST_SETTINGS
    columns = [{**_setting(name, [row.settings[name] for row in rows]), "main": not many} for name in names]
    if many:
        # One column, so that figures stand beside each other.
        columns.insert(0, _text("label", "configuration", [label_of(row) for row in rows]))
    elif not columns or any(row.is_named for row in rows):
        columns.insert(0, _text("name", "experiment", [row.name for row in rows]))
    machines = [row.machine for row in rows]
    columns.append(_text("machine", "machine", machines, main=len(set(machines) - {None}) > 1))
    return columns


def _setting(name: str, values: Sequence[Any]) -> dict[str, Any]:
    key = f"setting.{name}"
    if all(value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)) for value in values):
        # A setting is exact: two that differ never look alike.
        column = _plain(key, name, values, main=True)
        return {**column, "shown": [NONE if value is None else str(value) for value in values]}
    return _text(key, name, [setting_text(value) for value in values])


def _metric_columns(metric: str, gathered: Gathered) -> list[dict[str, Any]]:
    """A metric, and behind a median the p95 that limits are on; nothing of what no row has."""
    rows = gathered.summary.rows
    known, found = _KNOWN[metric], [row.metrics[metric] for row in rows]
    columns = []
    if any(each.value is not None for each in found):
        columns.append({
            "key": metric, "label": known.label, "unit": known.unit, "kind": "number", "main": metric in _MAIN,
            "joules": metric in OF_JOULES,
            "values": [each.value for each in found],
            "low": [each.low for each in found],
            "high": [each.high for each in found],
            "shown": [_cell(each) for each in found],
        })  # fmt: skip
    if metric in LIMITED:
        worst = [largest_p95(LIMITED[metric], gathered.runs_of(row)) for row in rows]
        if any(value is not None for value in worst):
            name = f"{LIMITED[metric]}_p95_s"
            columns.append(_plain(name, f"{_KNOWN[name].label}, largest of runs", worst, unit="s"))
    return columns


def _cell(found: MetricSummary) -> str:
    return with_interval(found.value, found.low, found.high).replace("+-", "\N{PLUS-MINUS SIGN}")


def largest_p95(kind: str, runs: Sequence[SlotRow]) -> float | None:
    """The largest p95 of a kind of latency over runs, in seconds: what all of them kept to.

    None where a run has none, or one that rests on too few independent values (``VALUES_NEEDED``).
    """
    found = []
    for run in runs:
        value, n = run.values[f"{kind}_p95_s"], run.values[f"{kind}_n_independent"]
        if not isinstance(value, (int, float)) or not isinstance(n, int) or n < VALUES_NEEDED["p95"]:
            return None
        found.append(float(value))
    return max(found, default=None)


def _plain(
    key: str, label: str, values: Sequence[float | None], *, unit: str = "", main: bool = True,
    plain: Callable[[float | None], str] = number,
) -> dict[str, Any]:  # fmt: skip
    return {"key": key, "label": label, "unit": unit, "kind": "number", "main": main, "joules": False,
            "values": list(values), "shown": [plain(value) for value in values]}  # fmt: skip


def _text(key: str, label: str, values: Sequence[str | None], *, main: bool = True) -> dict[str, Any]:
    return {"key": key, "label": label, "unit": "", "kind": "text", "main": main, "joules": False,
            "values": list(values)}  # fmt: skip
