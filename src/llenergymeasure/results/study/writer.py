"""Who writes the summary of a study: one process at a time, now and then, and at the end."""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping

from llenergymeasure._locks import locked
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.domain.study.summary import StudySummary
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.files import CSV_FILE, write_summary
from llenergymeasure.results.study.rows import RowReader, StudyRows, slots_with_rows, with_those_kept_here
from llenergymeasure.results.study.saying import folders_in
from llenergymeasure.results.study.summary import Summing

_log = logging.getLogger(__name__)

LOCK_FILE = ".summary.lock"
# Its time says when whoever wrote the summary last began to read the rows, by the clock of the file system.
READ_FILE = ".summary.read"
# The summary is written at most once in so many seconds, and takes at most one part in so many of the time.
LEAST_S = 60.0
_SHARE = 20
# How long the last one waits for whoever writes it; one that is stopped never ends.
PATIENCE_S = 60.0
# Many workers end at once, and each waits for one or two who read all rows.
_OF_MANY_S, _LEAVING_S = 1800.0, 5.0
# What was written so long before the rows were read was seen, however late that is on a shared file system.
_SEEN_AFTER_S = 5.0
# To read so few rows takes no time.
_FEW = 1000


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
            read_s = self._directory.files.now_s(self._directory.path)
            if self._write(self._summing.in_short(self._reader.read())):
                self._note_read(read_s)
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
            found, summary = self._all(held, self._patience_s)
        if not results and not failures:
            return summary
        return self._summing.of(with_those_kept_here(found, self._plan, results or {}, failures or {}))

    def leave(self, *, is_over: bool) -> None:
        """Write it for the last time as one of several workers, unless another's has all that this one has done.

        Args:
            is_over: whether the study is through, so that nobody may write it any more.
        """
        asked_s = self._directory.files.now_s(self._directory.path)
        if not is_over and len(slots_with_rows(self._directory)) > _FEW:
            # Whoever goes on with it has written it within the last minute, and will again.
            asked_s -= LEAST_S + _SEEN_AFTER_S
        # Who has to end may not wait for long, and whoever goes on writes it in the end.
        patience_s = _OF_MANY_S if is_over else _LEAVING_S
        with locked(self._directory.path / LOCK_FILE, patience_s) as held:
            if not self._was_read_since(asked_s) and (is_over or held is not False):
                self._all(held, patience_s)

    def _all(self, held: bool | None, patience_s: float) -> tuple[StudyRows, StudySummary]:
        """Every row, and what they come to, which is written where the lock is held."""
        began_s = self._directory.files.now_s(self._directory.path)
        found = RowReader(self._directory, self._plan, only_needed=True).read()
        summary = self._summing.of(found)
        if held is False:
            self._tell(f"another process has held {LOCK_FILE} for {patience_s:g} s")
        elif self._write(summary):
            self._note_read(began_s)
        return found, summary

    def _note_read(self, began_s: float) -> None:
        with contextlib.suppress(OSError):
            file = self._directory.path / READ_FILE
            file.touch()
            os.utime(file, (began_s, began_s))

    def _was_read_since(self, asked_s: float) -> bool:
        try:
            read_s = (self._directory.path / READ_FILE).stat().st_mtime
        except OSError:
            return False
        return read_s > asked_s + _SEEN_AFTER_S

    def _is_due(self) -> bool:
        if self._clock() - self._tried_s < self._least_s:
            return False
        try:
            age_s = self._clock() - (self._directory.path / CSV_FILE).stat().st_mtime
        except OSError:
            return True
        # A file of the future is of another clock.
        return not 0 <= age_s < self._least_s

    def _write(self, summary: StudySummary) -> bool:
        try:
            write_summary(summary, self._directory.path)
        except OSError as error:
            self._tell(error.strerror or str(error))
            return False
        self.problem = None
        return True

    def _tell(self, why: str) -> None:
        self.problem = f"the summary cannot be written: {why}"
        _log.warning("%s", self.problem)
