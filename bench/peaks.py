"""What a piece of work costs this process: processor time, and the peak of its memory."""

import re
import time
from collections.abc import Callable
from pathlib import Path


def measured_here(work: Callable[[], int]) -> dict[str, float]:
    """What ``work`` gives as ``n``, the seconds of processor time that it takes, and the process's peak in MB."""
    start_s = time.process_time()
    n = work()
    cpu_s = time.process_time() - start_s
    # Not that of getrusage, which begins with the peak of the process that started this one.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return {"n": n, "cpu_s": cpu_s, "peak_mb": int(found[1]) / 1000 if found else 0.0}
