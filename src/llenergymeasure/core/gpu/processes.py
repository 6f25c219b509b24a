"""Which processes are on the GPUs, and which of them are not ours."""

import contextlib
from collections.abc import Iterable, Set
from dataclasses import dataclass

import psutil

from llenergymeasure.domain.environment import GpuInfo


@dataclass(frozen=True, kw_only=True)
class ForeignProcesses:
    """PIDs of others, as the driver counts them."""

    pids_before_load: frozenset[int] = frozenset()
    pids_at_end: frozenset[int] = frozenset()


def foreign_processes(
    before_load: Iterable[int] | None, at_end: Iterable[int] | None, own: Set[int]
) -> ForeignProcesses:
    """Tell the others' processes from ours.

    In a container the driver may list the PIDs of the host, which are not those that a process has of
    itself. Ours are then recognised by nothing: where none of ``own`` is listed at the end, only those
    count that were there before we loaded anything.

    Args:
        before_load: PIDs on the GPUs before this process used them; None where the driver does not say.
        at_end: PIDs on them after the measured window, the model still loaded; None likewise.
        own: PIDs of this process and its children, as they count themselves.
    """
    earlier = frozenset(before_load or ()) - own
    later = frozenset(at_end or ())
    return ForeignProcesses(pids_before_load=earlier, pids_at_end=later - own if later & own else later & earlier)


def own_pids() -> frozenset[int]:
    """This process and all of its children, as they count themselves."""
    process = psutil.Process()
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.Error):  # a child that ended while they were listed
        children = process.children(recursive=True)
    return frozenset({process.pid, *(child.pid for child in children)})


def pids_before(gpus: Iterable[GpuInfo]) -> frozenset[int] | None:
    """PIDs that a snapshot found on these GPUs; None where the driver said of none."""
    told = [gpu.running_pids for gpu in gpus if gpu.running_pids is not None]
    return frozenset(pid for pids in told for pid in pids) if told else None


def listed(pids: Iterable[int]) -> str:
    """PIDs in words."""
    return "PID " + ", ".join(map(str, sorted(pids)))
