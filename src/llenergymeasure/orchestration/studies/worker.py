"""One worker on a study: it takes what nobody has, runs it, and goes on until nothing is left."""

import contextlib
import logging
import re
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.orchestration.attempt import Had
from llenergymeasure.orchestration.interruptions import raise_if_lost, taken_for_what_it_is
from llenergymeasure.orchestration.nodes.attending import Attendance
from llenergymeasure.orchestration.nodes.wanted import group_of_workers
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.studies.claiming.claim import Claim
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.claiming.promises import SupersededError
from llenergymeasure.orchestration.studies.gap import Gap, References
from llenergymeasure.orchestration.studies.slot_attempt import Attempts, Work
from llenergymeasure.results.comparing.metrics import METRICS
from llenergymeasure.results.study.directory import (
    CLAIMS_DIR,
    EVENTS_DIR,
    StudyDirectory,
)
from llenergymeasure.results.study.events import Events
from llenergymeasure.results.study.rows import slots_with_rows, value_in
from llenergymeasure.results.study.stopping import StopRule
from llenergymeasure.results.study.writer import LEAST_S, SummaryWriter

_log = logging.getLogger(__name__)

_NUMBER = re.compile(r"\d+")
# How often a worker with nothing to do looks whether those who have the rest are still alive.
_POLL_S, _MOST_POLL_S = 2.0, 30.0
# A part of the study like its slots, for one worker as long as that lives.
_SUMMARY = "summary"
# What a listing costs for so many slots is what a look at one costs: 200 names in an answer, and four questions.
_AS_MUCH_AS = 800
# So many of the last runs say how long the next will take.
_TOLD_BY = 20


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
        shared: whether others may run it at the same time, who know only what is in the folder.
        through: slots of which nothing is left to run; those that it finds are added.
        claims: makes its claims, as ``Claims``.
    """

    directory: StudyDirectory
    plan: StudyPlan
    examined: Mapping[int, ExaminedExperiment]
    options: RunOptions
    keeps: bool = True
    work: Work = field(default_factory=Work)
    shared: bool = False
    through: set[int] = field(default_factory=set)
    claims: Callable[..., Claims] = Claims
    _no_time: str | None = None
    _leads: bool = False
    _in_a_row: _Series = field(default_factory=_Series)
    _took_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TOLD_BY))
    _as_writer: Claim | None = None
    _asked_s: float = float("-inf")

    def run(self) -> Work:
        """Run all that nobody else runs; returns when every slot is through, or the study stops.

        Raises:
            OSError: nothing can be written to the folder of the study.
        """
        with self.claims(self.directory.path / CLAIMS_DIR, stale_s=self.plan.execution.takeover_after_s,
                         files=self.directory.files) as claims, contextlib.ExitStack() as self._for_good:  # fmt: skip
            name = claims.worker.name
            self._events = Events(self.directory.path / EVENTS_DIR / f"{name}.jsonl" if self.keeps else None,
                                  self.options.now)  # fmt: skip
            self._events.begin(self.options.file_time_s, host=claims.worker.host, pid=claims.worker.pid)
            self._claims = claims
            self._attempts = Attempts(self.directory, self.plan, self.examined, self.options, self.keeps, self.work,
                                      self._devices_had)  # fmt: skip
            self._summary = (
                SummaryWriter(self.directory, self.plan, clock=self.options.file_time_s) if self.keeps else None
            )
            self._rule = StopRule(self.plan, self._value)
            self._gap = Gap(self.plan.execution, References(self._events), self.options.standing, self.options.sleep,
                            self.options.clock)  # fmt: skip
            self._in_pairs, wait_s = self.plan.n_blocks > 1, _POLL_S
            self._attendance = Attendance(self.directory, self.plan)
            self._rows_before = slots_with_rows(self.directory)
            try:
                with taken_for_what_it_is():
                    while self._pass() and self.work.stopped is None:
                        # Others may be measuring on this machine for hours.
                        self.options.sleep(wait_s)
                        wait_s = min(1.5 * wait_s, _MOST_POLL_S)
                        self._note_finished()
            except (KeyboardInterrupt, SystemExit):
                self._events.add("interrupted")
                raise
            self._events.add("end", stopped=self.work.stopped, only_here=self.work.only_here,
                             out_of_time=self.work.out_of_time, problems=self.work.problems)  # fmt: skip
        return self.work

    def _note_finished(self) -> None:
        """See what others have finished in one look, where one at each that may be left would cost more."""
        if len(self.plan.slots) - len(self.through) > len(self.plan.slots) // _AS_MUCH_AS:
            self.through |= slots_with_rows(self.directory) - self._rows_before

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
            self._attend()
            # What is compared in pairs is run by one worker, on one machine.
            with self._leading(block) as leads:
                others |= not leads or self._run_block(block)
        if self._no_time is not None and self.work.stopped is None:
            # Time only gets less: nobody is waited for.
            self.work.stopped, self.work.only_here, self.work.out_of_time = self._no_time, True, True
        return others

    def _run_block(self, block: list[Slot]) -> bool:
        with self._claims.taken(f"block-{block[0].block:04d}") as claim:
            return claim is None or self._run_slots(block, claim)

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

    def _may_be_left(self, slot: Slot) -> bool:
        """Whether a slot may have to be run still, without a look at its folder."""
        # Also of a study that is written: what its folder could not take is only here.
        if slot.slot in self.through or slot.slot in self.work.results or slot.slot in self.work.failures:
            return False
        # What was found damaged since this one began is for whoever found it.
        return slot.configuration in self.examined and self._rule.is_needed(slot)

    def _is_left(self, slot: Slot) -> bool:
        return self._may_be_left(slot) and self._unseen(slot) is not None

    def _unseen(self, slot: Slot, ended: Collection[str] = ()) -> Mapping[str, bool] | None:
        """Of the attempts at a slot that are said to have ended those that say nothing of it: whether each is there.

        None where nothing is left of it.

        Raises:
            OSError: its folder cannot be looked into.
        """
        if not self.keeps:
            return {}
        found = self.directory.seen(self.plan, slot, ended)
        if not found.is_through(self.plan.execution.retries):
            folder, files = self.directory.folder(self.plan, slot), self.directory.files
            return {attempt: files.exists(folder / attempt) for attempt in found.silent.intersection(ended)}
        # What is through stays so: of a large study nobody looks for all of it again and again.
        self.through.add(slot.slot)
        return None

    def _run_slots(self, slots: list[Slot], block: Claim | None = None) -> bool:
        """Run some slots in their order, as long as their block is this worker's; whether others have some of them."""
        others = False
        for slot in slots:
            # Whether it is needed may depend on the run just before.
            while self.work.stopped is None and self._may_be_left(slot):
                self._attend()
                if block is not None and block.is_superseded():
                    return True
                if slot.closes and any(self._is_left(other) for other in self.plan.slots if other is not slot):
                    # Others are not through yet, and it tells where the machine stands behind them.
                    return True
                if (no_time := self.options.until.no_time_for(slot)) is not None:
                    if self._is_left(slot):
                        self._no_time = no_time
                    break
                with self._taken(slot) as claim:
                    if claim is None:
                        # Others have it, or are through with it.
                        others |= self._may_be_left(slot)
                        break
                    self._run_slot(slot, claim)
        return others

    @contextlib.contextmanager
    def _leading(self, slots: Sequence[Slot]) -> Iterator[bool]:
        """Whether this worker may run some slots: not where they take several nodes, and another of its group leads.

        Who leads waits for others to attend, and did all of them lead, all would wait.
        """
        if self._leads or not any(map(self._attendance.takes_nodes, slots)):
            yield True
            return
        with self._claims.taken(f"nodes-{group_of_workers()}") as claim:
            self._leads = claim is not None
            try:
                yield self._leads
            finally:
                self._leads = False

    @contextlib.contextmanager
    def _taken(self, slot: Slot) -> Iterator[Claim | None]:
        """The claim on a slot; None where another worker has it, or leads where this one would have to."""
        with self._leading([slot]) as leads:
            if not leads:
                yield None
                return
            with self._claims.taken(f"{slot.slot:04d}", partial(self._unseen, slot)) as claim:
                yield claim

    def _attend(self) -> None:
        """Take part in what others lead, as long as any of them wants it."""
        until = self.options.until
        while self._attendance.once(lambda slot: slot.slot not in self.through and until.no_time_for(slot) is None):
            raise_if_lost()

    def _run_slot(self, slot: Slot, claim: Claim) -> None:
        """Run an attempt, and note what came of it."""
        raise_if_lost()
        execution = self.plan.execution
        name = self._attempts.name_of(slot)
        n, began_s = len(self.plan.slots), self.options.clock()
        _log.info("experiment %d of %d: %s", slot.slot + 1, n, name)
        self.options.progress.at_run(slot.slot + 1, n, self._later_s(slot))
        failure = self._attempts.once(slot, claim)
        self._took_s.append(self.options.clock() - began_s)
        if self._summary is not None and self._sums_up():
            self._summary.written_if_due()
        if failure is None:
            self.options.until.took(slot, self._took_s[-1])
        if failure is None or isinstance(failure, SupersededError):
            self._events.add("finished" if failure is None else "dropped", slot=slot.slot, claim=claim.number)
            self._in_a_row.add(None)
            self._stop_where_it_is_only_here(slot)
            return
        self._events.add("failed", slot=slot.slot, claim=claim.number, why=failure.error_type)
        _log.error("experiment %d of %d failed: %s", slot.slot + 1, len(self.plan.slots), failure.message)
        if self._is_left(slot):
            return  # it is tried again
        n, most = self._in_a_row.add(failure), execution.stop_after_failures
        self._stop_where_it_is_only_here(slot)
        if self.work.stopped is not None:
            return
        if execution.on_failure == "stop":
            self.work.stopped = "an experiment failed, and execution.on_failure is stop"
        elif most is not None and n >= most:
            # It may be the GPU that is broken, and others have another.
            self.work.only_here = True
            self.work.stopped = (
                f"{n} experiments in a row failed for the same reason ({failure.error_type}), and "
                f"execution.stop_after_failures is {most}"
            )
            _log.error("stopped: %s", self.work.stopped)

    def _sums_up(self) -> bool:
        """Whether it is this worker that writes the summary now and then: of several one, who reads each row once."""
        if not self.shared:
            return True
        if self._as_writer is None and self.options.clock() - self._asked_s >= LEAST_S:
            self._asked_s = self.options.clock()
            with contextlib.suppress(OSError):
                self._as_writer = self._for_good.enter_context(self._claims.taken(_SUMMARY))
        return self._as_writer is not None

    def _later_s(self, slot: Slot) -> float | None:
        """How long the runs after this one will take, if they take as long as those before; None where nobody knows."""
        if self.shared or not self._took_s:
            return None
        return (len(self.plan.slots) - slot.slot - 1) * median(self._took_s)

    def _stop_where_it_is_only_here(self, slot: Slot) -> None:
        """What the folder did not take others would run again."""
        if self.keeps and self.shared and (slot.slot in self.work.results or slot.slot in self.work.failures):
            self.work.stopped = "the folder of the study takes nothing any more"
            _log.error("stopped: %s", self.work.stopped)

    def _devices_had(self, slot: Slot, claim: Claim, plan: ExperimentPlan, had: Had) -> None:
        """Rest, with the devices of a run held, so that whoever measures them rests after whoever did."""
        if had.quiet is not None:
            self._events.add("quiet", slot=slot.slot, found=had.quiet.in_words)
        raise_if_lost()
        pause_s = self.plan.execution.pause_s
        self.options.progress.begin("resting", for_s=pause_s or None)
        ended = self._gap.rest(plan.devices, after_others=had.after_others, has_others=had.has_others)
        if ended is not None:
            _log.info("%s", ended)
            self._events.add("rested", until=ended)
        self._events.add("start", slot=slot.slot, claim=claim.number)
