"""Memory of this process, and what is left of the machine's."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.domain.environment import GpuInfo

_PROC = Path("/proc/self")
_CGROUPS = Path("/sys/fs/cgroup")
_NODES = Path("/sys/devices/system/node")
_KIB = 1024
_GPU_NOT_SAID = "the driver does not say how much memory is in use"


@dataclass(frozen=True, kw_only=True)
class FreeMemory:
    """Memory that could be had, in MB (10^6 bytes), and of what; ``swap_mb`` could be had at the price of speed."""

    where: str
    free_mb: float | None
    swap_mb: float = 0.0


def reset_resident_peak(proc: Path = _PROC) -> bool:
    """Let the kernel count the largest resident set from now on; False where it cannot.

    ``ru_maxrss`` would not do: it outlives fork and exec, so a child reports its parent's peak.
    """
    try:
        (proc / "clear_refs").write_text("5")  # proc(5): resets VmHWM
    except OSError:
        return False
    return True


def resident_peak_mb(proc: Path = _PROC) -> float | None:
    """Largest resident set since the last reset, in MB (10^6 bytes); None where the kernel does not say."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", (proc / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * _KIB / 1e6 if found else None


def free_host_memory(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> FreeMemory:
    """What the kernel could give, or the control group still allows where that is less.

    A container shows its host's memory as available, whatever its own limit.
    """
    import psutil

    host_mb, swap_mb = psutil.virtual_memory().available / 1e6, psutil.swap_memory().free / 1e6
    allowed_mb = cgroup_free_mb(proc, cgroups)
    if allowed_mb is None or allowed_mb >= host_mb:
        return FreeMemory(where="of this machine's memory", free_mb=host_mb, swap_mb=swap_mb)
    # Swap of a group has limits of its own, which are mostly none: it is not counted on.
    return FreeMemory(where="of what this container or job may use", free_mb=allowed_mb)


def host_total_mb(proc: Path = _PROC, cgroups: Path = _CGROUPS, nodes: Path = _NODES) -> float | None:
    """All memory of the machine in MB; None where it is of several nodes, or a control group allows less of it."""
    import psutil

    is_split = len(list(nodes.glob("node[0-9]*"))) > 1
    return None if is_split or cgroup_free_mb(proc, cgroups) is not None else psutil.virtual_memory().total / 1e6


def free_gpu_memory(gpus: Sequence[GpuInfo]) -> FreeMemory:
    """What is left on GPUs together, by the driver's last reading, so without a CUDA context."""
    names = " and ".join(f"GPU {gpu.index} ({gpu.name})" for gpu in gpus)
    free = [
        gpu.memory_total_mb - gpu.memory_used_mb
        for gpu in gpus
        if gpu.memory_total_mb is not None and gpu.memory_used_mb is not None
    ]
    if len(free) < len(gpus):
        return FreeMemory(where=f"on {names}: {_GPU_NOT_SAID}", free_mb=None)
    return FreeMemory(where=f"on {names}", free_mb=sum(free))


def fullest_gpu_memory(gpus: Sequence[GpuInfo]) -> FreeMemory:
    """What is left on that one of [n] GPUs, at least one, which has least left; unknown if one does not say."""
    each = [free_gpu_memory([gpu]) for gpu in gpus]
    return min(each, key=lambda free: -1.0 if free.free_mb is None else free.free_mb)


def cgroup_free_mb(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> float | None:
    """The least that this process's control groups, old kind or new, leave it, in MB; None without a limit.

    The page cache counts as left: the kernel takes it back before it refuses anything.
    """
    try:
        lines = (proc / "cgroup").read_text().splitlines()
    except OSError:
        return None
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            left += _left_along(cgroups, path, ("memory.max", "memory.current", ""))
        elif "memory" in controllers.split(","):
            old = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
            left += _left_along(cgroups / "memory", path, old)
    return min(left, default=None)


def _left_along(root: Path, path: str, names: tuple[str, str, str]) -> list[float]:
    """What each group from the process's own up to the root leaves; in a container the root is the container's own."""
    own = root / path.strip("/")
    folders = [own, *(parent for parent in own.parents if parent.is_relative_to(root))]
    found = [_left_in(folder, *names) for folder in dict.fromkeys(folders)]
    return [mb for mb in found if mb is not None]


def _left_in(folder: Path, limit_file: str, usage_file: str, prefix: str) -> float | None:
    try:
        limit, usage = (int((folder / name).read_text()) for name in (limit_file, usage_file))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None
    cache = sum(int(stat.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
    return (limit - usage + cache) / 1e6
