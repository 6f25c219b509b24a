"""Whether a process has the whole of its host."""

import pytest

from llenergymeasure.domain.machine.place import Job, NodeShare, part_of_host

WHOLE = Job(scheduler="slurm", n_cpus=64)


@pytest.mark.parametrize(
    ("job", "share", "said"),
    [
        (None, None, None),
        (None, NodeShare(n_cpus_allowed=2), None),
        (None, NodeShare(cpu_quota=1.5, n_cpus_in_set=64), "1.5 of the host's 64 CPUs, by a cgroup's quota"),
        (None, NodeShare(n_cpus_in_set=8), "8 of the host's 64 CPUs, by a cgroup's set"),
        (WHOLE, NodeShare(n_cpus_allowed=64, n_cpus_in_set=64), None),
        (WHOLE, NodeShare(n_cpus_allowed=4), "4 of the host's 64 CPUs, by the affinity mask"),
        (Job(scheduler="slurm", n_cpus=16), None, "16 of the host's 64 CPUs, by the slurm job"),
        (Job(scheduler="kubernetes"), None, "processors of the host that kubernetes does not say are this job's alone"),
        (Job(scheduler="pbs", n_cpus=64), None, None),
    ],
)  # fmt: skip
def test_a_part_of_a_host_is_said_with_what_limits_it(
    job: Job | None, share: NodeShare | None, said: str | None
) -> None:
    assert part_of_host(64, job, share) == said


def test_of_a_host_of_which_nobody_knows_the_size_a_job_may_have_a_part() -> None:
    assert part_of_host(None, None, NodeShare(n_cpus_in_set=8)) is None
    assert part_of_host(None, WHOLE, None) is not None
