"""What differs between the ways in which jobs are run: what is asked for, whether they live, and how they end."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from llenergymeasure.config.cluster import ClusterConfig, Executor
from llenergymeasure.exceptions import PreFlightError, first_line
from llenergymeasure.orchestration.cluster.submissions import Submission

# Whatever there is to do ends; nobody is to be ended by a limit that nobody gave.
_NO_LIMIT_MIN = 365.0 * 24 * 60
_ASK_S = 60.0
_SAME_S = 5.0


@dataclass(frozen=True)
class JobState:
    """A job that has not ended: its number, how it stands in the words of its scheduler, and where it runs."""

    job_id: str
    state: str
    node: str = ""
    reason: str = ""


class Kind(Protocol):
    """A way of running jobs."""

    def problem(self, config: ClusterConfig) -> str | None:
        """Why nothing can be submitted in this way here; None where it can."""
        ...

    def arguments(self, config: ClusterConfig, study: Path) -> Mapping[str, Any]:
        """What submitit's ``AutoExecutor`` is made with."""
        ...

    def parameters(self, config: ClusterConfig, name: str) -> Mapping[str, Any]:
        """What its ``update_parameters`` takes."""
        ...

    def alive(self, submission: Submission) -> list[JobState]:
        """The jobs that have not ended.

        Raises:
            PreFlightError: nobody can be asked.
        """
        ...

    def cancel(self, submission: Submission, jobs_dir: Path) -> None:
        """Have them end, as soon as they have put away what they are at; nobody is waited for."""
        ...


class Slurm:
    """A cluster."""

    def problem(self, config: ClusterConfig) -> str | None:
        """Its commands are missing, or nobody says for how long."""
        missing = [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]
        if missing:
            return (
                f"{', '.join(missing)}: no such command here; submit where SLURM is, or try --executor local, which "
                "starts the same jobs on this machine"
            )
        if config.time_limit is None:
            return "time_limit: say how long a job may take, such as --time-limit 4h; what is left then is run by more"
        return None

    def arguments(self, config: ClusterConfig, study: Path) -> Mapping[str, Any]:  # noqa: ARG002
        """Python, as a job starts it. How often a job runs again is decided by what it gets done, not by a number."""
        python = config.python or ("python3" if config.container_image else None)
        return {"slurm_python": python, "slurm_max_num_timeout": 10**6}

    def parameters(self, config: ClusterConfig, name: str) -> Mapping[str, Any]:
        """Options of sbatch and srun."""
        own = {key.replace("_", "-"): value for key, value in config.slurm.items() if value is not False}
        named = {
            "partition": config.partition, "account": config.account, "qos": config.qos,
            "constraint": config.constraint, "exclusive": True if config.exclusive else None,
            "array_parallelism": config.array_parallelism or config.workers, "setup": list(config.setup) or None,
            "signal_delay_s": config.warned_s, "additional_parameters": {"requeue": True, **own},
            "srun_args": [f"--container-image={config.container_image}"] if config.container_image else None,
        }  # fmt: skip
        return {
            "name": name, "nodes": config.nodes, "tasks_per_node": 1, "timeout_min": config.time_limit_min,
            "gpus_per_node": config.gpus_per_worker, "cpus_per_task": config.cpus_per_worker,
            "mem_gb": config.memory_gb, **{f"slurm_{key}": value for key, value in named.items()},
        }  # fmt: skip

    def alive(self, submission: Submission) -> list[JobState]:
        """As squeue tells: sacct, which submitit asks, is not on every cluster."""
        arrays = dict.fromkeys(each.partition("_")[0] for each in submission.job_ids)
        lines = squeue(["--array", "--jobs", ",".join(arrays), "--format", "%i|%T|%N|%r"])
        found = (tuple(part.strip() for part in line.split("|", 3)) for line in lines)
        return [JobState(*each) for each in found if each[0] in submission.job_ids]

    def cancel(self, submission: Submission, jobs_dir: Path) -> None:
        """By scancel, which submitit calls for all jobs of an array at once."""
        from submitit import SlurmJob

        for array in dict.fromkeys(each.partition("_")[0] for each in submission.job_ids):
            SlurmJob(folder=jobs_dir, job_id=array).cancel(check=False)


class Local:
    """Processes of this machine."""

    def problem(self, config: ClusterConfig) -> str | None:
        """There is one machine."""
        return f"nodes: {config.nodes}: this machine is one; leave it out" if config.nodes > 1 else None

    def arguments(self, config: ClusterConfig, study: Path) -> Mapping[str, Any]:  # noqa: ARG002
        """As on a cluster."""
        return {"local_python": config.python, "local_max_num_timeout": 10**6}

    def parameters(self, config: ClusterConfig, name: str) -> Mapping[str, Any]:
        """What a process of this machine can be given."""
        limit_min = _NO_LIMIT_MIN if config.time_limit_s is None else config.time_limit_s / 60
        return {
            "name": name, "gpus_per_node": config.gpus_per_worker, "local_timeout_min": limit_min,
            "local_setup": list(config.setup) or None,
        }  # fmt: skip

    def alive(self, submission: Submission) -> list[JobState]:
        """Those whose processes live: on this host."""
        return [JobState(each, "RUNNING") for each in submission.job_ids if _process_of(submission, each) is not None]

    def cancel(self, submission: Submission, jobs_dir: Path) -> None:  # noqa: ARG002
        """By SIGTERM, which submitit hands on; its own way would kill after a second."""
        for each in submission.job_ids:
            process = _process_of(submission, each)
            with contextlib.suppress(psutil.Error):
                if process is not None:
                    # With setup commands it is a shell, which would end without a word to those that it waits for.
                    for one in process.children() or [process]:
                        one.send_signal(signal.SIGTERM)


class Debug(Local):
    """This process: all is over when the submission is."""

    def arguments(self, config: ClusterConfig, study: Path) -> Mapping[str, Any]:  # noqa: ARG002
        """None."""
        return {}

    def parameters(self, config: ClusterConfig, name: str) -> Mapping[str, Any]:  # noqa: ARG002
        """None."""
        return {}


KINDS: Mapping[Executor, Kind] = {"slurm": Slurm(), "local": Local(), "debug": Debug()}


def squeue(arguments: Sequence[str]) -> list[str]:
    """The lines that squeue answers; none for jobs that it does not know any more.

    Raises:
        PreFlightError: it does not answer.
    """
    command = ["squeue", "--noheader", *arguments]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False,
                             env={**os.environ, "LC_ALL": "C"})  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise PreFlightError(f"squeue cannot be asked: {first_line(error)}") from None
    if ran.returncode and "invalid job id" not in ran.stderr.lower():
        raise PreFlightError(f"squeue does not answer: {ran.stderr.strip()[:300] or ran.returncode}")
    return [line for line in ran.stdout.splitlines() if line.strip()]


def _process_of(submission: Submission, job_id: str) -> psutil.Process | None:
    """The living process of a job of this host; None where it has ended, or its number is another's."""
    started_s = submission.started_s.get(job_id)
    if started_s is None or submission.host != os.uname().nodename:
        return None
    try:
        process = psutil.Process(int(job_id))
        if process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started_s) <= _SAME_S:
            return process
    except psutil.Error:
        pass
    return None
