"""A result or a study as the folder that it lies in."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure._files import read_regular
from llenergymeasure._paths import expanded
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.persistence import RESULT_FILE, RUNS_DIR, result_file
from llenergymeasure.results.reading import ResultFile, Skipped, files_in, refuse_damaged, results_of

_PLAN_FILE = "plan.json"
_MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """The folder of a result, or of a study with ``n_planned`` experiments (None where nobody wrote it down).

    ``files`` are the results in it, in the order of the study; ``n_failed`` experiments gave none and left word of it.
    """

    folder: Path
    is_study: bool
    files: tuple[ResultFile, ...]
    n_failed: int = 0
    n_planned: int | None = None

    @classmethod
    def of(cls, path: Path) -> "Bundle":
        """What a path means: a ``result.json``, the folder of one, that of an experiment of a study, or a study.

        Raises:
            ConfigError: there is no result.
        """
        path = expanded(path)
        # In this way what is no path is no study; the name of the result is looked at with more words.
        if not os.path.isdir(path / RUNS_DIR) or (path / RESULT_FILE).exists():  # noqa: PTH112
            file = result_file(path)
            if not file.is_file():
                raise config_error(f"{path}: there is no result here; give the folder of a result or of a study")
            return cls(folder=file.parent, is_study=False, files=tuple(files_in(file)))
        without: list[Skipped] = []
        files = tuple(files_in(path / RUNS_DIR, without.append))
        for each in without:
            # How an experiment failed is in no account of the others.
            if each.damaged and not each.failed:
                refuse_damaged(each)
        if not files:
            raise config_error(f"{path}: no experiment of this study has a result")
        n_failed = sum(each.failed for each in without)
        return cls(folder=path, is_study=True, files=files, n_failed=n_failed, n_planned=_n_planned(path))

    def results(self) -> Iterator[ExperimentResult]:
        """Each result, read when it is asked for.

        Raises:
            ConfigError: one cannot be read, or is not the one that was written.
        """
        return results_of(self.files)

    @property
    def n_unfinished(self) -> int:
        """Experiments of a study's plan that neither gave a result nor failed."""
        return 0 if self.n_planned is None else max(0, self.n_planned - self.n_failed - len(self.files))


def _n_planned(study: Path) -> int | None:
    try:
        slots = json.loads(read_regular(study / _PLAN_FILE, _MOST_BYTES))["slots"]
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return None
    return len(slots) if isinstance(slots, list) else None
