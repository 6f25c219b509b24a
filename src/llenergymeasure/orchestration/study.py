"""Carry out experiments one after another, each in its own folder. A single one is a study of one."""

import contextlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

from llenergymeasure._files import write_atomically
from llenergymeasure._telling import told, told_values
from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.core.settling import Settled, settled
from llenergymeasure.domain.experiment import ExperimentFailure, ExperimentResult, StudyResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.orchestration.launchers import create_launcher
from llenergymeasure.orchestration.output_folder import output_folder
from llenergymeasure.orchestration.preflight import ExaminedExperiment, check
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.protocols import Launcher, ResultsRepository
from llenergymeasure.results.aggregation import aggregate_processes
from llenergymeasure.results.persistence import (
    RUNS_DIR,
    JsonRepository,
    create_directory,
    mark_done,
    new_run_directory,
    publish,
    stamped_name,
)

_log = logging.getLogger(__name__)

Outcome = ExperimentResult | ExperimentFailure


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to carry something out; nothing here changes what is measured."""

    show_progress: bool = False
    launcher: Launcher | None = None
    repository: ResultsRepository = field(default_factory=JsonRepository)
    preflight: Callable[[Sequence[ExperimentConfig], Path | None], Sequence[ExaminedExperiment]] = check
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(frozen=True)
class Saved:
    """A result and the folder it lies in, None when nothing was to be written."""

    result: ExperimentResult
    directory: Path | None


def execute_experiment(config: ExperimentConfig, options: RunOptions | None = None) -> Saved:
    """Run one experiment, in this process unless it needs several.

    An interruption has a note that nothing was kept.

    Raises:
        LLEMError: it could not be run; nothing is left behind.
        OSError: the result could not be written.
    """
    options = options or RunOptions()
    with _noted_when_interrupted(lambda: "nothing was kept"):
        chosen = settled(config)
        (found,) = options.preflight([chosen.config], config.output_dir)
        parent = output_folder(config.output_dir)
        if parent is None:
            return Saved(_measured(_planned(chosen, found, options), "in_process", options), None)
        name = stamped_name(chosen.config.display_name, options.now())
        with new_run_directory(parent, name) as staging:
            result = _measured(_planned(chosen, found, options, staging), "in_process", options)
            return Saved(result, publish(staging, parent, name))


def execute_study(config: StudyConfig, options: RunOptions | None = None) -> StudyResult:
    """Run the experiments of a study in their order.

    An experiment that fails is recorded and the next one is run, unless ``execution.on_failure`` is stop. An
    interruption has notes of what was kept and what was removed.

    Raises:
        LLEMError: preflight found something wrong; nothing was run.
    """
    options = options or RunOptions()
    outcomes: list[Outcome] = []
    directory = None
    with _noted_when_interrupted(lambda: _what_was_kept(outcomes, len(config.experiments), directory)):
        chosen = [settled(experiment) for experiment in config.experiments]
        examined = options.preflight([each.config for each in chosen], config.output_dir)
        start, parent = options.now(), output_folder(config.output_dir)
        if parent is not None:
            directory = create_directory(parent, stamped_name(config.name, start))
            _log.info("what finishes is kept in %s", directory)
        _run_all(config, list(zip(chosen, examined, strict=True)), directory, options, outcomes)
    return StudyResult(
        name=config.name,
        start_time=start,
        end_time=options.now(),
        experiments=[o for o in outcomes if isinstance(o, ExperimentResult)],
        failures=[o for o in outcomes if isinstance(o, ExperimentFailure)],
        output_dir=directory,
    )


@contextlib.contextmanager
def _noted_when_interrupted(note: Callable[[], str]) -> Iterator[None]:
    """Leave word of what is kept on Ctrl-C and SIGTERM, for whoever tells the user."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as error:
        error.add_note(note())
        raise


def _what_was_kept(outcomes: Sequence[Outcome], n_planned: int, directory: Path | None) -> str:
    if directory is None:
        return "nothing was kept"
    n_failed = sum(isinstance(outcome, ExperimentFailure) for outcome in outcomes)
    failed = f" and {n_failed} had failed" if n_failed else ""
    kept = "what they left" if outcomes else "only the plan"
    return f"{len(outcomes) - n_failed} of {n_planned} experiments had finished{failed}; {kept} is kept in {directory}"


def _run_all(
    config: StudyConfig,
    experiments: Sequence[tuple[Settled, ExaminedExperiment]],
    directory: Path | None,
    options: RunOptions,
    outcomes: list[Outcome],
) -> None:
    """Run the experiments, and add what came of each as it ends."""
    with contextlib.ExitStack() as stack:
        # Processes of one study share their idle baseline, also when nothing is to be kept.
        shared = directory or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llenergymeasure-")))
        plans = [
            _planned(chosen, found, options, _attempt_of(directory, slot, chosen), shared / "baseline.json")
            for slot, (chosen, found) in enumerate(experiments)
        ]
        if directory is not None:
            _write_plan(directory, config, plans)
        for outcome in _run_slots(plans, config.execution, options):
            outcomes.append(outcome)


def _run_slots(plans: Sequence[ExperimentPlan], execution: ExecutionConfig, options: RunOptions) -> Iterator[Outcome]:
    for slot, plan in enumerate(plans):
        if slot and execution.pause_s:
            options.sleep(execution.pause_s)
        _log.info("experiment %d of %d: %s", slot + 1, len(plans), plan.config.display_name)
        with _attempt_directory(plan) as attempt:
            try:
                outcome: Outcome = _measured(plan, execution.launcher, options)
            except Exception as error:  # noqa: BLE001 - a failed experiment is a row, not the end of the study
                _log.error("experiment %d of %d failed: %s", slot + 1, len(plans), error)
                _log.debug("its traceback", exc_info=error)
                outcome = ExperimentFailure(
                    slot=slot,
                    name=plan.config.display_name,
                    measurement_config_hash=plan.config_hash,
                    error_type=type(error).__name__,
                    message=told(str(error)),
                )
                if attempt is not None:
                    write_atomically(attempt / "failure.json", outcome.model_dump_json(indent=2) + "\n")
            else:
                if attempt is not None:
                    mark_done(attempt)
        yield outcome
        if isinstance(outcome, ExperimentFailure) and execution.on_failure == "stop":
            return


def _planned(
    chosen: Settled,
    found: ExaminedExperiment,
    options: RunOptions,
    output_dir: Path | None = None,
    baseline_cache: Path | None = None,
) -> ExperimentPlan:
    """The whole plan of an experiment, from what was found of it."""
    return ExperimentPlan.of(
        chosen.config,
        layout=found.layout,
        devices=found.devices or (),
        output_dir=output_dir,
        baseline_cache=baseline_cache,
        show_progress=options.show_progress,
        as_given=chosen.as_given,
    )


def _measured(plan: ExperimentPlan, launcher: str, options: RunOptions) -> ExperimentResult:
    """Run a plan, and keep what came of it where it has a folder."""
    raws = (options.launcher or create_launcher(launcher, plan.layout)).launch(plan)
    if plan.output_dir is None:
        return aggregate_processes(raws)
    result = aggregate_processes(raws, write_sidecars(plan.output_dir, raws))
    options.repository.save(result, plan.output_dir)
    return result


def _attempt_of(study: Path | None, slot: int, chosen: Settled) -> Path | None:
    """The folder of a slot's attempt."""
    if study is None:
        return None
    return study / RUNS_DIR / f"{slot:04d}-{measurement_config_hash(chosen.config)}" / "attempt-1"


@contextlib.contextmanager
def _attempt_directory(plan: ExperimentPlan) -> Iterator[Path | None]:
    """The plan's folder, made; an interrupted attempt leaves none."""
    path = plan.output_dir
    if path is None:
        yield None
        return
    path.mkdir(parents=True)
    with _noted_when_interrupted(lambda: f"{plan.config.display_name}, which was running, was removed"):
        try:
            yield path
        except BaseException:
            shutil.rmtree(path.parent, ignore_errors=True)
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
