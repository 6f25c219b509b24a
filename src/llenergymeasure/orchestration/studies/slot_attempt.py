"""One attempt at a run of a study, and what it leaves in the study's folder."""

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from llenergymeasure._telling import told
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.exceptions import ConfigError, NodeMissingError
from llenergymeasure.orchestration.attempt import Had, kept_of, measured, planned
from llenergymeasure.orchestration.interruptions import held_back
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.prompts_at_hand import lying_in
from llenergymeasure.orchestration.status import add_to_log
from llenergymeasure.orchestration.studies.claiming.claim import Claim
from llenergymeasure.orchestration.studies.claiming.promises import (
    OVERDUE,
    SupersededError,
    counts_no_more,
    refuse_superseded,
    say,
    take_back,
)
from llenergymeasure.results.attempts import DAMAGED_FILE, FAILURE_FILE, attempt_name, attempts_in
from llenergymeasure.results.persistence import LOG_FILE
from llenergymeasure.results.study.directory import BASELINE_FILE, StudyDirectory, keep_failure, mark_damaged
from llenergymeasure.results.study.rows import forget_row, leave_row
from llenergymeasure.results.study.summary import name_of

_log = logging.getLogger(__name__)


@dataclass
class Work:
    """What one worker did, as it goes on.

    ``results`` and ``failures`` are kept here where no files keep them, by their slots: of a study that is not to be
    written, or of what its folder could not take. ``stopped`` says why it ended early, and ``only_here`` whether that
    is no reason for others to end; ``out_of_time`` that it was for lack of time, and somebody may go on.
    """

    n_finished: int = 0
    n_failed: int = 0
    results: dict[int, ExperimentResult] = field(default_factory=dict)
    failures: dict[int, ExperimentFailure] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    stopped: str | None = None
    only_here: bool = False
    out_of_time: bool = False

    def trouble(self, problem: str) -> None:
        """Something could not be written where it belongs."""
        self.problems.append(problem)
        _log.error("%s", problem)


@dataclass
class _Begun:
    """What is run once its devices are held, and its folder; None until then, the folder also where nothing is kept."""

    plan: ExperimentPlan | None = None
    attempt: Path | None = None


@dataclass(frozen=True)
class Attempts:
    """Makes attempts at the runs of a study.

    Args:
        directory: the folder of the study.
        plan: what it is.
        examined: what preflight found of each configuration that is still to be run.
        options: how it is carried out.
        keeps: whether results stay in the folder; otherwise they are only given.
        work: is told what came of each.
        devices_had: is called when the devices of a run are held, before it begins; it may rest.
    """

    directory: StudyDirectory
    plan: StudyPlan
    examined: Mapping[int, ExaminedExperiment]
    options: RunOptions
    keeps: bool
    work: Work
    devices_had: Callable[[Slot, Claim, ExperimentPlan, Had], None] = lambda *_: None

    def name_of(self, slot: Slot) -> str:
        """What tells the configuration of a run from the others of its study."""
        return name_of(self.plan.configurations[slot.configuration].values)

    def _planned(self, slot: Slot) -> ExperimentPlan:
        configuration = self.plan.configurations[slot.configuration]
        config = lying_in(configuration.config(self.plan.execution.of_one), self.directory.path)
        chosen = Settled(config, configuration.as_given)
        baseline = self.directory.path / BASELINE_FILE
        return planned(chosen, self.examined[slot.configuration], self.options, None, baseline, self.plan.key_of(slot))

    def once(self, slot: Slot, claim: Claim) -> ExperimentFailure | SupersededError | None:
        """Run an experiment once; why there is no result of it, None where there is one.

        Raises:
            OSError: the folder takes no attempt; nothing was run.
        """
        begun = _Begun()
        n_before = self.work.n_finished
        for attempt in claim.overdue:
            # Whoever made it may wake, and must not finish it beside the one that is made now.
            with contextlib.suppress(FileNotFoundError):
                mark_damaged(self.directory.folder(self.plan, slot) / attempt, OVERDUE)
                forget_row(self.directory, slot)
        interruption: KeyboardInterrupt | SystemExit | None = None
        try:
            with self._removed_when_interrupted(slot, begun, lambda: self.work.n_finished > n_before):
                plan = self._planned(slot)

                def begin(had: Had) -> ExperimentPlan:
                    self.devices_had(slot, claim, plan, had)
                    # Before it, one may have waited for hours, or stood still.
                    refuse_superseded(claim)
                    # What only waits for its devices leaves nothing.
                    begun.attempt = self._new_attempt(slot)
                    begun.plan = replace(plan, output_dir=begun.attempt and begun.attempt.absolute())
                    return begun.plan

                raws, interruption = measured(plan, self.options, begin)
                # Where that cannot be told, it is when it is said that it has ended.
                with contextlib.suppress(OSError):
                    refuse_superseded(claim)
                self._keep(slot, claim, begun.plan or plan, raws)
                if interruption is not None:
                    raise interruption
        except Exception as error:  # noqa: BLE001 - a failed experiment is a row, not the end of the study
            why = self._dropped(slot, claim, begun, error) or self._failed(slot, claim, begun, error)
            if interruption is not None:
                raise interruption from None
            return why
        return None

    def _new_attempt(self, slot: Slot) -> Path | None:
        """A new folder, where results are kept; where an interruption comes while it is made there is none.

        Raises:
            OSError: it cannot be made.
        """
        if not self.keeps:
            return None
        made: list[Path] = []
        folder = self.directory.folder(self.plan, slot)
        before = attempts_in(folder)
        try:
            with held_back():
                made.append(self.directory.new_attempt(self.plan, slot))
        except OSError:
            # It may be there, and not be on the disk. Others make theirs after it, and what has files stays.
            new = attempts_in(folder).keys() - before.keys()
            with contextlib.suppress(OSError):
                for number in sorted(new)[:1]:
                    (folder / attempt_name(number)).rmdir()
                folder.rmdir()
            raise
        except (KeyboardInterrupt, SystemExit):
            for attempt in made:
                _remove(attempt)
            raise
        return made[0]

    def _keep(self, slot: Slot, claim: Claim, plan: ExperimentPlan, raws: Sequence[RawProcessResult]) -> None:
        """Keep what was measured, as a result and a row.

        Raises:
            SupersededError: another worker took over before this had been said to be whole.
        """
        attempt = plan.output_dir if self.keeps else None
        with held_back():
            kept = kept_of(plan, raws, self.options, lambda folder: folder, lambda: say(claim, "finished", attempt))
            if attempt is not None and kept.directory != attempt:
                take_back(claim, attempt)
            elif attempt is not None and counts_no_more(claim, attempt):
                raise SupersededError
            self.work.n_finished += 1
            if kept.directory != attempt or not self.keeps:
                self.work.results[slot.slot] = kept.result
            if self.options.arrivals is not None:
                self.options.arrivals.finished(kept.result)
            if kept.problem is not None:
                # Unlike a single one's the folder stays.
                stays = attempt is not None and kept.directory is None
                left = f"; what could be written of it is in {attempt}" if stays else ""
                self.work.trouble(f"{kept.problem}{left}")
            if kept.directory is not None and self.keeps:
                # What a row is made of lies there: where it cannot be written, it is made when it is asked for.
                with contextlib.suppress(ConfigError, OSError):
                    leave_row(self.directory, self.plan, slot)

    def _dropped(self, slot: Slot, claim: Claim, begun: _Begun, error: Exception) -> SupersededError | None:
        """What was done where another worker took over; None where none did, as far as can be told."""
        if not isinstance(error, SupersededError):
            try:
                if not claim.is_superseded():
                    return None
            except OSError:
                return None
            _log.debug("it had failed: its traceback", exc_info=error)
            error = SupersededError()
        return self._drop(slot, claim, begun, error)

    def _drop(self, slot: Slot, claim: Claim, begun: _Begun, error: SupersededError) -> SupersededError:
        """Leave nothing that counts."""
        _log.warning("experiment %d: %s; what it measured is dropped", slot.slot + 1, error)
        if begun.attempt is not None and claim.has_ended:
            # It has been told of, and its name is not to be another one's.
            with contextlib.suppress(OSError):
                mark_damaged(begun.attempt, OVERDUE)
        elif begun.attempt is not None:
            shutil.rmtree(begun.attempt, ignore_errors=True)
        return error

    def _failed(self, slot: Slot, claim: Claim, begun: _Begun, error: Exception) -> ExperimentFailure | SupersededError:
        """Leave word of why an attempt gave no result; or what was done, where another worker took over.

        Raises:
            OSError: it could not be begun.
        """
        if isinstance(error, NodeMissingError):
            # It says nothing of the run, which is made when the node is back: what began stays, and counts for nothing.
            self.work.stopped, self.work.only_here = str(error), True
            _log.error("experiment %d: %s", slot.slot + 1, error)
            return SupersededError()
        if begun.plan is None and isinstance(error, OSError):
            # The folder takes no attempt: nothing was run that could have failed.
            raise error
        _log.debug("its traceback", exc_info=error)
        attempt = begun.attempt = begun.attempt or self._new_attempt(slot)
        failure = ExperimentFailure(
            slot=slot.slot,
            name=told(self.name_of(slot)),
            measurement_config_hash=self.plan.hash_of(slot),
            error_type=type(error).__name__,
            message=told(str(error)),
        )
        with held_back():
            if attempt is None:
                self.work.n_failed += 1
                self.work.failures[slot.slot] = failure
                return failure
            add_to_log(attempt / LOG_FILE, f"{failure.error_type}: {failure.message}")
            try:
                say(claim, "failed", attempt)
                keep_failure(failure, attempt)
                # Others may have tried it again by now, as they are to.
                if (attempt / DAMAGED_FILE).exists():
                    raise SupersededError
            except SupersededError as superseded:
                return self._drop(slot, claim, begun, superseded)
            except OSError as why:
                take_back(claim, attempt)
                self.work.failures[slot.slot] = failure
                reason = why.strerror or why
                self.work.trouble(f"that {failure.name} failed cannot be written: {FAILURE_FILE}: {reason}")
            self.work.n_failed += 1
        return failure

    @contextlib.contextmanager
    def _removed_when_interrupted(self, slot: Slot, begun: "_Begun", is_through: Callable[[], bool]) -> Iterator[None]:
        """An attempt that is interrupted leaves nothing, unless it was through."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as error:
            if begun.attempt is not None and not is_through():
                _remove(begun.attempt)
                error.add_note(f"{self.name_of(slot)}, which was running, was removed")
            raise


def _remove(attempt: Path) -> None:
    """Remove an attempt, and the folder of its slot where it was the only one."""
    shutil.rmtree(attempt, ignore_errors=True)
    with contextlib.suppress(OSError):
        attempt.parent.rmdir()
