"""What came of a study, without its results: thousands of them are for whoever asks, and one after the other."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure, StudyResult
from llenergymeasure.domain.study.summary import StudySummary
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.studies.slot_attempt import Work
from llenergymeasure.protocols import ResultsRepository
from llenergymeasure.results.persistence import RESULT_FILE
from llenergymeasure.results.study.directory import SlotState, StudyDirectory
from llenergymeasure.results.study.rows import StudyRows, with_those_kept_here
from llenergymeasure.results.study.summary import Summing
from llenergymeasure.results.study.writer import SummaryWriter


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """What came of a study; its results stay where they lie.

    ``directory`` is its folder, None where nothing is kept, and ``output_dir`` that as it was given. ``problems`` say
    what could not be written where it belongs.
    """

    plan: StudyPlan
    work: Work
    summary: StudySummary
    problems: tuple[str, ...]
    repository: ResultsRepository
    end_time: datetime
    directory: StudyDirectory | None = None
    output_dir: Path | None = None

    @property
    def n_results(self) -> int:
        """How many runs have finished, of which a result may turn out to be damaged."""
        return self.summary.n_finished + len(self.summary.problems)

    @property
    def failures(self) -> list[ExperimentFailure]:
        """The runs that gave no result, in the order of the slots."""
        return [
            ExperimentFailure(
                slot=each.slot,
                name=each.name,
                measurement_config_hash=self.plan.hash_of(self.plan.slots[each.slot]),
                error_type=each.error_type,
                message=each.message,
            )
            for each in self.summary.failures
        ]

    @property
    def is_well(self) -> bool:
        """Whether nothing failed, nothing is damaged, all could be written, and nothing stopped it."""
        summary = self.summary
        return not (summary.failures or summary.problems or self.problems or self.work.stopped)

    def results(self, on_unreadable: Callable[[str], object]) -> Iterator[ExperimentResult]:
        """The results in the order of the slots, each read when it is asked for, and held by nobody.

        Args:
            on_unreadable: is told why one cannot be read.
        """
        for slot in self.plan.slots:
            if slot.slot in self.work.results:
                yield self.work.results[slot.slot]
                continue
            attempt = None if slot.slot in self.work.failures else self._finished(slot)
            if attempt is None:
                continue
            try:
                found = self.repository.load(attempt / RESULT_FILE).kept_in(attempt)
            except ConfigError as error:
                on_unreadable(str(error))
            else:
                yield found

    def loaded(self) -> StudyResult:
        """The same with all its results at once."""
        unreadable: list[str] = []
        experiments = list(self.results(unreadable.append))
        return StudyResult(
            name=self.plan.name,
            start_time=self.plan.created,
            end_time=self.end_time,
            experiments=experiments,
            failures=self.failures,
            problems=[*self.problems, *unreadable],
            stopped=self.work.stopped,
            n_planned=len(self.plan.slots),
            output_dir=self.output_dir,
            summary=self.summary,
        )

    def _finished(self, slot: Slot) -> Path | None:
        if self.directory is None:
            return None
        found = self.directory.found(self.plan, slot)
        return found.attempt if found.state is SlotState.FINISHED else None


def summed_up(directory: StudyDirectory | None, plan: StudyPlan, work: Work) -> tuple[StudySummary, tuple[str, ...]]:
    """The summary of what there is of a study, written where that is kept; and what could not be written of all."""
    if directory is None:
        found = with_those_kept_here(StudyRows(), plan, work.results, work.failures)
        return Summing(plan).of(found), tuple(work.problems)
    writer = SummaryWriter(directory, plan)
    summary = writer.finish(work.results, work.failures)
    return summary, (*work.problems, *([] if writer.problem is None else [writer.problem]))
