"""A summary as people read it: its table, and what stands beneath, as text and as Markdown."""

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from llenergymeasure._secrets import values_to_hide
from llenergymeasure._telling import in_a_line, told
from llenergymeasure.domain.in_figures import NONE, number, seconds
from llenergymeasure.domain.study.summary import MetricSummary, StudySummary, SummaryRow
from llenergymeasure.results.rows.frames import setting_text
from llenergymeasure.results.rows.settings import telling
from llenergymeasure.results.study.fronts import JOULES
from llenergymeasure.results.study.remarks import LABELS, Notes, Remark, failures, remarks, totals
from llenergymeasure.results.study.tokens import output_of, tells_outputs

WIDTH = 100
_INDENT = " " * 8
# From here on the two sides of an interval are told: they are not alike.
_WIDE = 0.25
_MOST_DIGITS = 6
_MOST_DECIMALS = 9
_NOTHING = 1e-9
_OF_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|<*`[]~$"})


@dataclass(frozen=True, kw_only=True)
class _Column:
    header: str
    cell: Callable[[SummaryRow], str]
    side: str = "right"


def text(summary: StudySummary, folder: str | None = None) -> str:
    """A row for each configuration, with what has to be known of them beneath.

    Args:
        summary: the study.
        folder: where it lies.
    """
    notes = Notes.of(summary)
    table = _plain(_columns(summary, notes), summary.rows)
    said = remarks(summary, notes)
    if max(map(len, table.splitlines())) > WIDTH:
        # Long settings go beneath, so that figures stay beside each other.
        table = _plain(_columns(summary, notes, with_settings=False), summary.rows)
        said = [*_settings_beneath(summary), *said]
    said += failures(summary, folder)
    return "\n".join([table, *(filled(remark) for remark in said), totals(summary)])


def markdown(summary: StudySummary) -> str:
    """The same in Markdown; nothing in it says when it was written, or where it lies."""
    notes = Notes.of(summary)
    columns = _columns(summary, notes)
    table = tabulate(
        [[_escaped(column.cell(row)) for column in columns] for row in summary.rows],
        headers=[_escaped(column.header) for column in columns],
        tablefmt="github",
        disable_numparse=True,
        # Of no rows it has no columns to align.
        colalign=[column.side for column in columns] if summary.rows else None,
    )
    said = [*remarks(summary, notes), *failures(summary, None)]
    lines = [f"- {_escaped(remark.label.strip())}: {_escaped(in_a_line(remark.text))}" for remark in said]
    title = f"# {_escaped(in_a_line(summary.name))}"
    return "\n".join([title, "", table, "", *lines, f"- {totals(summary)}", ""])


def filled(remark: Remark) -> str:
    """A labelled text with its lines under each other."""
    first, *others = (in_a_line(line) for line in remark.text.split("\n"))
    lines = [f"{remark.label}: {first}", *(f"{_INDENT}{line}" for line in others)]
    if not remark.broken:
        return "\n".join(lines)
    return "\n".join(
        textwrap.fill(line, WIDTH, subsequent_indent=_INDENT, break_long_words=False, break_on_hyphens=False)
        for line in lines
    )


def mean(found: MetricSummary, plain: Callable[[float | None], str] = number) -> str:
    """A mean with its interval, such as ``0.139 +- 0.004``: the larger side of it, rounded up.

    Args:
        found: the metric.
        plain: how a value without interval is written.
    """
    value, low, high = found.value, found.low, found.high
    if value is None or low is None or high is None:
        return plain(value)
    half = max(high - value, value - low)
    if half > _WIDE * value:
        return f"{plain(value)} ({plain(low)} to {plain(high)})"
    if half < _NOTHING * value:
        return f"{plain(value)} +- 0"
    decimals = _decimals(value, half)
    if decimals > _MOST_DECIMALS:
        return f"{plain(value)} +- {half:.1g}"
    unit = 10.0**-decimals
    # Rounding leaves something of what is a whole number of units.
    rounded_up = math.ceil(half / unit - _NOTHING) * unit
    return f"{value:,.{decimals}f} +- {rounded_up:,.{decimals}f}"


def _decimals(value: float, half: float) -> int:
    """How many decimals tell the half of an interval: one digit of it, or two where the first is 1."""
    place = math.floor(math.log10(half))
    digits = 2 if half < 2 * 10.0**place else 1
    known = _MOST_DIGITS - 1 - math.floor(math.log10(value))
    return max(0, min(digits - 1 - place, known))


def _columns(summary: StudySummary, notes: Notes, *, with_settings: bool = True) -> list[_Column]:
    rows = summary.rows
    joules = any(row.metrics[JOULES].n for row in rows)
    columns = [_Column(header="#", cell=lambda row: str(row.number))]
    if with_settings:
        columns += _setting_columns(rows)
    # The number of runs stands behind the first figure that there is.
    first = JOULES if joules else "tokens_per_second"
    if joules:
        columns.append(_metric_column(JOULES, rows, first))
        columns.append(_plain_column("total_energy_j", rows))
        net = next((name for name in ("energy_net_of_loaded_idle_j", "energy_adjusted_j")
                    if any(row.metrics[name].n for row in rows)), None)  # fmt: skip
        columns += [] if net is None else [_plain_column(net, rows)]
    columns.append(_metric_column("tokens_per_second", rows, first))
    if any(row.metrics["ttft_p50_s"].n for row in rows):
        columns.append(_plain_column("ttft_p50_s", rows, seconds))
    columns += [
        _Column(header=header, cell=lambda row, name=name: _count(getattr(row, name)))  # type: ignore[misc]
        for header, name in (("requests", "n_requests"), ("out tok", "output_tokens"))
        if len({getattr(row, name) for row in rows if row.n_finished}) > 1
    ]
    if tells_outputs(rows):
        columns.append(_Column(header="output", cell=lambda row: output_of(row, rows), side="left"))
    if any(row.metrics["perplexity"].n for row in rows):
        columns.append(_plain_column("perplexity", rows))
    if any(notes.marks(row) for row in rows):
        columns.append(_Column(header="notes", cell=notes.marks, side="left"))
    return columns


def _setting_columns(rows: Sequence[SummaryRow]) -> list[_Column]:
    names = telling(list(rows[0].settings), [row.settings for row in rows]) if rows else []
    ends = [name.rpartition(".")[2] for name in names]
    columns = [
        _setting_column(name, end if ends.count(end) == 1 else name) for name, end in zip(names, ends, strict=True)
    ]
    named = any(row.is_named for row in rows) and len({row.name for row in rows}) > 1
    if named or not columns:
        columns.insert(0, _Column(header="experiment", cell=lambda row: in_a_line(told(row.name)), side="left"))
    if len({row.machine for row in rows if row.machine}) > 1:
        columns.append(_Column(header="machine", cell=lambda row: in_a_line(row.machine or NONE), side="left"))
    return columns


def _metric_column(name: str, rows: Sequence[SummaryRow], first: str) -> _Column:
    several = name == first and any(row.metrics[name].n > 1 for row in rows)
    any_best = any(name in row.best for row in rows)

    def cell(row: SummaryRow) -> str:
        found = row.metrics[name]
        if name == first and not row.n_finished:
            return "failed" if row.n_failed else "not run"
        n = f" (n={found.n})" if several and found.n else ""
        best = (" *" if name in row.best else "  ") if any_best else ""
        return f"{mean(found)}{n}{best}"

    return _Column(header=LABELS[name], cell=cell)


def _plain_column(name: str, rows: Sequence[SummaryRow], plain: Callable[[float | None], str] = number) -> _Column:
    any_best = any(name in row.best for row in rows)

    def cell(row: SummaryRow) -> str:
        best = (" *" if name in row.best else "  ") if any_best else ""
        return f"{plain(row.metrics[name].value)}{best}"

    return _Column(header=LABELS[name], cell=cell)


def _count(ends: tuple[int, int] | None) -> str:
    if ends is None:
        return NONE
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,}-{ends[1]:,}"


def _setting_column(name: str, header: str) -> _Column:
    secrets = values_to_hide()

    def cell(row: SummaryRow) -> str:
        value = row.settings[name]
        return NONE if value is None else in_a_line(told(setting_text(value) or "", secrets))

    return _Column(header=header, cell=cell, side="left")


def _settings_beneath(summary: StudySummary) -> list[Remark]:
    return [
        Remark(str(row.number), ", ".join(f"{column.header} {column.cell(row)}" for column in columns))
        for columns in [_setting_columns(summary.rows)]
        for row in summary.rows
    ]


def _plain(columns: Sequence[_Column], rows: Sequence[SummaryRow]) -> str:
    """A table of text as narrow as it can be; tabulate leaves room beside headers."""
    cells = [[column.header for column in columns], *([column.cell(row) for column in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    sides = [str.ljust if column.side == "left" else str.rjust for column in columns]
    return "\n".join(
        "  ".join(side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in cells
    )


def _escaped(cell: str) -> str:
    return cell.replace("+-", "±").translate(_OF_MARKDOWN)
