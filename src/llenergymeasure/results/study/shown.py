"""A summary as people read it: its table, and what stands beneath, as text and as Markdown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llenergymeasure._secrets import values_to_hide
from llenergymeasure._telling import in_a_line, told
from llenergymeasure.domain.in_figures import NONE, number, with_interval
from llenergymeasure.domain.study.summary import StudySummary, SummaryRow
from llenergymeasure.results.rows.frames import setting_text
from llenergymeasure.results.rows.settings import following_from_engine, shortened, telling
from llenergymeasure.results.showing import tables
from llenergymeasure.results.showing.lines import WIDTH, Remark, filled
from llenergymeasure.results.showing.tables import Side, width_of
from llenergymeasure.results.study.fronts import JOULES
from llenergymeasure.results.study.remarks import LABELS, Notes, failures, remarks, totals
from llenergymeasure.results.study.tokens import output_of, tells_outputs

# What is shown where there is any, and whether a table that is too wide goes without.
_ON_REQUEST = {"in_flight_mean": True, "goodput": True, "joules_per_good_token": False, "perplexity": False}
_OF_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\|<*`[]~$"})


@dataclass(frozen=True, kw_only=True)
class _Column:
    header: str
    cell: Callable[[SummaryRow], str]
    side: Side = "right"
    is_setting: bool = False
    # From other columns, and from what is the same in all rows.
    follows: bool = False


def text(summary: StudySummary, folder: str | None = None) -> str:
    """A row for each configuration, with what has to be known of them beneath.

    Args:
        summary: the study.
        folder: where it lies.
    """
    notes = Notes.of(summary)
    said = [*_of_engines(summary), *remarks(summary, notes)]
    columns = _columns(summary, notes)
    if width_of(_plain(columns, summary)) > WIDTH:
        # What follows from others comes last.
        left_out = [column.header for column in columns if column.follows]
        columns = [column for column in columns if not column.follows]
        said += [Remark("not shown", f"{', '.join(left_out)}; summary.csv has all")] if left_out else []
    if width_of(_plain(columns, summary)) > WIDTH:
        # Long settings go beneath, so that figures stay beside each other.
        columns = [column for column in columns if not column.is_setting]
        said = [*_settings_beneath(summary), *said]
    said += failures(summary, folder)
    return "\n".join([_plain(columns, summary), *(filled(remark) for remark in said), totals(summary)])


def markdown(summary: StudySummary) -> str:
    """The same in Markdown; nothing in it says when it was written, or where it lies."""
    return "".join(f"{line}\n" for line in markdown_lines(summary))


def markdown_lines(summary: StudySummary) -> Iterator[str]:
    """Its lines, one by one."""
    notes = Notes.of(summary)
    columns = _columns(summary, notes)
    headers, sides = [_escaped(column.header) for column in columns], [column.side for column in columns]
    yield from (f"# {_escaped(in_a_line(summary.name))}", "")
    yield from tables.markdown_lines(
        headers, lambda: ([_escaped(column.cell(row).strip()) for column in columns] for row in summary.rows), sides
    )
    yield ""
    for remark in (*_of_engines(summary), *remarks(summary, notes), *failures(summary, None)):
        yield f"- {_escaped(remark.label.strip())}: {_escaped(in_a_line(remark.text))}"
    yield f"- {totals(summary)}"


def _columns(summary: StudySummary, notes: Notes) -> list[_Column]:
    rows = summary.rows
    joules = any(row.metrics[JOULES].n for row in rows)
    columns = [_Column(header="#", cell=lambda row: str(row.number)), *_setting_columns(rows)]
    # What became of a row stands in the place of its first figure.
    first = JOULES if joules else "tokens_per_second"
    n_runs = _Column(header="n", cell=lambda row: str(row.metrics[first].n or NONE))
    several = [n_runs] if any(row.metrics[first].n > 1 for row in rows) else []
    if joules:
        columns += [_metric_column(JOULES, rows, first), *several, _plain_column("total_energy_j", rows, follows=True)]
        net = next((name for name in ("energy_net_of_loaded_idle_j", "energy_adjusted_j")
                    if any(row.metrics[name].n for row in rows)), None)  # fmt: skip
        columns += [] if net is None else [_plain_column(net, rows, follows=True)]
    columns += [_metric_column("tokens_per_second", rows, first), *([] if joules else several)]
    # Under loads as many requests come as come.
    loads = any(row.metrics["in_flight_mean"].n for row in rows)
    if any(row.metrics["ttft_p50_s"].n for row in rows):
        columns.append(_plain_column("ttft_p50_s", rows))
    columns += [
        _Column(header=header, cell=lambda row, name=name: _count(getattr(row, name)), follows=loads)  # type: ignore[misc]
        for header, name in (("requests", "n_requests"), ("out tok", "output_tokens"))
        if len({getattr(row, name) for row in rows if row.n_finished}) > 1
    ]
    if tells_outputs(rows):
        columns.append(_Column(header="output", cell=lambda row: output_of(row, rows), side="left"))
    # What is there of a load, or of a text.
    columns += [
        _plain_column(name, rows, follows=follows)
        for name, follows in _ON_REQUEST.items()
        if any(row.metrics[name].n for row in rows)
    ]
    if any(notes.marks(row) for row in rows):
        columns.append(_Column(header="notes", cell=notes.marks, side="left"))
    return columns


def _setting_columns(rows: Sequence[SummaryRow]) -> list[_Column]:
    configs = [row.settings for row in rows]
    names = telling(list(configs[0]), configs) if configs else []
    with_engine = {name for of in following_from_engine(names, configs).values() for name in of}
    names = [name for name in names if name not in with_engine]
    columns = [_setting_column(name, short) for name, short in zip(names, shortened(names), strict=True)]
    named = any(row.is_named for row in rows) and len({row.name for row in rows}) > 1
    if named or not columns:
        columns.insert(0, _text_column("experiment", lambda row: row.name))
    if len({row.machine for row in rows if row.machine}) > 1:
        columns.append(_text_column("machine", lambda row: row.machine or NONE))
    return columns


def _of_engines(summary: StudySummary) -> list[Remark]:
    """For each engine how it was set, where its rows do not differ in that."""
    rows = summary.rows
    configs = [row.settings for row in rows]
    names = telling(list(configs[0]), configs) if configs else []
    said, secrets = [], values_to_hide()
    for engine, own in following_from_engine(names, configs).items():
        row = next(row for row in rows if row.settings.get("backend") == engine)
        values = [f"{name.partition('.')[2]} {_setting(row, name, secrets)}" for name in own]
        said.append(Remark(in_a_line(engine), ", ".join(values)))
    return said


def _text_column(header: str, of: Callable[[SummaryRow], str]) -> _Column:
    return _Column(header=header, cell=lambda row: in_a_line(told(of(row))), side="left", is_setting=True)


def _metric_column(name: str, rows: Sequence[SummaryRow], first: str) -> _Column:
    mark = _marker(name, rows)

    def cell(row: SummaryRow) -> str:
        if name == first and not row.n_finished:
            return "failed" if row.n_failed else "not run"
        found = row.metrics[name]
        return f"{with_interval(found.value, found.low, found.high)}{mark(row)}"

    return _Column(header=LABELS[name], cell=cell)


def _plain_column(name: str, rows: Sequence[SummaryRow], *, follows: bool = False) -> _Column:
    mark = _marker(name, rows)
    return _Column(
        header=LABELS[name], cell=lambda row: f"{number(row.metrics[name].value)}{mark(row)}", follows=follows
    )


def _marker(name: str, rows: Sequence[SummaryRow]) -> Callable[[SummaryRow], str]:
    """What stands behind the best figure of a column, and the room for it behind the others."""
    any_best = any(name in row.best for row in rows)
    return lambda row: ("*" if name in row.best else " ") if any_best else ""


def _count(ends: tuple[int, int] | None) -> str:
    if ends is None:
        return NONE
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,}-{ends[1]:,}"


def _setting_column(name: str, header: str) -> _Column:
    # Of a large study they are many.
    secrets = values_to_hide()
    return _Column(header=header, cell=lambda row: _setting(row, name, secrets), side="left", is_setting=True)


def _setting(row: SummaryRow, name: str, secrets: Sequence[tuple[str, str]]) -> str:
    value = row.settings[name]
    return NONE if value is None else in_a_line(told(setting_text(value) or "", secrets))


def _settings_beneath(summary: StudySummary) -> list[Remark]:
    return [
        Remark(str(row.number), ", ".join(f"{column.header} {column.cell(row)}" for column in columns))
        for columns in [_setting_columns(summary.rows)]
        for row in summary.rows
    ]


def _plain(columns: Sequence[_Column], summary: StudySummary) -> str:
    cells = [[column.cell(row) for column in columns] for row in summary.rows]
    return tables.plain([column.header for column in columns], cells, [column.side for column in columns])


def _escaped(cell: str) -> str:
    return cell.replace("+-", "±").translate(_OF_MARKDOWN)
