"""Tables of results as people read them: text, Markdown, LaTeX. Joules are never without what stands behind them."""

import json
import re
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from llenergymeasure._telling import in_a_line, told
from llenergymeasure.domain.in_figures import NONE, number
from llenergymeasure.domain.warnings import in_words
from llenergymeasure.results.rows.columns import OF_ENERGY
from llenergymeasure.results.rows.table import ResultTable

_DIGEST_DIGITS = 12
# What Markdown would take for something else; within a word an underscore is one.
_OF_MARKDOWN = re.compile(r"[\\|<*`\[\]~$]|(?<!\w)_|_(?!\w)")
# Stand for what LaTeX is to be told, where tabulate escapes everything.
_MARK, _END_OF_MARK, _BRACKET, _BAR = "\ue000", "\ue001", "\ue002", "\ue003"
_LATEX = {_MARK: r"\textsuperscript{", _END_OF_MARK: "}", _BRACKET: "{[}", _BAR: r"\textbar{}"}
NOTES = {"a": "modelled, not sensed", "b": "not citable", "c": "questionable"}
_FROM_THE_BATCH = ("ttft_", "e2e_")


def text(table: ResultTable, names: Sequence[str]) -> str:
    """As plain text, with notes beneath."""
    headers = [in_a_line(table.column(name).header) for name in names]
    lines = [_tabulated(table, names, headers, _cells(table, names, "{} {}"), "simple")]
    notes = [f"{mark}: {said}" for mark, said in _notes(table, names)]
    return "\n".join([*lines, *notes, *_about_latencies(table, names), f"{len(table)} results"])


def markdown(table: ResultTable, names: Sequence[str]) -> str:
    """As a table of Markdown, for issues."""
    escaped = [[_markdown(cell) for cell in row] for row in _cells(table, names, "{} ({})")]
    headers = [_markdown(in_a_line(table.column(name).header)) for name in names]
    notes = [f"({mark}) {said}" for mark, said in _notes(table, names)]
    tabulated = _tabulated(table, names, headers, escaped, "github")
    return "\n\n".join([tabulated, *notes, *_about_latencies(table, names)])


def latex(table: ResultTable, names: Sequence[str]) -> str:
    """As a ``tabular`` of LaTeX with rules of booktabs and footnotes beneath."""
    rows = [[_latex(cell) for cell in row] for row in _cells(table, names, f"{{}}{_MARK}{{}}{_END_OF_MARK}")]
    headers = [_latex(in_a_line(table.column(name).header)) for name in names]
    *body, end = _tabulated(table, names, headers, rows, "latex_booktabs").split("\n")
    said = [rf"\textsuperscript{{{mark}}} {note}" for mark, note in _notes(table, names)]
    notes = [
        rf"\multicolumn{{{len(names)}}}{{l}}{{\footnotesize {note}}} \\"
        for note in [*said, *_about_latencies(table, names)]
    ]
    source = "\n".join(["% needs \\usepackage{booktabs}", *body, *notes, end])
    return "".join(_LATEX.get(character, character) for character in source)


def _tabulated(table: ResultTable, names: Sequence[str], headers: list[str], cells: list[list[str]], form: str) -> str:
    """[n] rows in a format of tabulate's, numbers to the right."""
    sides = ["left" if table.column(name).kind in ("text", "time") else "right" for name in names]
    # Of no rows it has no columns to align.
    return tabulate(cells, headers=headers, tablefmt=form, disable_numparse=True, colalign=sides if cells else None)


def _about_latencies(table: ResultTable, names: Sequence[str]) -> list[str]:
    if any(name.startswith(_FROM_THE_BATCH) for name in names) and "batch" in table.values("latency_counted_from"):
        return ["TTFT and E2E: from the start of the batch, where requests run in batches"]
    return []


def _cells(table: ResultTable, names: Sequence[str], marked: str) -> list[list[str]]:
    """[n] rows of texts; ``marked`` is how a figure has the letter of its note."""
    rows = []
    for marks, row in zip(_marks(table), table.rows(names), strict=True):
        rows.append(
            [
                marked.format(cell, marks) if marks and name in OF_ENERGY and value is not None else cell
                for name, value, cell in ((n, v, _cell(table, n, v)) for n, v in zip(names, row, strict=True))
            ]
        )
    return rows


def _cell(table: ResultTable, name: str, value: Any) -> str:
    if value is None:
        return NONE
    column = table.column(name)
    if name == "validity":
        return in_words(value)
    if name.endswith("_digest"):
        return str(value).removeprefix("sha256:")[:_DIGEST_DIGITS]
    if column.kind == "number":
        return number(value)
    # Settings are exact: two that differ never look alike.
    return in_a_line(told(value if isinstance(value, str) else json.dumps(value)))


def _marks(table: ResultTable) -> list[str]:
    """The letters of the notes for the energy of each of [n] rows."""
    pairs = zip(table.values("energy_origin"), table.values("validity"), strict=True)
    return [marks_of(origin, validity) for origin, validity in pairs]


def marks_of(origin: str, validity: str | None) -> str:
    """The letters of those of ``NOTES`` that an energy has, by where it comes from and what can be said of it."""
    letters = {"not_citable": "b", "questionable": "c"}
    return ("a" if "modelled" in origin else "") + letters.get(validity or "", "")


def _notes(table: ResultTable, names: Sequence[str]) -> list[tuple[str, str]]:
    """The notes that figures of energy in these columns refer to."""
    there = {mark for name in names if name in OF_ENERGY for mark in _used(table, name)}
    return [(mark, f"the energy is {said}") for mark, said in NOTES.items() if mark in there]


def _used(table: ResultTable, name: str) -> set[str]:
    values = zip(_marks(table), table.values(name), strict=True)
    return {mark for marks, value in values if value is not None for mark in marks}


def _markdown(cell: str) -> str:
    return _OF_MARKDOWN.sub(lambda found: f"\\{found[0]}", cell)


def _latex(cell: str) -> str:
    """A cell without what tabulate does not escape: the bracket of an optional argument, the bar of old fonts."""
    clean = re.sub("[\ue002\ue003]", "?", cell)
    return clean.replace("[", _BRACKET).replace("|", _BAR)
