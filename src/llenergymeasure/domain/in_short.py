"""Results in a few lines, as Python shows them."""

from typing import TYPE_CHECKING

from llenergymeasure._telling import in_a_line
from llenergymeasure.domain.in_figures import number, with_interval
from llenergymeasure.domain.warnings import in_words

if TYPE_CHECKING:
    from llenergymeasure.domain.result import ExperimentResult
    from llenergymeasure.domain.study.result import StudyResult
    from llenergymeasure.domain.study.summary import SummaryRow

# Of 24 lines of a terminal.
_MOST_ROWS = 20
_MOST_CHARACTERS = 100


def experiment(result: "ExperimentResult") -> str:
    """What was measured, whether it may be cited, and where it lies: four short lines."""
    rate = result.tokens_per_second
    why = f" ({', '.join(result.validity_flags)})" if result.validity_flags else ""
    lines = [
        f"ExperimentResult {result.name}: {result.n_requests:,} requests",
        f"{_energy(result)}: {in_words(result.validity)}{why}",
        f"{result.output_tokens:,} output tokens in {number(result.duration_sec)} s, {number(rate)} per s",
        "in no folder" if result.folder is None else f"in {result.folder}",
    ]
    return "<" + "\n  ".join(map(_cut, lines)) + ">"


def study(result: "StudyResult") -> str:
    """A line per experiment, or per configuration where some were run several times, as many as a screen has."""
    lines = [f"StudyResult {result.name}: {len(result.experiments)} results, {len(result.failures)} failed"]
    rows = () if result.summary is None else result.summary.rows
    if any(row.n_finished > 1 for row in rows):
        each = list(map(_configuration, rows))
    else:
        each = [f"{one.name}: {_energy(one)}, {number(one.tokens_per_second)} tok/s" for one in result.experiments]
    lines += each[:_MOST_ROWS]
    more = len(each) - _MOST_ROWS
    lines += [f"and {more} more"] if more > 0 else []
    lines.append("in no folder" if result.output_dir is None else f"in {result.output_dir}")
    return "<" + "\n  ".join(map(_cut, lines)) + ">"


def _configuration(row: "SummaryRow") -> str:
    """Means of a configuration, with the ends of their intervals."""
    differs = ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in row.settings.items())
    figures = [
        f"{with_interval(found.value, found.low, found.high)} {unit}"
        for metric, unit in (("energy_per_output_token_j", "J per output token"), ("tokens_per_second", "tok/s"))
        if (found := row.metrics[metric]).value is not None
    ]
    return f"{differs or row.name}: {', '.join(figures) or 'no figures'} (n={row.n_finished})"


def _energy(result: "ExperimentResult") -> str:
    if result.total_energy_j is None:
        return "no energy"
    per_token = result.energy_per_output_token_j
    each = "" if per_token is None else f", {number(per_token)} J per output token"
    return f"{number(result.total_energy_j)} J{each}, {result.energy_origin.partition(':')[0].partition(' from ')[0]}"


def _cut(line: str) -> str:
    line = in_a_line(line)
    return line if len(line) <= _MOST_CHARACTERS else f"{line[: _MOST_CHARACTERS - 3]}..."
