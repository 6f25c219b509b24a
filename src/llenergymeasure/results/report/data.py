"""All that a report shows, as plain values that JSON has."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llenergymeasure._secrets import values_to_hide
from llenergymeasure._telling import told, visible
from llenergymeasure._version import __version__
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.reading import OnSkipped
from llenergymeasure.results.report.comparisons import comparisons_of
from llenergymeasure.results.report.details import MOST_READ, courses, environments, read, settings_of, texts_of
from llenergymeasure.results.report.energy import phases_of, split_of
from llenergymeasure.results.report.gathered import Gathered, gathered
from llenergymeasure.results.report.loads import loads_of
from llenergymeasure.results.report.table import table_of
from llenergymeasure.results.report.trust import head_of
from llenergymeasure.results.study.fronts import AGAINST, BETTER, JOULES

# Counts up when something in the data gets another meaning, for those who read it out of a page.
DATA_VERSION = 1


def report_data(paths: Sequence[Path], on_skipped: OnSkipped) -> dict[str, Any]:
    """What there is in folders of results or studies, or in archives.

    Nothing in it depends on when it is made, or says where somebody lives; control characters are escaped.

    Args:
        paths: as for ``llem results``.
        on_skipped: is told of each thing that cannot be used.

    Raises:
        ConfigError: a path is not there, or there is no result in all of them.
    """
    with gathered(paths, on_skipped) as found:
        results = read(found, on_skipped)
        data = {
            "data_version": DATA_VERSION,
            "tool_version": __version__,
            "head": head_of(found),
            "table": table_of(found),
            "plots": [{"x": metric, "y": JOULES, "better": "less" if BETTER[metric] > 0 else "more"}
                      for metric in AGAINST],
            "energy": _energy(found, results),
            "loads": loads_of(found),
            "courses": courses(found, results),
            "comparisons": comparisons_of(found, results),
            "environments": environments(results.values()),
            "settings": settings_of(found),
            "texts": texts_of(found, results.values()),
            "n_not_read": max(0, len(found.runs) - MOST_READ),
        }  # fmt: skip
    fit: dict[str, Any] = _FitForOthers().values(data)
    return fit


def _energy(found: Gathered, results: Mapping[int, ExperimentResult]) -> list[dict[str, Any]]:
    """The parts of the energy of each row."""
    parts = []
    for row in found.summary.rows:
        runs = found.runs_of(row)
        own = [results[run.slot] for run in runs if run.slot in results]
        parts.append({**split_of(row, runs), "phases": phases_of(own)})
    return parts


class _FitForOthers:
    """Makes texts fit for a file that is given away; thousands of rows have the same ones."""

    def __init__(self) -> None:
        secrets = values_to_hide()
        self._text = functools.lru_cache(maxsize=4096)(lambda text: visible(told(text, secrets)))

    def values(self, value: Any) -> Any:
        """Plain values with such texts."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            return {self._text(str(key)): self.values(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [inner if type(inner) is float else self.values(inner) for inner in value]
        return value
