"""Who writes the summary of a study: one process at a time, now and then, and at the end."""

import logging
import time
from collections.abc import Callable, Mapping

from llenergymeasure._locks import locked
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.domain.study.summary import StudySummary
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.files import CSV_FILE, write_summary
from llenergymeasure.results.study.rows import RowReader, with_those_kept_here
from llenergymeasure.results.study.saying import folders_in
from llenergymeasure.results.study.summary import Summing

_log = logging.getLogger(__name__)

LOCK_FILE = ".summary.lock"
# The summary is written at most once in so many seconds, and takes at most one part in so many of the time.
LEAST_S = 60.0
_SHARE = 20
# How long the last one waits for whoever writes it; one that is stopped never ends.
PATIENCE_S = 60.0


class SummaryWriter:
    """Writes ``summary.parquet``, ``summary.csv`` and ``summary.md`` into the folder of a study.

    ``problem`` says why they could not be written the last time.
    """

    def __init__(
        self,
        directory: StudyDirectory,
        plan: StudyPlan,
        reference: int | None = None,
        clock: Callable[[], float] = time.time,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take a study.

        Args:
            directory: its folder.
            plan: what it is.
            reference: the configuration that the others are held against, by its place in the plan; None is the plan's.
            clock: seconds, as the times of files have them.
            patience_s: how long ``finish`` waits for others that write it.

        Raises:
            ConfigError: there is no such configuration.
        """
        self._directory, self._plan, self._clock = directory, plan, clock
        self._patience_s = patience_s
        self._summing = Summing(plan, reference, folders_in(directory, plan))
        self._reader = RowReader(directory, plan, only_needed=True)
        self._least_s, self._tried_s = LEAST_S, float("-inf")
        self.problem: str | None = None

    def written_if_due(self) -> bool:
        """Write it where nobody has for a minute, and nobody is about to; whether it was written."""
        if not self._is_due():
            return False
        with locked(self._directory.path / LOCK_FILE, patience_s=0) as held:
            # Others may have written it meanwhile.
            if held is False or not self._is_due():
                return False
            self._tried_s = began_s = self._clock()
            self._write(self._summing.in_short(self._reader.read()))
            self._least_s = max(LEAST_S, _SHARE * (self._clock() - began_s))
        return self.problem is None

    def finish(
        self,
        results: Mapping[int, ExperimentResult] | None = None,
        failures: Mapping[int, ExperimentFailure] | None = None,
    ) -> StudySummary:
        """Write what there is in the end, every row looked at once more; nothing where others are long about it.

        Args:
            results: by slot, those that lie in no folder. They are in what is returned, and not in the files, which say
                what the folder has.
            failures: by slot, those of which no word could be left.
        """
        with locked(self._directory.path / LOCK_FILE, self._patience_s) as held:
            found = RowReader(self._directory, self._plan, only_needed=True).read()
            summary = self._summing.of(found)
            if held is False:
                self._tell(f"another process has held {LOCK_FILE} for {self._patience_s:g} s")
            else:
                self._write(summary)
        if not results and not failures:
            return summary
        return self._summing.of(with_those_kept_here(found, self._plan, results or {}, failures or {}))

    def _is_due(self) -> bool:
        if self._clock() - self._tried_s < self._least_s:
            return False
        try:
            age_s = self._clock() - (self._directory.path / CSV_FILE).stat().st_mtime
        except OSError:
            return True
        # A file of the future is of another clock.
        return not 0 <= age_s < self._least_s

    def _write(self, summary: StudySummary) -> None:
        try:
            write_summary(summary, self._directory.path)
        except OSError as error:
            self._tell(error.strerror or str(error))
        else:
            self.problem = None

    def _tell(self, why: str) -> None:
        self.problem = f"the summary cannot be written: {why}"
        _log.warning("%s", self.problem)
