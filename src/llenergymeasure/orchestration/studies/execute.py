"""Studies from their beginning to their result, and on from where they stopped."""

import contextlib
import logging
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llenergymeasure._telling import told_values
from llenergymeasure.config.execution import Workers
from llenergymeasure.config.models import ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.config.sweep.chosen import carried_out
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import PlannedConfiguration, StudyPlan
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.attempt import examined
from llenergymeasure.orchestration.interruptions import held_back, noted_when_interrupted
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.output_folder import output_folder
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.prompts_at_hand import at_hand, lying_in
from llenergymeasure.orchestration.studies.beginning import begin_study, refuse_shared_process
from llenergymeasure.orchestration.studies.changed import refuse_another_study
from llenergymeasure.orchestration.studies.crew import Crew
from llenergymeasure.orchestration.studies.damage import damaged
from llenergymeasure.orchestration.studies.gpus_each import gpus_of_workers, refuse_what_one_gpu_cannot
from llenergymeasure.orchestration.studies.outcome import StudyOutcome, summed_up
from llenergymeasure.orchestration.studies.slot_attempt import Work
from llenergymeasure.orchestration.studies.standing import rule_of
from llenergymeasure.orchestration.studies.where import where_planned
from llenergymeasure.orchestration.studies.worker import StudyWorker
from llenergymeasure.results.persistence import RESULT_FILE
from llenergymeasure.results.study.directory import FoundSlot, SlotState, StudyDirectory, mark_damaged
from llenergymeasure.results.study.rows import forget_row, slots_with_rows
from llenergymeasure.results.study.writer import SummaryWriter

_log = logging.getLogger(__name__)


def execute_study(config: StudyConfig, options: RunOptions | None = None) -> StudyResult:
    """Plan a study, run all of it, and give it with all its results.

    Raises:
        LLEMError: as ``carry_out``.
        OSError: there is no place to begin in.
    """
    return carry_out(config, options).loaded()


def resume_study(
    path: Path, options: RunOptions | None = None, *, check_sums: bool = False, given: StudyConfig | None = None
) -> StudyResult:
    """Go on with a study where it stopped, and give it with all its results.

    Raises:
        LLEMError: as ``go_on``.
        OSError: nothing can be written there.
    """
    return go_on(path, options, check_sums=check_sums, given=given).loaded()


def carry_out(config: StudyConfig, options: RunOptions | None = None) -> StudyOutcome:
    """Plan a study, and run all of it.

    An experiment that fails is recorded and the next one is run, unless ``execution`` says otherwise. An interruption
    has notes of what was kept and what was removed.

    Raises:
        ConfigError: several cycles are to share a process, or several workers nothing or what one GPU cannot run.
        LLEMError: preflight found something wrong; nothing was run.
        OSError: there is no place to begin in.
    """
    options = options or RunOptions()
    running = _Running()
    refuse_shared_process(config)
    if config.cluster is not None:
        _log.info("cluster: this says how llem submit runs the study on a cluster; here it is run on this machine")
    with noted_when_interrupted(running.word), contextlib.ExitStack() as stack:
        workers, parent = config.execution.workers, output_folder(config.output_dir)
        running.gpus = gpus_of_workers(workers)
        if running.gpus and parent is None:
            raise ConfigError(
                f"execution.workers: {workers} takes a folder that the workers share; give output_dir, or leave it out"
            )
        found = examined(stack.enter_context(at_hand(carried_out(config))), config.output_dir, options)
        refuse_what_one_gpu_cannot(running.gpus, found, workers)
        begun = begin_study(config, found, options, stack)
        of_preflight = {index: each for index, (_, each) in enumerate(found)}
        running.shown = begun.path
        running.through(begun.directory, begun.plan, of_preflight, options, keeps=parent is not None)
        return running.outcome(options)
    raise AssertionError("unreachable")


def go_on(
    path: Path,
    options: RunOptions | None = None,
    *,
    check_sums: bool = False,
    given: StudyConfig | None = None,
    workers: Workers | None = None,
) -> StudyOutcome:
    """Go on with a study where it stopped, or help those who run it, and give what there is of all of it.

    Args:
        path: the folder of the study.
        options: how it is carried out; what is measured stands in its plan.
        check_sums: hold every file of what has finished against its sum, and not only its name and size.
        given: what the study is held to be; None takes it as it is.
        workers: how many are to run it here; None is as planned.

    Raises:
        ConfigError: there is no study, it is another than the given one, its plan is damaged, its files cannot be
            found where it was planned, or this version would run something else.
        LLEMError: preflight found something wrong; nothing was run.
        OSError: nothing can be written there.
    """
    options = options or RunOptions()
    running = _Running()
    with noted_when_interrupted(running.word):
        _go_on(path, options, running, check_sums=check_sums, given=given, workers=workers)
        return running.outcome(options)
    raise AssertionError("unreachable")


def work_on(path: Path, options: RunOptions | None = None, workers: Workers = 1) -> Work:
    """The same for whoever wants no more than what was done here, by this process whatever was planned.

    Raises:
        LLEMError: as ``go_on``.
        OSError: nothing can be written there.
    """
    running = _Running(is_shared=True)
    with noted_when_interrupted(running.word):
        _go_on(path, options or RunOptions(), running, workers=workers)
        assert running.work is not None
        running.sum_up(is_over=running.work.stopped is None)
    return running.work


def _go_on(
    path: Path,
    options: RunOptions,
    running: "_Running",
    *,
    check_sums: bool = False,
    workers: Workers | None = None,
    given: StudyConfig | None = None,
) -> None:
    # An engine may change the working directory of this process.
    directory = StudyDirectory(path.absolute())
    plan = directory.plan()
    if given is not None:
        refuse_another_study(plan, given)
    workers = plan.execution.workers if workers is None else workers
    # A worker is one of many, each of whom would look through all that has finished.
    for slot, attempt, why in () if running.is_shared else damaged(directory, plan, check_sums=check_sums):
        _log.warning("%s had finished and is damaged (%s); it is run again", attempt, why)
        mark_damaged(attempt, why)
        forget_row(directory, slot)
    there = _there(directory, plan, slots_with_rows(directory) if running.is_shared else ())
    _log.info("going on with %s: %s", path, _Count.of(found.state for found in there))
    done = {slot.slot for slot, found in zip(plan.slots, there, strict=True)
            if found.is_through(plan.execution.retries)}  # fmt: skip
    order = _left(directory, plan, done)
    # What is through can be shown where its files and GPUs are not.
    running.gpus = gpus_of_workers(workers) if order else ()
    with where_planned(plan) if order else contextlib.nullcontext():
        found = examined([lying_in(_as_given(plan, index), directory.path) for index in order], directory.path, options)
        for index, (chosen, _) in zip(order, found, strict=True):
            _refuse_another(plan.configurations[index], chosen)
        refuse_what_one_gpu_cannot(running.gpus, found, workers)
        of_preflight = {index: each for index, (_, each) in zip(order, found, strict=True)}
        running.shown = path
        running.done = done
        running.through(directory, plan, of_preflight, options)


def _there(directory: StudyDirectory, plan: StudyPlan, finished: Container[int]) -> list[FoundSlot]:
    """What there is of each slot; of those in ``finished`` no more is asked than whether they were begun at all."""
    begun, found = directory.begun(), list[FoundSlot]()
    for slot in plan.slots:
        if plan.folder_of(slot) not in begun:
            found.append(FoundSlot(state=SlotState.OPEN))
        elif slot.slot in finished:
            found.append(FoundSlot(state=SlotState.FINISHED))
        else:
            found.append(directory.found(plan, slot))
    return found


def _left(directory: StudyDirectory, plan: StudyPlan, done: Container[int]) -> list[int]:
    """The configurations of which a run is to be made still."""
    rule = rule_of(directory, plan)
    return sorted({slot.configuration for slot in plan.slots if slot.slot not in done and rule.is_needed(slot)})


def _as_given(plan: StudyPlan, index: int) -> ExperimentConfig:
    """A configuration as before this machine chose: what was left to one is left to it again."""
    planned = plan.configurations[index]
    config = planned.config(plan.execution.of_one)
    if not planned.as_given:
        return config
    given = ExperimentConfig.model_validate({**planned.values, **planned.as_given, "output_dir": None})
    return given.model_copy(update={"execution": config.execution})


def _refuse_another(planned: PlannedConfiguration, chosen: Settled) -> None:
    """Of what was left to the machine every worker has to choose the same.

    Raises:
        ConfigError: this one chooses something else than was planned.
    """
    if measurement_config_hash(chosen.config) == planned.config_hash:
        return
    differs = [f"{name}: {text} was {planned.values[name]} where this study was planned and is "
               f"{getattr(chosen.config, name)} here" for name, text in planned.as_given.items()]  # fmt: skip
    raise ConfigError(
        f"configuration {planned.config_hash}: {'; '.join(differs)}; run it on a machine like the first, or write what "
        "it is to be"
    )


@dataclass
class _Running:
    """A study that is being run.

    ``shown`` is its folder as it was given, ``gpus`` are those of workers to be started, ``is_shared`` says whether
    others run it too, whatever was planned, and ``done`` are slots that are known to be through.
    """

    directory: StudyDirectory | None = None
    shown: Path | None = None
    plan: StudyPlan | None = None
    work: Work | None = None
    gpus: Sequence[GpuInfo] = ()
    is_shared: bool = False
    done: set[int] = field(default_factory=set)

    def through(
        self,
        directory: StudyDirectory,
        plan: StudyPlan,
        of_preflight: Mapping[int, ExaminedExperiment],
        options: RunOptions,
        *,
        keeps: bool = True,
    ) -> None:
        """Run what is left."""
        if keeps:
            self.directory = directory
        self.plan, self.work = plan, Work()
        if options.arrivals is not None:
            options.arrivals.planned([told_values(dict(each.values)) for each in plan.configurations])
        try:
            # Nobody is started for nothing.
            if self.gpus and of_preflight:
                self._by_a_crew(directory, plan, options, self.work)
            else:
                shared = self.is_shared or plan.execution.workers != 1
                StudyWorker(directory, plan, of_preflight, options, keeps=keeps, work=self.work, shared=shared,
                            through=self.done).run()  # fmt: skip
        except OSError as error:
            # What was measured is told all the same.
            where = f": {error.filename}" if error.filename else ""
            self.work.stopped = f"nothing can be written for the study any more: {error.strerror or error}{where}"
            _log.error("stopped: %s", self.work.stopped)
        except (KeyboardInterrupt, SystemExit):
            with held_back(), contextlib.suppress(OSError):
                self.sum_up(is_over=False)
            raise

    def _by_a_crew(self, directory: StudyDirectory, plan: StudyPlan, options: RunOptions, work: Work) -> None:
        there = {slot.slot for slot in plan.slots if directory.found(plan, slot).state is SlotState.FINISHED}
        try:
            Crew(directory.path, self.gpus, options.log_level, work, options.until.as_options()).run()
        finally:
            if options.arrivals is not None:
                with held_back():
                    for slot in plan.slots:
                        found = directory.found(plan, slot)
                        if slot.slot not in there and found.state is SlotState.FINISHED and found.attempt is not None:
                            with contextlib.suppress(ConfigError):
                                options.arrivals.finished(_loaded(found.attempt, options))

    def sum_up(self, *, is_over: bool) -> None:
        """Write the summary of what there is, where the study is kept; ``is_over`` says whether it is through."""
        if self.directory is None or self.plan is None:
            return
        writer = SummaryWriter(self.directory, self.plan)
        if self.is_shared:
            writer.leave(is_over=is_over)
        else:
            writer.finish()

    def outcome(self, options: RunOptions) -> StudyOutcome:
        """What there is of the whole study."""
        assert self.plan is not None
        assert self.work is not None
        summary, problems = summed_up(self.directory, self.plan, self.work)
        return StudyOutcome(
            plan=self.plan,
            work=self.work,
            summary=summary,
            problems=problems,
            repository=options.repository,
            end_time=options.now(),
            directory=self.directory,
            output_dir=None if self.directory is None else self.shown,
        )

    def word(self) -> str:
        """What is kept."""
        if self.directory is None or self.plan is None or self.work is None:
            return "nothing was kept"
        # Whoever ends it may not wait for long.
        found = _there(self.directory, self.plan, slots_with_rows(self.directory))
        there = _Count.of((each.state for each in found), self.work)
        something = "what they left" if there.n_finished or there.n_failed else "only the plan"
        return "; ".join([f"{there}; {something} is kept in {self.shown or self.directory.path}", *self.work.problems])


@dataclass(frozen=True)
class _Count:
    n_finished: int
    n_failed: int
    n_planned: int

    @classmethod
    def of(cls, states: Iterable[SlotState], work: Work | None = None) -> "_Count":
        """Of what the folders of all slots have, and what lies nowhere."""
        n = Counter(states)
        n_finished = n[SlotState.FINISHED] + (0 if work is None else len(work.results))
        n_failed = n[SlotState.FAILED] + (0 if work is None else len(work.failures))
        return cls(n_finished, n_failed, n.total())

    def __str__(self) -> str:
        failed = f" and {self.n_failed} had failed" if self.n_failed else ""
        return f"{self.n_finished} of {self.n_planned} experiments had finished{failed}"


def _loaded(attempt: Path, options: RunOptions) -> ExperimentResult:
    return options.repository.load(attempt / RESULT_FILE).kept_in(attempt)
