"""The job that this process is of, from the variables that schedulers document.

SLURM: sbatch(1), OUTPUT ENVIRONMENT VARIABLES. PBS: the PBS Professional Reference Guide and qsub(1B) of Torque.
Kubernetes: variables of services, the index of indexed Jobs, and names that its pages on the downward API use.
"""

import contextlib
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from llenergymeasure._files import read_regular
from llenergymeasure.domain.machine.place import Job

# A count for some nodes after each other: 72(x2),36 is 72, 72, 36.
_COUNT = re.compile(r"([0-9]{1,9})(?:\(x[0-9]+\))?")
# SLURM says MB and means 2^20 bytes.
_MB_OF_SLURM = 1.048576
# What somebody sets such a variable to may be anything.
_MOST_CHARACTERS = 500
_MOST_BYTES = 2**20


def this_job(environ: Mapping[str, str] | None = None) -> Job | None:
    """The job that this process is of; None where no scheduler says that it is of one.

    Args:
        environ: variables; None is those of this process.
    """
    said = {
        name: text for name, value in (os.environ if environ is None else environ).items() if (text := value.strip())
    }
    if "SLURM_JOB_ID" in said:
        return _of_slurm(said)
    if "PBS_JOBID" in said:
        return _of_pbs(said)
    # Each pod is told where the service is; what a pod is called, its host name is.
    return _of_kubernetes(said) if "KUBERNETES_SERVICE_HOST" in said else None


def _of_slurm(said: Mapping[str, str]) -> Job:
    n_cpus = _cpus_of_slurm(said)
    return Job(
        scheduler="slurm",
        job_id=_text(said, "SLURM_JOB_ID"),
        array_job_id=_text(said, "SLURM_ARRAY_JOB_ID"),
        array_task_id=_count(said, "SLURM_ARRAY_TASK_ID"),
        # It is set from the first restart on.
        n_restarts=_count(said, "SLURM_RESTART_COUNT") or 0,
        node=_text(said, "SLURMD_NODENAME"),
        node_list=_text(said, "SLURM_JOB_NODELIST"),
        n_nodes=_count(said, "SLURM_JOB_NUM_NODES"),
        partition=_text(said, "SLURM_JOB_PARTITION"),
        account=_text(said, "SLURM_JOB_ACCOUNT"),
        n_cpus=n_cpus,
        n_gpus=_count(said, "SLURM_GPUS_ON_NODE"),
        n_gpus_per_task=_text(said, "SLURM_GPUS_PER_TASK"),
        n_gpu_shards=_count(said, "SLURM_SHARDS_ON_NODE"),
        memory_mb=_memory_of_slurm(said, n_cpus),
        end_time=_moment(said, "SLURM_JOB_END_TIME"),
    )


def _cpus_of_slurm(said: Mapping[str, str]) -> int | None:
    """Those that the job has on this node; which place it has in the list is not asked where all are alike."""
    text = said.get("SLURM_JOB_CPUS_PER_NODE", "")
    found = [_COUNT.fullmatch(part) for part in text.split(",")]
    counts = {int(match[1]) for match in found if match is not None}
    if None not in found and len(counts) == 1:
        return counts.pop()
    return _count(said, "SLURM_CPUS_ON_NODE")


def _memory_of_slurm(said: Mapping[str, str], n_cpus: int | None) -> float | None:
    """In MB of 10^6 bytes; 0 stands for all that the node has, which is no figure."""
    of_node, of_cpu = _count(said, "SLURM_MEM_PER_NODE"), _count(said, "SLURM_MEM_PER_CPU")
    if of_node:
        return of_node * _MB_OF_SLURM
    return of_cpu * n_cpus * _MB_OF_SLURM if of_cpu and n_cpus else None


def _of_pbs(said: Mapping[str, str]) -> Job:
    nodes = _nodes_of_pbs(said)
    return Job(
        scheduler="pbs",
        job_id=_text(said, "PBS_JOBID"),
        array_job_id=_text(said, "PBS_ARRAY_ID"),
        array_task_id=_count(said, "PBS_ARRAY_INDEX", "PBS_ARRAYID"),
        node_list=",".join(nodes)[:_MOST_CHARACTERS] or None,
        n_nodes=len(nodes) or None,
        partition=_text(said, "PBS_QUEUE"),
        account=_text(said, "PBS_ACCOUNT"),
        # Lines of the node file are processes of MPI, and no processors.
        n_cpus=_count(said, "NCPUS"),
    )


def _nodes_of_pbs(said: Mapping[str, str]) -> list[str]:
    """Each node of the job once; none where its file cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        lines = read_regular(Path(said.get("PBS_NODEFILE", "")), _MOST_BYTES).decode().splitlines()
        return list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    return []


def _of_kubernetes(said: Mapping[str, str]) -> Job:
    return Job(
        scheduler="kubernetes",
        job_id=_text(said, "POD_NAME", "MY_POD_NAME", "HOSTNAME"),
        array_task_id=_count(said, "JOB_COMPLETION_INDEX"),
        node=_text(said, "NODE_NAME", "MY_NODE_NAME"),
    )


def _text(said: Mapping[str, str], *names: str) -> str | None:
    return next((said[name][:_MOST_CHARACTERS] for name in names if name in said), None)


def _count(said: Mapping[str, str], *names: str) -> int | None:
    """The first of some variables, where it is a number."""
    text = _text(said, *names) or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < len(str(2**53)) else None


def _moment(said: Mapping[str, str], name: str) -> datetime | None:
    seconds = _count(said, name)
    with contextlib.suppress(OverflowError, OSError, ValueError):
        return None if not seconds else datetime.fromtimestamp(seconds, UTC)
    return None
