"""Where on a cluster a number was taken: the job, and the part of its host that it was given."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Scheduler = Literal["slurm", "pbs", "kubernetes"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a scheduler says of the job that a process is of; what it does not say is None.

    ``job_id`` is the pod's name under Kubernetes. ``node_list`` is as the scheduler writes it, ``partition`` is a queue
    under PBS. ``n_cpus``, ``n_gpus`` and ``memory_mb`` were given on this node, and ``n_gpu_shards`` are parts of GPUs
    that others may have parts of too. ``end_time`` is when the scheduler ends it.
    """

    scheduler: Scheduler
    job_id: str | None = None
    array_job_id: str | None = None
    array_task_id: int | None = None
    n_restarts: int | None = None
    node: str | None = None
    node_list: str | None = None
    n_nodes: int | None = None
    partition: str | None = None
    account: str | None = None
    n_cpus: int | None = None
    n_gpus: int | None = None
    n_gpus_per_task: str | None = None
    n_gpu_shards: int | None = None
    memory_mb: float | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class NodeShare:
    """What of its host a process may use; None is no limit, or not known.

    ``n_cpus_allowed`` is of the process's affinity mask, ``n_cpus_in_set`` of its control groups, ``cpu_quota`` how
    many processors' time they let it have, and ``memory_limit_mb`` is theirs too. ``gpus_shown`` is what
    ``CUDA_VISIBLE_DEVICES`` is set to, which says nothing of which cards these are.
    """

    n_cpus_allowed: int | None = None
    n_cpus_in_set: int | None = None
    cpu_quota: float | None = None
    memory_limit_mb: float | None = None
    gpus_shown: str | None = None


def part_of_host(n_cpus: int | None, job: Job | None, share: NodeShare | None) -> str | None:
    """In words, what of a host's processors a process was given; None where that is all, or nothing limits it.

    A scheduler may let others run beside a job that has not all of the processors. An affinity mask is a limit of a
    job only: who pins threads on a machine of their own has no neighbours by that.

    Args:
        n_cpus: logical processors of the host; None is not known.
        job: of the process, if it is of one.
        share: what limits it.
    """
    share = share or NodeShare()
    limits = [("a cgroup's set", share.n_cpus_in_set), ("a cgroup's quota", share.cpu_quota)]
    if job is not None:
        limits += [(f"the {job.scheduler} job", job.n_cpus), ("the affinity mask", share.n_cpus_allowed)]
    below = [(n, by) for by, n in limits if n is not None and n_cpus is not None and n < n_cpus]
    if below:
        n, by = min(below)
        return f"{n:g} of the host's {n_cpus} CPUs, by {by}"
    if job is not None and (job.n_cpus is None or n_cpus is None):
        return f"processors of the host that {job.scheduler} does not say are this job's alone"
    return None
