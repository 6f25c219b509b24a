"""A machine in a line, and the job that was run on it."""

from collections.abc import Iterator

from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.machine.place import Job


def environment_line(environment: EnvironmentSnapshot) -> str:
    """The machine in one line."""
    memory = "" if environment.memory_total_mb is None else f", {environment.memory_total_mb / 1000:.0f} GB"
    gpus = ", ".join(gpu.name for gpu in environment.gpus) or "no GPU"
    driver = f", driver {environment.driver_version}" if environment.driver_version else ""
    return (
        f"{environment.cpu_model or 'unknown CPU'}, {environment.n_cpus} CPUs{memory}, {gpus}{driver}, "
        f"Python {environment.python_version}"
    )


def place_rows(environment: EnvironmentSnapshot) -> Iterator[tuple[str, str]]:
    """The job, and what of its node it was given, each with a label; nothing of a machine that is nobody else's."""
    job, part = environment.job, environment.part_of_host
    if job is not None:
        yield "job", ", ".join([_named(job), *_given(job)])
    if part is not None:
        share = environment.share
        limit = "" if share is None or share.memory_limit_mb is None else f"; {share.memory_limit_mb / 1000:.3g} GB"
        yield "part of a node", f"{part}{limit}; what its neighbours draw is in the energy of a CPU or machine"


def _named(job: Job) -> str:
    told = f"{job.scheduler} {job.job_id or 'of unknown number'}"
    if job.array_task_id is not None:
        told += f" (task {job.array_task_id}{f' of array {job.array_job_id}' if job.array_job_id else ''})"
    return told


def _given(job: Job) -> Iterator[str]:
    if job.node:
        yield f"on {job.node}" + (f" of {job.n_nodes} nodes" if (job.n_nodes or 1) > 1 else "")
    if job.partition:
        yield f"partition {job.partition}"
    for n, what in ((job.n_cpus, "CPU"), (job.n_gpus, "GPU"), (job.n_gpu_shards, "GPU shard")):
        if n:
            yield f"{n} {what}{'' if n == 1 else 's'}"
    if job.n_restarts:
        yield "started again once" if job.n_restarts == 1 else f"started again {job.n_restarts} times"
    if job.end_time is not None:
        yield f"ends at {job.end_time:%Y-%m-%d %H:%M} UTC"
