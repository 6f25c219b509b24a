"""Carry out experiments one after another, each in its own folder. A single one is a study of one."""

import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import yaml

from llenergymeasure._files import flush_files, write_atomically
from llenergymeasure._folders import working_folder
from llenergymeasure._telling import told, told_values
from llenergymeasure.config.models import ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.experiment import ExperimentFailure, ExperimentResult, StudyResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import TimedOutError
from llenergymeasure.orchestration.asked_elsewhere import settled_before_a_run
from llenergymeasure.orchestration.interruptions import held_back, noted_when_interrupted
from llenergymeasure.orchestration.keeping import Kept, keep, keep_logs
from llenergymeasure.orchestration.output_folder import output_folder
from llenergymeasure.orchestration.preflight import ExaminedExperiment, check
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.handover import forget_handed_back, left_whole
from llenergymeasure.orchestration.processes.launchers import create_launcher
from llenergymeasure.orchestration.status import add_to_log
from llenergymeasure.protocols import Launcher, ResultsRepository
from llenergymeasure.results.persistence import (
    LOG_FILE,
    RUNS_DIR,
    JsonRepository,
    create_directory,
    publish,
    stamped_name,
)

_log = logging.getLogger(__name__)


class Arrivals(Protocol):
    """Whoever wants the results of a study as they arrive; it raises nothing."""

    def planned(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """The settings of all experiments, as results will have them, before the first is run."""

    def finished(self, result: ExperimentResult) -> None:
        """A result that is kept, between two experiments."""


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to carry something out; nothing here changes what is measured.

    ``log_level`` is from which level on measuring processes tell where they stand; None: nothing. ``arrivals`` is told
    of each result as soon as it is there.
    """

    arrivals: Arrivals | None = None
    show_progress: bool = False
    log_level: int | None = None
    launcher: Launcher | None = None
    repository: ResultsRepository = field(default_factory=JsonRepository)
    preflight: Callable[[Sequence[ExperimentConfig], Path | None, Asking], Sequence[ExaminedExperiment]] = check
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def execute_experiment(config: ExperimentConfig, options: RunOptions | None = None) -> Kept:
    """Run one experiment: a study of one, in a folder that has its final name once it is whole.

    An interruption has a note of what was kept, and so has the error of one that was ended because it took too long.

    Raises:
        LLEMError: it could not be run; nothing is left behind, but the log of one that took too long.
        OSError: there is no place to begin in.
    """
    options = options or RunOptions()
    kept: Kept | None = None
    with noted_when_interrupted(lambda: _where(kept)):
        ((chosen, found),) = _examined([config], config.output_dir, options)
        parent, name = output_folder(config.output_dir), stamped_name(chosen.config.display_name, options.now())
        with contextlib.ExitStack() as stack:
            at = None if parent is None else stack.enter_context(working_folder(parent, name))
            plan = _planned(chosen, found, options, at)
            with _log_kept(plan, parent or Path(), name):
                raws, interruption = _measured(plan, options)
            with held_back():
                # Where nothing is to be written, nothing is finished either.
                kept = _kept(plan, raws, options, lambda folder: publish(folder, parent or Path(), name))
                if kept.problem is not None:
                    _log.error("%s", kept.problem)
            if interruption is not None:
                raise interruption
        return kept


def _examined(
    experiments: Sequence[ExperimentConfig], output_dir: Path | None, options: RunOptions
) -> list[tuple[Settled, ExaminedExperiment]]:
    """Experiments with what is ``auto`` chosen, and what preflight found of each; engines are asked in one process."""
    with Asking() as asking:
        chosen = [settled_before_a_run(each, asking) for each in experiments]
        found = options.preflight([each.config for each in chosen], output_dir, asking)
    return list(zip(chosen, found, strict=True))


@contextlib.contextmanager
def _log_kept(plan: ExperimentPlan, parent: Path, name: str) -> Iterator[None]:
    """One that is ended from outside has told nobody what it was doing: its log is kept."""
    try:
        yield
    except TimedOutError as error:
        with held_back():
            error.add_note(keep_logs(plan, str(error), parent, name))
        raise


def _where(kept: Kept | None) -> str:
    return "nothing was kept" if kept is None or kept.directory is None else f"the result is in {kept.directory}"


def execute_study(config: StudyConfig, options: RunOptions | None = None) -> StudyResult:
    """Run the experiments of a study in their order.

    An experiment that fails is recorded and the next one is run, unless ``execution.on_failure`` is stop. An
    interruption has notes of what was kept and what was removed.

    Raises:
        LLEMError: preflight found something wrong; nothing was run.
        OSError: there is no place to begin in.
    """
    options = options or RunOptions()
    run = _StudyRun()
    with noted_when_interrupted(lambda: run.word(len(config.experiments))):
        examined = _examined(config.carried_out, config.output_dir, options)
        start, parent = options.now(), output_folder(config.output_dir)
        if parent is not None:
            run.directory = create_directory(parent, stamped_name(config.name, start))
            _log.info("what finishes is kept in %s", run.directory)
        _run_all(config, examined, options, run)
    return StudyResult(
        name=config.name,
        start_time=start,
        end_time=options.now(),
        experiments=run.results,
        failures=run.failures,
        problems=run.problems,
        output_dir=run.directory,
    )


@dataclass
class _StudyRun:
    """What came of a study so far, and where it is kept."""

    directory: Path | None = None
    results: list[ExperimentResult] = field(default_factory=list)
    failures: list[ExperimentFailure] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def word(self, n_planned: int) -> str:
        """What is kept."""
        if self.directory is None:
            return "nothing was kept"
        failed = f" and {len(self.failures)} had failed" if self.failures else ""
        kept = "what they left" if self.results or self.failures else "only the plan"
        said = (
            f"{len(self.results)} of {n_planned} experiments had finished{failed}; {kept} is kept in {self.directory}"
        )
        return "; ".join([said, *self.problems])

    def trouble(self, problem: str) -> None:
        """Something could not be written where it belongs."""
        self.problems.append(problem)
        _log.error("%s", problem)


def _run_all(
    config: StudyConfig,
    experiments: Sequence[tuple[Settled, ExaminedExperiment]],
    options: RunOptions,
    run: _StudyRun,
) -> None:
    """Run the experiments, and note what came of each as it ends."""
    with contextlib.ExitStack() as stack:
        # Processes of one study share their idle baseline, also when nothing is to be kept.
        shared = run.directory or stack.enter_context(working_folder(Path(tempfile.gettempdir()), "llenergymeasure"))
        plans = [
            _planned(chosen, found, options, _attempt_of(run.directory, slot, chosen), shared / "baseline.json")
            for slot, (chosen, found) in enumerate(experiments)
        ]
        if run.directory is not None:
            _write_plan(run.directory, config, plans)
        if options.arrivals is not None:
            options.arrivals.planned([told_values(plan.config.resolved()) for plan in plans])
        for slot, plan in enumerate(plans):
            if slot and config.execution.pause_s:
                options.sleep(config.execution.pause_s)
            _log.info("experiment %d of %d: %s", slot + 1, len(plans), plan.config.display_name)
            failed = _run_slot(slot, plan, options, run)
            if failed is not None:
                _log.error("experiment %d of %d failed: %s", slot + 1, len(plans), failed.message)
                if config.execution.on_failure == "stop":
                    return


def _run_slot(slot: int, plan: ExperimentPlan, options: RunOptions, run: _StudyRun) -> ExperimentFailure | None:
    """Run one experiment of a study; why there is no result of it."""
    n_before = len(run.results)
    try:
        with _attempt_directory(plan, lambda: len(run.results) > n_before):
            raws, interruption = _measured(plan, options)
            with held_back():
                kept = _kept(plan, raws, options, lambda folder: folder)
                run.results.append(kept.result)
                if options.arrivals is not None:
                    options.arrivals.finished(kept.result)
                if kept.problem is not None:
                    # Unlike a single one's the folder stays.
                    stays = plan.output_dir is not None and kept.directory is None
                    left = f"; what could be written of it is in {plan.output_dir}" if stays else ""
                    run.trouble(f"{kept.problem}{left}")
            if interruption is not None:
                raise interruption
    except Exception as error:  # noqa: BLE001 - a failed experiment is a row, not the end of the study
        _log.debug("its traceback", exc_info=error)
        failure = ExperimentFailure(
            slot=slot,
            name=plan.config.display_name,
            measurement_config_hash=plan.config_hash,
            error_type=type(error).__name__,
            message=told(str(error)),
        )
        with held_back():
            run.failures.append(failure)
            if plan.output_dir is not None:
                _keep_failure(failure, plan.output_dir, run)
        return failure
    return None


def _keep_failure(failure: ExperimentFailure, attempt: Path, run: _StudyRun) -> None:
    add_to_log(attempt / LOG_FILE, f"{failure.error_type}: {failure.message}")
    try:
        write_atomically(attempt / "failure.json", failure.model_dump_json(indent=2) + "\n")
    except OSError as error:
        run.trouble(f"that {failure.name} failed cannot be written: failure.json: {error.strerror or error}")


def _planned(
    chosen: Settled,
    found: ExaminedExperiment,
    options: RunOptions,
    output_dir: Path | None = None,
    baseline_cache: Path | None = None,
) -> ExperimentPlan:
    """The whole plan of an experiment, from what was found of it."""
    plan = ExperimentPlan.of(
        chosen.config,
        layout=found.layout,
        devices=found.devices or (),
        # An engine may change the working directory of its process.
        output_dir=None if output_dir is None else output_dir.absolute(),
        baseline_cache=None if baseline_cache is None else baseline_cache.absolute(),
        show_progress=options.show_progress,
        as_given=chosen.as_given,
    )
    return replace(plan, execution=chosen.config.execution, log_level=options.log_level)


def _measured(
    plan: ExperimentPlan, options: RunOptions
) -> tuple[list[RawProcessResult], KeyboardInterrupt | SystemExit | None]:
    """What the processes of a plan measured, and an interruption that came when all of it was there already."""
    try:
        return (options.launcher or create_launcher(plan.execution.launcher, plan.layout)).launch(plan), None
    except (KeyboardInterrupt, SystemExit) as interruption:
        raws = left_whole(plan)
        if raws is None:
            raise
        return raws, interruption


def _kept(
    plan: ExperimentPlan, raws: Sequence[RawProcessResult], options: RunOptions, place: Callable[[Path], Path]
) -> Kept:
    kept = keep(plan, raws, options.repository, place)
    if kept.directory is not None or plan.output_dir is None:
        forget_handed_back(plan)
    return replace(kept, result=kept.result.kept_in(kept.directory))


def _attempt_of(study: Path | None, slot: int, chosen: Settled) -> Path | None:
    """The folder of a slot's attempt."""
    if study is None:
        return None
    return study / RUNS_DIR / f"{slot:04d}-{measurement_config_hash(chosen.config)}" / "attempt-1"


@contextlib.contextmanager
def _attempt_directory(plan: ExperimentPlan, is_through: Callable[[], bool]) -> Iterator[None]:
    """The plan's folder, made; an interrupted attempt leaves none, unless it was through."""
    path = plan.output_dir
    if path is None:
        yield
        return
    path.mkdir(parents=True)
    # Names in a folder are on the disk when the folder is flushed: attempt, slot and runs.
    flush_files(list(path.parents)[:3])
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        if not is_through():
            shutil.rmtree(path.parent, ignore_errors=True)
            error.add_note(f"{plan.config.display_name}, which was running, was removed")
        raise


def _write_plan(directory: Path, config: StudyConfig, plans: Sequence[ExperimentPlan]) -> None:
    given = told_values(config.model_dump(mode="json", exclude_unset=True))
    write_atomically(directory / "study.yaml", yaml.safe_dump(given, sort_keys=False, allow_unicode=False))
    slots = [
        {
            "slot": slot,
            "experiment_id": plan.experiment_id,
            "hash": plan.config_hash,
            "config": told_values(plan.config.resolved()),
        }
        for slot, plan in enumerate(plans)
    ]
    write_atomically(directory / "plan.json", json.dumps({"slots": slots}, indent=2) + "\n")
