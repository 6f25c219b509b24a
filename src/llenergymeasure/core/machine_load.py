"""How much of this machine's processors other programs took."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

# The kernel counts in hundredths of a second for each CPU.
_LEAST_S = 1.0
_BUSY = ("user", "nice", "system", "irq", "softirq", "steal")


@dataclass(frozen=True, kw_only=True)
class CpuTimes:
    """Processor seconds up to the moment ``at_s`` of the monotonic clock.

    ``busy_s`` are those of all ``n_cpus`` logical CPUs, with what a hypervisor gave to others; ``own_s`` those of our
    processes. ``n_cpus`` is None where the system does not say.
    """

    at_s: float
    n_cpus: int | None
    busy_s: float
    own_s: float


def cpu_times(pids: Iterable[int]) -> CpuTimes:
    """The times so far; ours are these processes and their children, those that have ended too."""
    machine = psutil.cpu_times()
    return CpuTimes(
        at_s=time.monotonic(),
        n_cpus=psutil.cpu_count(),
        # Not every system has all of them.
        busy_s=sum(getattr(machine, name, 0.0) for name in _BUSY),
        own_s=sum(_seconds_of(process) for process in _family(pids)),
    )


def foreign_cpu_pct(before: CpuTimes, after: CpuTimes) -> float | None:
    """Share of all CPUs that others took, in percent.

    Args:
        before: at the start.
        after: at the end.

    Returns:
        0 to 100; None for less than a second, which the kernel does not resolve, or an unknown number of CPUs.
    """
    elapsed_s = after.at_s - before.at_s
    if elapsed_s < _LEAST_S or after.n_cpus is None:
        return None
    foreign_s = (after.busy_s - before.busy_s) - (after.own_s - before.own_s)
    return min(max(100 * foreign_s / (elapsed_s * after.n_cpus), 0.0), 100.0)


def _family(pids: Iterable[int]) -> set[psutil.Process]:
    found: set[psutil.Process] = set()
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found |= {process, *process.children(recursive=True)}
        except psutil.Error:
            continue  # it has ended
    return found


def _seconds_of(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)
