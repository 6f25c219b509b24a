"""What of its host this process may use."""

import os
from collections.abc import Mapping

from llenergymeasure.core.place.cgroups import CgroupLimits, cgroup_limits
from llenergymeasure.domain.machine.place import NodeShare


def this_share(
    environ: Mapping[str, str] | None = None, limits: CgroupLimits | None = None, allowed: int | None = None
) -> NodeShare:
    """What this process may use.

    Args:
        environ: variables; None is those of this process.
        limits: of its control groups; None looks.
        allowed: how many processors its affinity mask has; None looks.
    """
    environ = os.environ if environ is None else environ
    limits = cgroup_limits() if limits is None else limits
    return NodeShare(
        n_cpus_allowed=_in_the_mask() if allowed is None else allowed,
        n_cpus_in_set=limits.n_cpus,
        cpu_quota=limits.cpu_quota,
        memory_limit_mb=limits.memory_mb,
        gpus_shown=environ.get("CUDA_VISIBLE_DEVICES"),
    )


def _in_the_mask() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return None  # not every system has such masks
