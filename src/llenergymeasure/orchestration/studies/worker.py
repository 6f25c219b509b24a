"""One worker on a study: it takes what nobody has, runs it, and goes on until nothing is left."""

import contextlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure._telling import told
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.experiment import ExperimentFailure, ExperimentResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.study_plan import Slot, StudyPlan
from llenergymeasure.exceptions import ConfigError, ExperimentError
from llenergymeasure.orchestration.attempt import kept_of, measured, planned
from llenergymeasure.orchestration.interruptions import held_back
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight import ExaminedExperiment
from llenergymeasure.orchestration.status import add_to_log
from llenergymeasure.orchestration.studies.claims import Claim, Claims
from llenergymeasure.orchestration.studies.gap import Gap, standing_of
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.persistence import LOG_FILE
from llenergymeasure.results.study.directory import (
    BASELINE_FILE,
    CLAIMS_DIR,
    EVENTS_DIR,
    FAILURE_FILE,
    StudyDirectory,
    keep_failure,
)
from llenergymeasure.results.study.events import Events
from llenergymeasure.results.study.rows import leave_row, value_in
from llenergymeasure.results.study.stopping import StopRule
from llenergymeasure.results.study.summary import name_of
from llenergymeasure.results.study.writer import SummaryWriter

_log = logging.getLogger(__name__)

_NUMBER = re.compile(r"\d+")
# How often a worker with nothing to do looks whether those who have the rest are still alive.
_POLL_S, _MOST_POLL_S = 2.0, 30.0


class SupersededError(ExperimentError):
    """Another worker took over what this one was doing."""


@dataclass
class Work:
    """What one worker did, as it goes on.

    ``results`` and ``failures`` are kept here where no files keep them, by their slots: of a study that is not to be
    written, or of what its folder could not take. ``stopped`` says why it ended early.
    """

    n_finished: int = 0
    n_failed: int = 0
    results: dict[int, ExperimentResult] = field(default_factory=dict)
    failures: dict[int, ExperimentFailure] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    stopped: str | None = None

    def trouble(self, problem: str) -> None:
        """Something could not be written where it belongs."""
        self.problems.append(problem)
        _log.error("%s", problem)


@dataclass
class _Series:
    """Failures in a row for the same cause."""

    cause: str = ""
    n: int = 0

    def add(self, failure: ExperimentFailure | None) -> int:
        """How many there are now."""
        # A number in it, such as of a process, makes no other cause.
        cause = "" if failure is None else f"{failure.error_type}: {_NUMBER.sub('#', failure.message)}"
        self.n = 0 if failure is None else self.n + 1 if cause == self.cause else 1
        self.cause = cause
        return self.n


@dataclass
class StudyWorker:
    """Runs what is left of a study.

    Args:
        directory: the folder of the study.
        plan: what it is.
        examined: what preflight found of each configuration that is still to be run.
        options: how it is carried out.
        keeps: whether results stay in the folder; otherwise they are only given.
        work: is told what was done, also where it ends with an interruption.
    """

    directory: StudyDirectory
    plan: StudyPlan
    examined: Mapping[int, ExaminedExperiment]
    options: RunOptions
    keeps: bool = True
    work: Work = field(default_factory=Work)
    _in_a_row: _Series = field(default_factory=_Series)
    _n_begun: int = 0
    _through: set[int] = field(default_factory=set)

    def run(self) -> Work:
        """Run all that nobody else runs; returns when every slot is through, or the study stops.

        Raises:
            OSError: nothing can be written to the folder of the study.
        """
        with Claims(self.directory.path / CLAIMS_DIR, stale_s=self.plan.execution.takeover_after_s) as claims:
            name = claims.worker.name
            self._events = Events(self.directory.path / EVENTS_DIR / f"{name}.jsonl" if self.keeps else None,
                                  self.options.now)  # fmt: skip
            self._events.add("begin", host=claims.worker.host, pid=claims.worker.pid)
            self._claims = claims
            self._summary = SummaryWriter(self.directory, self.plan) if self.keeps else None
            self._rule = StopRule(self.plan, self._value)
            uuids = sorted({uuid for each in self.examined.values() for uuid in each.devices or ()})
            self._gap = Gap(self.plan.execution, lambda: standing_of(uuids), self.options.sleep)
            self._in_pairs, wait_s = self.plan.n_blocks > 1, _POLL_S
            try:
                while self._pass() and self.work.stopped is None:
                    # Others may be measuring on this machine for hours.
                    self.options.sleep(wait_s)
                    wait_s = min(1.5 * wait_s, _MOST_POLL_S)
            except (KeyboardInterrupt, SystemExit):
                self._events.add("interrupted")
                raise
            if self.work.stopped is None:
                claims.forget_the_dead()
            self._events.add("end", stopped=self.work.stopped)
        return self.work

    def _pass(self) -> bool:
        """Take every block, or slot, that is left; whether others have something still."""
        others = False
        for block in self._blocks():
            if self.work.stopped is not None:
                break
            if not self._in_pairs:
                others |= self._run_slots(block)
                continue
            if not any(self._is_left(slot) for slot in block):
                continue
            # What is compared in pairs is run by one worker, on one machine.
            with self._claims.taken(f"block-{block[0].block:04d}") as claim:
                others |= claim is None or self._run_slots(block, claim)
        return others

    def _blocks(self) -> Iterator[list[Slot]]:
        block: list[Slot] = []
        for slot in self.plan.slots:
            if block and slot.block != block[0].block:
                yield block
                block = []
            block.append(slot)
        if block:
            yield block

    def _value(self, slot: Slot) -> float | None:
        """What the rule that ends a study early looks at, in a run that has finished."""
        stop = self.plan.execution.stop
        if stop is None:
            return None
        if slot.slot in self.work.results:
            return METRICS[stop.metric].read(self.work.results[slot.slot])
        return value_in(self.directory, self.plan, slot, stop.metric) if self.keeps else None

    def _is_left(self, slot: Slot) -> bool:
        # Also of a study that is written: what its folder could not take is only here.
        if slot.slot in self._through or slot.slot in self.work.results or slot.slot in self.work.failures:
            return False
        if not self._rule.is_needed(slot):
            return False
        if not self.keeps:
            return True
        if self.directory.found(self.plan, slot).is_through(self.plan.execution.retries):
            # What is through stays so: of a large study nobody looks for all of it again and again.
            self._through.add(slot.slot)
            return False
        return True

    def _run_slots(self, slots: list[Slot], block: Claim | None = None) -> bool:
        """Run some slots in their order, as long as their block is this worker's; whether others have some of them."""
        others = False
        for slot in slots:
            # Whether it is needed may depend on the run just before.
            while self.work.stopped is None and self._is_left(slot):
                if block is not None and block.is_superseded():
                    return True
                with self._claims.taken(f"{slot.slot:04d}") as claim:
                    if claim is None:
                        others = True
                        break
                    # It may have been finished since it was looked at.
                    if not self._is_left(slot):
                        break
                    self._run_slot(slot, claim)
        return others

    def _run_slot(self, slot: Slot, claim: Claim) -> None:
        """Run an attempt, and note what came of it."""
        execution = self.plan.execution
        if self._n_begun and (ended := self._gap.rest()) is not None:
            _log.info("%s", ended)
            self._events.add("rested", until=ended)
        self._n_begun += 1
        name = self._name_of(slot)
        _log.info("experiment %d of %d: %s", slot.slot + 1, len(self.plan.slots), name)
        self._events.add("start", slot=slot.slot, claim=claim.number)
        failure = self._attempt(slot, claim)
        if self._summary is not None:
            self._summary.written_if_due()
        if failure is None or isinstance(failure, SupersededError):
            self._events.add("finished" if failure is None else "dropped", slot=slot.slot, claim=claim.number)
            self._in_a_row.add(None)
            return
        self._events.add("failed", slot=slot.slot, claim=claim.number, why=failure.error_type)
        _log.error("experiment %d of %d failed: %s", slot.slot + 1, len(self.plan.slots), failure.message)
        if self._is_left(slot):
            return  # it is tried again
        n, most = self._in_a_row.add(failure), execution.stop_after_failures
        if execution.on_failure == "stop":
            self.work.stopped = "an experiment failed, and execution.on_failure is stop"
        elif most is not None and n >= most:
            self.work.stopped = (
                f"{n} experiments in a row failed for the same reason ({failure.error_type}), and "
                f"execution.stop_after_failures is {most}"
            )
            _log.error("stopped: %s", self.work.stopped)

    def _name_of(self, slot: Slot) -> str:
        return name_of(self.plan.configurations[slot.configuration].values)

    def _planned(self, slot: Slot, attempt: Path | None) -> ExperimentPlan:
        configuration = self.plan.configurations[slot.configuration]
        chosen = Settled(configuration.config(self.plan.execution.of_one), configuration.as_given)
        baseline = self.directory.path / BASELINE_FILE
        return planned(
            chosen, self.examined[slot.configuration], self.options, attempt, baseline, self.plan.key_of(slot)
        )

    def _attempt(self, slot: Slot, claim: Claim) -> ExperimentFailure | SupersededError | None:
        """Run an experiment once; why there is no result of it."""
        attempt = self.directory.new_attempt(self.plan, slot) if self.keeps else None
        n_before = self.work.n_finished
        interruption: KeyboardInterrupt | SystemExit | None = None
        try:
            with self._removed_when_interrupted(slot, attempt, lambda: self.work.n_finished > n_before):
                plan = self._planned(slot, attempt)
                raws, interruption = measured(plan, self.options)
                if claim.is_superseded():
                    raise SupersededError("another worker took over while this one stood still")
                with held_back():
                    kept = kept_of(plan, raws, self.options, lambda folder: folder)
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
                if interruption is not None:
                    raise interruption
        except SupersededError as error:
            _log.warning("experiment %d: %s; what it measured is dropped", slot.slot + 1, error)
            if attempt is not None:
                shutil.rmtree(attempt, ignore_errors=True)
            if interruption is not None:
                raise interruption from None
            return error
        except Exception as error:  # noqa: BLE001 - a failed experiment is a row, not the end of the study
            _log.debug("its traceback", exc_info=error)
            failure = self._failed(slot, attempt, error)
            if interruption is not None:
                raise interruption from None
            return failure
        return None

    def _failed(self, slot: Slot, attempt: Path | None, error: Exception) -> ExperimentFailure:
        failure = ExperimentFailure(
            slot=slot.slot,
            name=told(self._name_of(slot)),
            measurement_config_hash=self.plan.hash_of(slot),
            error_type=type(error).__name__,
            message=told(str(error)),
        )
        with held_back():
            self.work.n_failed += 1
            if attempt is None:
                self.work.failures[slot.slot] = failure
                return failure
            add_to_log(attempt / LOG_FILE, f"{failure.error_type}: {failure.message}")
            try:
                keep_failure(failure, attempt)
            except OSError as why:
                self.work.failures[slot.slot] = failure
                reason = why.strerror or why
                self.work.trouble(f"that {failure.name} failed cannot be written: {FAILURE_FILE}: {reason}")
        return failure

    @contextlib.contextmanager
    def _removed_when_interrupted(
        self, slot: Slot, attempt: Path | None, is_through: Callable[[], bool]
    ) -> Iterator[None]:
        """An attempt that is interrupted leaves nothing, unless it was through."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as error:
            if attempt is not None and not is_through():
                shutil.rmtree(attempt, ignore_errors=True)
                with contextlib.suppress(OSError):
                    attempt.parent.rmdir()
                error.add_note(f"{self._name_of(slot)}, which was running, was removed")
            raise
