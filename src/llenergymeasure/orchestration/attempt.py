"""One experiment, from what preflight found of it to its result and files: what a single one and a study's share."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.knobs.restoring import restore_left
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.study.run_key import RunKey
from llenergymeasure.orchestration.asked_elsewhere import settled_before_a_run
from llenergymeasure.orchestration.device_locks import devices_of, held
from llenergymeasure.orchestration.foreign_load import Quiet, wait_for_quiet
from llenergymeasure.orchestration.interruptions import raise_if_lost
from llenergymeasure.orchestration.keeping import Kept, keep
from llenergymeasure.orchestration.nodes.launcher import NodesLauncher
from llenergymeasure.orchestration.nodes.layout import over_nodes
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.handover import forget_handed_back, left_whole
from llenergymeasure.orchestration.processes.launchers import create_launcher
from llenergymeasure.protocols import Launcher

_log = logging.getLogger(__name__)


def examined(
    experiments: Sequence[ExperimentConfig], output_dir: Path | None, options: RunOptions
) -> list[tuple[Settled, ExaminedExperiment]]:
    """Experiments with what is ``auto`` chosen, and what preflight found of each; engines are asked in one process."""
    _log.info("checking what is to be run, and this machine")
    with options.progress.phase("checking"), Asking() as asking:
        chosen = [settled_before_a_run(each, asking) for each in experiments]
        found = options.preflight([each.config for each in chosen], output_dir, asking)
    for line in dict.fromkeys(line for each in chosen for line in each.in_words):
        _log.info("%s", line)
    return list(zip(chosen, found, strict=True))


def planned(
    chosen: Settled,
    found: ExaminedExperiment,
    options: RunOptions,
    output_dir: Path | None = None,
    baseline_cache: Path | None = None,
    run_key: RunKey | None = None,
) -> ExperimentPlan:
    """The whole plan of an experiment, from what was found of it.

    Raises:
        ConfigError: several nodes are to run what takes several processes on one, or is run in this one.
    """
    plan = ExperimentPlan.of(
        chosen.config,
        layout=over_nodes(chosen.config, found.layout),
        devices=found.devices or (),
        # An engine may change the working directory of its process.
        output_dir=None if output_dir is None else output_dir.absolute(),
        baseline_cache=None if baseline_cache is None else baseline_cache.absolute(),
        shown=options.progress.handed_on(),
        as_given=chosen.as_given,
    )
    return replace(plan, execution=chosen.config.execution, log_level=options.log_level, run_key=run_key)


@dataclass(frozen=True)
class Had:
    """What came before the devices of a run were had: a run of somebody else's that was waited for, others' load."""

    waited: bool = False
    quiet: Quiet | None = None

    @property
    def after_others(self) -> bool:
        """Whether somebody else has just used them."""
        return self.waited or (self.quiet is not None and self.quiet.had_others)

    @property
    def has_others(self) -> bool:
        """Whether somebody else uses them still, as far as anybody looked."""
        return self.quiet is not None and self.quiet.has_others


def measured(
    plan: ExperimentPlan, options: RunOptions, begin: Callable[[Had], ExperimentPlan] | None = None
) -> tuple[list[RawProcessResult], KeyboardInterrupt | SystemExit | None]:
    """What the processes of a plan measured, and an interruption that came when all of it was there already.

    Nothing else measures the same devices meanwhile. GPUs that a killed process left set are set back: by an earlier
    run before, by one of this plan after it.

    Args:
        plan: what is run.
        options: how it is carried out.
        begin: is called once the devices are held, and gives the plan with the folder that it is run in; None runs it
            as it is.
    """
    launcher = options.launcher or _launcher(plan)
    try:
        options.progress.begin("waiting for the devices")
        with devices_had(plan, options) as had:
            if begin is not None:
                plan = begin(had)
            # From here on the process of the run shows how far it is.
            options.progress.end()
            with options.progress.elsewhere():
                measured_here = launcher.launch(plan)
                raise_if_lost()
                return measured_here, None
    except (KeyboardInterrupt, SystemExit) as interruption:
        raws = left_whole(plan)
        if raws is None:
            raise
        return raws, interruption
    finally:
        options.progress.end()
        restore_left()


def _launcher(plan: ExperimentPlan) -> Launcher:
    return NodesLauncher() if plan.config.nodes else create_launcher(plan.execution.launcher, plan.layout)


@contextmanager
def devices_had(plan: ExperimentPlan, options: RunOptions) -> Iterator[Had]:
    """Hold the devices of a plan to the end of the body, which begins when nobody else uses them, or time is over."""
    execution, devices = plan.execution, devices_of(plan)
    clock, sleep = options.clock, options.sleep
    with held(devices, plan.config.display_name, execution.wait_for_devices_s, clock, sleep) as waited:
        # Whoever had them until now may have been killed.
        restore_left()
        quiet = wait_for_quiet(devices, execution.wait_for_quiet_s, options.look, clock, sleep)
        yield Had(waited, quiet)


def kept_of(
    plan: ExperimentPlan,
    raws: Sequence[RawProcessResult],
    options: RunOptions,
    place: Callable[[Path], Path],
    before_done: Callable[[], object] = lambda: None,
) -> Kept:
    """What was measured as a result, put where ``place`` says; it knows its folder. As ``keep``."""
    kept = keep(plan, raws, options.repository, place, before_done)
    if kept.directory is not None or plan.output_dir is None:
        forget_handed_back(plan)
    return replace(kept, result=kept.result.kept_in(kept.directory))
