"""What Linux's control groups let this process have, of version 1 and 2.

cgroups(7), and admin-guide/cgroup-v1 and cgroup-v2 of the kernel's documentation, have the files.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

_PROC = Path("/proc/self")
# A limit of version 1 that is none is the largest number of pages.
_NO_LIMIT_BYTES = 2**60
_Limit = TypeVar("_Limit", int, float)
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


@dataclass(frozen=True, kw_only=True)
class CgroupLimits:
    """Processors' worth of time, processors, and memory in MB; None is no limit, or not known."""

    cpu_quota: float | None = None
    n_cpus: int | None = None
    memory_mb: float | None = None


def cgroup_limits(proc: Path = _PROC, root: Path = Path("/")) -> CgroupLimits:
    """The narrowest limits of the groups that this process is in and of those around them.

    Args:
        proc: where the system tells of this process.
        root: where mounts lie, for tests.
    """
    quotas = [*_read(proc, root, "cpu", _quota), *_read(proc, root, "", _quota)]
    sets = [*_read(proc, root, "cpuset", _cpus), *_read(proc, root, "", _cpus)]
    bytes_ = [*_read(proc, root, "memory", _memory), *_read(proc, root, "", _memory)]
    most_bytes = min(bytes_, default=None)
    return CgroupLimits(
        cpu_quota=min(quotas, default=None),
        n_cpus=min(sets, default=None),
        memory_mb=None if most_bytes is None else most_bytes / 1e6,
    )


def _read(proc: Path, root: Path, controller: str, limit: Callable[[Path], _Limit | None]) -> Iterator[_Limit]:
    """The limits of the groups of a controller; an empty name is that of version 2, which has them all."""
    place = _group_of(proc, controller)
    mount = _mount_of(proc, controller)
    if place is None or mount is None:
        return
    mounted, at = mount
    # A container may be shown its own part of the tree, under the name that it has outside.
    inside = place.removeprefix(mounted).strip("/") if mounted != "/" else place.strip("/")
    top = root / at.strip("/")
    folder: Path = top / inside
    for each in (folder, *folder.parents):
        with contextlib.suppress(OSError, ValueError):
            if (found := limit(each)) is not None:
                yield found
        if each == top:
            return


def _group_of(proc: Path, controller: str) -> str | None:
    for line in _lines(proc / "cgroup"):
        number, _, rest = line.partition(":")
        names, _, place = rest.partition(":")
        if (controller in names.split(",")) if controller else (number == "0" and not names):
            return place
    return None


def _mount_of(proc: Path, controller: str) -> tuple[str, str] | None:
    """What of the tree is mounted, and where; proc(5) has the form of a line."""
    for line in _lines(proc / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3:  # noqa: PLR2004 - as proc(5) numbers them
            continue
        if kinds[0] == "cgroup2" if not controller else kinds[0] == "cgroup" and controller in kinds[2].split(","):
            return fields[3], fields[4]
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _quota(folder: Path) -> float | None:
    """Of ``cpu.max``, or the two files of version 1: microseconds of processors in a period of so many."""
    file = folder / "cpu.max"
    if file.exists():
        quota, period = file.read_text(encoding="ascii").split()
    else:
        quota, period = ((folder / f"cpu.cfs_{part}_us").read_text(encoding="ascii") for part in ("quota", "period"))
    return None if quota.strip() in ("max", "-1") or int(period) <= 0 else int(quota) / int(period)


def _cpus(folder: Path) -> int | None:
    for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
        with contextlib.suppress(OSError):
            listed = (folder / name).read_text(encoding="ascii").strip()
            found = [_RANGE.fullmatch(part.strip()) for part in listed.split(",")]
            n = sum(int(match[2] or match[1]) - int(match[1]) + 1 for match in found if match is not None)
            return n or None
    return None


def _memory(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        with contextlib.suppress(OSError):
            text = (folder / name).read_text(encoding="ascii").strip()
            return None if text == "max" or int(text) >= _NO_LIMIT_BYTES else int(text)
    return None
