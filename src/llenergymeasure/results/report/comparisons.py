"""Every two configurations of a study of modest size against each other, as ``llem compare`` does it."""

import itertools
import shlex
from collections import Counter
from collections.abc import Mapping
from typing import Any

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.summary import SummaryRow
from llenergymeasure.exceptions import LLEMError
from llenergymeasure.results.comparing.comparison import compare
from llenergymeasure.results.comparing.groups import Group
from llenergymeasure.results.comparing.written import as_written
from llenergymeasure.results.persistence import RUNS_DIR
from llenergymeasure.results.report.gathered import Gathered
from llenergymeasure.results.report.table import label_of

# 66 pairs.
MOST_ROWS = 12
_LEAST_ROWS = 2


def comparisons_of(gathered: Gathered, results: Mapping[int, ExperimentResult]) -> dict[str, Any]:
    """Pairs of rows by their numbers, such as ``1-2``: the second against the first, or why they are not compared.

    ``names`` are what ``llem compare`` is to be given for a row, None where no name is of its runs alone. Where there
    are no pairs, ``why_none`` says why.

    Args:
        gathered: the study.
        results: the results of runs, by their slots.
    """
    rows = [row for row in gathered.summary.rows if row.n_finished]
    n_rows = Counter(row.configuration for row in gathered.summary.rows)
    names = {str(row.number): _named(gathered, row, n_rows[row.configuration]) for row in rows}
    if len(rows) < _LEAST_ROWS:
        return {"pairs": {}, "names": names, "why_none": "a comparison takes two configurations"}
    if len(rows) > MOST_ROWS:
        why = f"of more than {MOST_ROWS} configurations not every two are compared beforehand"
        return {"pairs": {}, "names": names, "why_none": why}
    groups = {row.number: _group(gathered, row, results) for row in rows}
    pairs = {
        f"{first}-{second}": _pair(groups[first], groups[second]) for first, second in itertools.combinations(groups, 2)
    }
    return {"pairs": pairs, "names": names, "why_none": None}


def _group(gathered: Gathered, row: SummaryRow, results: Mapping[int, ExperimentResult]) -> Group | None:
    """The runs of a row; None where one of them could not be read."""
    runs = gathered.runs_of(row)
    if any(run.slot not in results for run in runs):
        return None
    return Group(
        label=label_of(row),
        results=tuple(results[run.slot] for run in runs),
        runs=tuple(f"run {run.slot}" for run in runs),
    )


def _pair(first: Group | None, second: Group | None) -> dict[str, Any]:
    if first is None or second is None:
        return {"refused": "not all of their runs could be read"}
    try:
        written = as_written(compare([first, second]))
    except LLEMError as error:
        return {"refused": str(error)}
    return {name: written[name] for name in ("confidence", "margin", "metrics", "differences", "cautions")}


def _named(gathered: Gathered, row: SummaryRow, n_rows: int) -> str | None:
    """What leads to the runs of a row and to no others; its configuration has ``n_rows`` rows, one for each machine."""
    runs = gathered.runs_of(row)
    if gathered.is_planned:
        # In an archive no pattern leads to runs.
        if n_rows > 1 or not gathered.given[0].is_dir():
            return None
        return shlex.quote(str(gathered.given[0] / RUNS_DIR / f"*-{row.config_hash}"))
    folder = gathered.folder_of(runs[0]) if len(runs) == 1 else None
    # What was unpacked from an archive is gone by then.
    lies_there = folder is not None and any(given.exists() and folder.is_relative_to(given) for given in gathered.given)
    return shlex.quote(str(folder)) if lies_there else None
