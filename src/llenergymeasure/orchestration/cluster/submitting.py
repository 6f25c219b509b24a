"""Handing a study to a cluster: planned here, run by workers in jobs, which SLURM starts and submitit submits."""

import contextlib
import getpass
import logging
import os
import platform
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from llenergymeasure.config.cluster import ClusterConfig
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.config.sweep.chosen import carried_out
from llenergymeasure.exceptions import ConfigError, PreFlightError, StudyError, config_error
from llenergymeasure.orchestration.attempt import examined
from llenergymeasure.orchestration.cluster.job import WorkerJob
from llenergymeasure.orchestration.cluster.kinds import KINDS, JobState
from llenergymeasure.orchestration.cluster.submissions import (
    JOBS_DIR,
    Submission,
    folder_of,
    keep_submission,
    new_submission,
    submissions_of,
)
from llenergymeasure.orchestration.interruptions import held_back
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.output_folder import output_folder
from llenergymeasure.orchestration.preflight.check import check_for_elsewhere
from llenergymeasure.orchestration.prompts_at_hand import at_hand
from llenergymeasure.orchestration.studies.beginning import begin_study, refuse_shared_process
from llenergymeasure.orchestration.studies.standing import standing_of_study

_log = logging.getLogger(__name__)

_GPUS_SHOWN = "CUDA_VISIBLE_DEVICES"
# How long before its end submitit warns a job on this machine.
_LOCAL_WARN_S = 30.0
# What only a cluster has.
_OF_SLURM = frozenset({
    "partition", "account", "qos", "cpus_per_worker", "memory_gb", "constraint", "exclusive", "array_parallelism",
    "container_image", "warn_s", "slurm",
})  # fmt: skip
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Submitted:
    """A study that was handed on: its folder as it was given, and the jobs."""

    path: Path
    submission: Submission


def submit_study(config: StudyConfig, cluster: ClusterConfig, options: RunOptions | None = None) -> Submitted:
    """Plan a study here, write it down, and submit workers for it; nothing is run here.

    What only the machines that measure can tell is not asked here: each worker looks for itself before its first run.

    Raises:
        ConfigError: something is left to the machine that measures, which this is not, or the study has no folder.
        LLEMError: preflight found something wrong, or nothing can be submitted here.
        OSError: there is no place to begin in.
    """
    options = options or RunOptions()
    _refuse_what_cannot_be_submitted(cluster)
    refuse_shared_process(config)
    experiments = carried_out(config)
    _refuse_fewer_nodes(experiments, cluster)
    if output_folder(config.output_dir) is None:
        raise ConfigError("a study on a cluster takes a folder that all workers see; give output_dir")
    is_elsewhere = cluster.executor == "slurm"
    if is_elsewhere:
        _refuse_what_is_left_open(experiments)
        options = replace(options, preflight=check_for_elsewhere)
    with ExitStack() as stack:
        found = examined(stack.enter_context(at_hand(experiments)), config.output_dir, options)
        begun = begin_study(config, found, options, stack)
    return Submitted(begun.path, _submitted(begun.path, config.name, cluster, options))


def submit_again(
    path: Path, options: RunOptions | None = None, cluster: ClusterConfig | None = None, *, more: bool = False
) -> Submitted:
    """Submit workers for what is left of a study.

    Args:
        path: the folder of the study.
        options: how it is carried out.
        cluster: what is asked for; None is what was asked for the last time.
        more: also where jobs of an earlier submission have not ended.

    Raises:
        ConfigError: there is no study, nothing is left of it, nobody said what to ask for, or jobs have not ended.
        LLEMError: nothing can be submitted here.
        OSError: nothing can be written there.
    """
    standing, before = standing_of_study(path), submissions_of(path)
    cluster = cluster or (before[-1].config if before else None)
    if cluster is None:
        raise ConfigError(
            f"{path}: it was never submitted, so that nobody said what to ask for; give options, such as --time-limit"
        )
    _refuse_what_cannot_be_submitted(cluster)
    if standing.state == "finished":
        n_failed = len(standing.failed)
        failed = f", and {n_failed} failed, which is not run again: llem studies says why" if n_failed else ""
        raise config_error(
            f"{path}: nothing is left to run: {standing.n_finished} of {standing.n_planned} finished{failed}"
        )
    running = [(each, jobs) for each in before if (jobs := KINDS[each.executor].alive(each))]
    if running and not more:
        who = "; ".join(f"{each.in_words}: {in_words(jobs)}" for each, jobs in running)
        raise config_error(
            f"{path}: it runs still: {who}; follow it by llem studies {shlex.quote(str(path))} --watch, end it by llem "
            "cancel, or add to it by --more"
        )
    return Submitted(path, _submitted(path, standing.plan.name, cluster, options or RunOptions()))


def options_of_last(path: Path) -> ClusterConfig | None:
    """What was asked for the last time; None where nothing was submitted."""
    return next((each.config for each in reversed(submissions_of(path))), None)


def in_words(jobs: list[JobState]) -> str:
    """Such as ``2 running on n1, n2, 3 pending (Resources)``."""
    said = []
    for state in dict.fromkeys(each.state for each in jobs):
        of_state = [each for each in jobs if each.state == state]
        nodes = ", ".join(sorted({each.node for each in of_state if each.node}))
        reasons = ", ".join(sorted({each.reason for each in of_state if each.reason not in ("", "None")}))
        where = (f" on {nodes}" if nodes else "") + (f" ({reasons})" if reasons else "")
        said.append(f"{len(of_state)} {state.lower().replace('_', ' ')}{where}")
    return ", ".join(said)


def _refuse_what_cannot_be_submitted(cluster: ClusterConfig) -> None:
    try:
        import submitit  # noqa: F401
    except ImportError:
        raise PreFlightError(
            "submitit is not installed, which submits jobs; install with pip install 'llenergymeasure[slurm]'"
        ) from None
    problem = KINDS[cluster.executor].problem(cluster)
    if problem is not None:
        raise PreFlightError(problem)
    if cluster.executor != "slurm" and (unused := sorted(_OF_SLURM & cluster.model_fields_set)):
        _log.warning("%s: only SLURM is asked for it; with executor: %s it changes nothing", ", ".join(unused),
                     cluster.executor)  # fmt: skip


def _refuse_fewer_nodes(experiments: list[ExperimentConfig], cluster: ClusterConfig) -> None:
    """Workers attend each other's experiments within one job alone.

    Raises:
        ConfigError: a job has fewer nodes than an experiment takes.
    """
    most = max((each.nodes.n for each in experiments if each.nodes is not None), default=1)
    if most > 1 and cluster.executor != "slurm" and (cluster.executor == "debug" or cluster.workers < most):
        raise ConfigError(
            f"nodes.n: {most} workers run an experiment together, and executor: {cluster.executor} has "
            f"{'one at a time' if cluster.executor == 'debug' else f'{cluster.workers} of them (workers)'}"
        )
    if cluster.executor == "slurm" and cluster.nodes < most:
        raise ConfigError(
            f"nodes.n: {most} nodes run an experiment together, and cluster.nodes is {cluster.nodes}, the nodes of a "
            f"job; give nodes: {most} there"
        )


def _refuse_what_is_left_open(experiments: list[ExperimentConfig]) -> None:
    """``auto`` is what the device makes of it, and a login node has another, or none.

    What an engine has as its own default, such as the format of a GGUF file, does not depend on the device.
    """
    written = sorted(
        f"{name}: auto"
        for name in ("backend", "precision")
        if any(name in each.model_fields_set and getattr(each, name) == "auto" for each in experiments)
    )
    if written:
        raise ConfigError(
            f"{', '.join(written)}: every worker has to run the same, and this machine, where the study is planned, is "
            "not the one that measures; write what it is to be, such as precision: bf16"
        )


def _submitted(path: Path, name: str, cluster: ClusterConfig, options: RunOptions) -> Submission:
    study = path.absolute()
    number = new_submission(study)
    # Jobs of which nobody has word could not be ended by llem cancel.
    with held_back() if cluster.executor == "slurm" else contextlib.nullcontext():
        return _kept(study, number, name, cluster, options)


def _kept(study: Path, number: int, name: str, cluster: ClusterConfig, options: RunOptions) -> Submission:
    """Submit, and leave word of it."""
    jobs_dir = folder_of(study, number) / JOBS_DIR
    ids, started_s = _ids_of_jobs(study, number, name, cluster)
    for link in jobs_dir.glob(".*.sh"):
        # An archive of the study takes no links, and submitit needs them no more.
        if link.is_symlink():
            link.unlink()
    submission = Submission(
        number=number, executor=cluster.executor, job_ids=ids, time=options.now().isoformat(),
        host=platform.node(), user=_user(), options=cluster.model_dump(mode="json", exclude_unset=True),
        started_s=started_s,
    )  # fmt: skip
    keep_submission(study, submission)
    return submission


def _ids_of_jobs(
    study: Path, number: int, name: str, cluster: ClusterConfig
) -> tuple[tuple[str, ...], dict[str, float]]:
    """Submit; the numbers of the jobs, and when those on this machine began.

    Raises:
        StudyError: it was refused. The study is planned, and can be submitted again.
    """
    from submitit import AutoExecutor

    kind, jobs_dir = KINDS[cluster.executor], folder_of(study, number) / JOBS_DIR
    job = WorkerJob(
        str(study), number, cluster.executor, cluster.time_limit_s,
        _LOCAL_WARN_S if cluster.executor == "local" else cluster.warned_s, _shown(cluster),
    )  # fmt: skip
    called = f"llem-{_NOT_IN_A_NAME.sub('-', name)[:40]}"
    try:
        arguments = {key: value for key, value in kind.arguments(cluster, study).items() if value is not None}
        executor = AutoExecutor(folder=jobs_dir, cluster=cluster.executor, **arguments)
        executor.update_parameters(**{k: v for k, v in kind.parameters(cluster, called).items() if v is not None})
        with _streams_apart(jobs_dir) if cluster.executor == "local" else contextlib.nullcontext():
            jobs: list[Any] = executor.submit_array([job] * cluster.workers)
        ids = tuple(str(each.job_id) for each in jobs)
        if cluster.executor == "debug":
            _log.info("%d workers, one after another, in this process", cluster.workers)
            for each in jobs:
                each.result()
        started_s = {each: psutil.Process(int(each)).create_time() for each in ids if cluster.executor == "local"}
    except (KeyboardInterrupt, SystemExit):
        raise
    except Exception as error:
        # Also psutil's, of a process that has ended already.
        raise StudyError(
            f"nothing could be submitted: {str(error).strip()[:500]}; the study is planned in {study}: submit it by "
            f"llem submit --resume {shlex.quote(str(study))}, with other options"
        ) from error
    return ids, started_s


def _shown(cluster: ClusterConfig) -> dict[str, str]:
    """The GPUs of whoever submits, for jobs of this machine that ask for none of their own."""
    if cluster.executor != "local" or cluster.gpus_per_worker is not None or _GPUS_SHOWN not in os.environ:
        return {}
    return {_GPUS_SHOWN: os.environ[_GPUS_SHOWN]}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@contextlib.contextmanager
def _streams_apart(folder: Path) -> Iterator[None]:
    """What is started in the body has a file for stdout and stderr: it lives on when this process has ended."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = [(number, os.dup(number)) for number in (1, 2)]
    try:
        file = os.open(folder / "controller.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for number, _ in kept:
            os.dup2(file, number)
        os.close(file)
        yield
    finally:
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)
