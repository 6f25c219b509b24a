"""How long a process is waited for: until it has ended, takes too long, or shows no sign of life."""

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.core.gpu.machine import told_by
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ExperimentError, TimedOutError

# Rare enough to be nothing beside a measurement.
LOOK_S = 10.0
# Memory can fill up faster than that; whoever sets a limit wants it seen.
MEMORY_LOOK_S = 2.0
# What the first thread of a process does is the work. Others may be sensors, which are read all the time, also when the
# work hangs: they count where they do more than that.
_FIRST_THREAD_SHARE, _OTHER_THREADS_SHARE = 0.01, 0.5
# Sensors read a few kilobytes in a while; a model that is loaded or downloaded is more.
_BYTES = 1_000_000


class Watch:
    """Looks at a process now and then; called with its pid, it gives the seconds until the next look."""

    def __init__(
        self,
        execution: ExecutionConfig,
        alive: Callable[[int, float], bool],
        works: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        who: str = "the measuring process",
        resident_mb: Callable[[int], float] | None = None,
    ) -> None:
        """Wait as ``execution`` says.

        Args:
            execution: ``timeout_s``, ``stall_timeout_s`` and ``max_memory_mb``.
            alive: whether a process, and what it started, did something since the last look, so many seconds ago.
            works: whether its GPUs are in use; asked only where nothing else was seen for long.
            clock: monotonic seconds.
            who: what an error calls it.
            resident_mb: what a process and all that it started hold in memory; None asks the operating system.
        """
        self._execution = execution
        self._who = who
        self._resident_mb = resident_mb or resident_mb_of
        self._alive = alive
        self._works = works
        self._clock = clock
        self._began_s = self._looked_s = self._seen_s = clock()

    def __call__(self, pid: int) -> float | None:
        """Seconds until the next look; None where there is nothing to look for.

        Raises:
            TimedOutError: it is not to be waited for any longer.
            ExperimentError: it holds more memory than it may.
        """
        now_s = self._clock()
        timeout_s, stall_s = self._execution.timeout_s, self._execution.stall_timeout_s
        left_s = []
        if timeout_s is not None:
            left_s.append(self._began_s + timeout_s - now_s)
            if left_s[-1] <= 0:
                raise TimedOutError(
                    f"it took longer than {timeout_s:g} s and was ended; execution.timeout_s (--timeout) says so"
                )
        if self._execution.max_memory_mb is not None:
            self._weigh(pid, self._execution.max_memory_mb)
            left_s.append(MEMORY_LOOK_S)
        if stall_s is not None:
            self._look(pid, now_s, stall_s)
            left_s.append(min(LOOK_S, stall_s / 4))
        return min(left_s, default=None)

    def _weigh(self, pid: int, most_mb: float) -> None:
        held_mb = self._resident_mb(pid)
        if held_mb > most_mb:
            raise ExperimentError(
                f"{self._who} held {held_mb:,.0f} MB in memory and was ended; execution.max_memory_mb is {most_mb:,.0f}"
            )

    def _look(self, pid: int, now_s: float, stall_s: float) -> None:
        # Two looks soon after each other tell nothing.
        since_s = now_s - self._looked_s
        if since_s < min(LOOK_S, stall_s / 4) / 2:
            return
        self._looked_s = now_s
        silent_s = now_s - self._seen_s
        if self._alive(pid, since_s) or (silent_s > stall_s / 2 and self._works()):
            self._seen_s = now_s
        elif silent_s >= stall_s:
            raise TimedOutError(
                f"{self._who} gave no sign of life for {stall_s:g} s (no processor time, no use of its GPUs, "
                "nothing read or written) and was ended; execution.stall_timeout_s says how long is waited"
            )


class SignsOfLife:
    """What a process and all that it started have done since they were last looked at."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder`` is where the process leaves word of where it stands; None where it leaves none."""
        self._folder = folder
        self._cpu_s: dict[tuple[int, int], float] = {}
        self._bytes: dict[int, float] = {}
        self._written = 0

    def __call__(self, pid: int, since_s: float) -> bool:
        """Whether there is anything new after so many seconds; a process that is seen for the first time is."""
        cpu_s: dict[tuple[int, int], float] = {}
        moved: dict[int, float] = {}
        for process in _tree(pid):
            with contextlib.suppress(psutil.Error):
                cpu_s |= _cpu_s(process)
                moved[process.pid] = _bytes(process)
        before_s, self._cpu_s = self._cpu_s, cpu_s
        before, self._bytes = self._bytes, moved
        written, self._written = self._written, _last_written(self._folder)
        return (
            self._written != written
            or any(moved[p] - before.get(p, -_BYTES) >= _BYTES for p in moved)
            or any(
                used - before_s.get((p, t), 0.0) >= since_s * (_FIRST_THREAD_SHARE if p == t else _OTHER_THREADS_SHARE)
                for (p, t), used in cpu_s.items()
            )
        )


def watch_of(plan: ExperimentPlan, state_dir: Path) -> Watch:
    """Waits for the processes of a plan as long as it says."""
    return Watch(plan.execution, SignsOfLife(state_dir), lambda: gpus_work(plan.devices))


def gpus_work(uuids: Sequence[str]) -> bool:
    """Whether one of these GPUs says that it is in use."""
    return any(told_by(uuids, lambda device: device.utilisation_pct()).values())


def resident_mb_of(pid: int) -> float:
    """What a process and all that it started hold in memory, in MB (10^6 bytes); what they share counts for each."""
    held = 0.0
    for process in _tree(pid):
        with contextlib.suppress(psutil.Error):
            held += process.memory_info().rss / 1e6
    return held


def _tree(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    return []


def _cpu_s(process: psutil.Process) -> dict[tuple[int, int], float]:
    """Processor seconds of each thread, by process and thread; of all together as the first where only that is told."""
    try:
        return {(process.pid, thread.id): thread.user_time + thread.system_time for thread in process.threads()}
    except psutil.AccessDenied:  # macOS tells threads to root alone
        times = process.cpu_times()
        return {(process.pid, process.pid): times.user + times.system}


def _bytes(process: psutil.Process) -> float:
    # Not every system tells.
    counters = process.io_counters() if hasattr(process, "io_counters") else None
    read = getattr(counters, "read_chars", getattr(counters, "read_bytes", 0))
    return float(read + getattr(counters, "write_chars", getattr(counters, "write_bytes", 0)))


def _last_written(folder: Path | None) -> int:
    if folder is None:
        return 0
    with contextlib.suppress(OSError):
        return max((entry.stat().st_mtime_ns for entry in folder.iterdir()), default=0)
    return 0
