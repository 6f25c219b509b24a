"""One tool watching simulated GPUs, in a process whose processor time is its own: see ``overhead_sampler``.

``python -m bench.overhead_worker TOOL SECONDS`` writes a line of JSON.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil

from bench.overhead_sampler import INTERVAL_S, N_GPUS

# Imports, first readings and the like are over by then.
_SETTLE_S = 2.0


@contextmanager
def ours() -> Iterator[None]:
    """The package's source for NVIDIA GPUs, with everything that it samples."""
    from llenergymeasure.core.energy_backends import NVMLBackend
    from llenergymeasure.core.gpu.machine import list_gpus

    source = NVMLBackend(devices=[gpu.uuid for gpu in list_gpus()], interval_ms=round(INTERVAL_S * 1000))
    tracker = source.start_tracking()
    yield
    found = source.stop_tracking(tracker)
    assert len(found.devices) == N_GPUS
    assert all(row.energy_j for row in found.devices), found.warnings


@contextmanager
def zeus() -> Iterator[None]:
    """Zeus's monitor of power, all fields that it supports here, a process for each."""
    from zeus.monitor import PowerMonitor

    monitor = PowerMonitor(update_period=INTERVAL_S)
    assert len(monitor.gpu_indices) == N_GPUS
    yield
    monitor.stop()


@contextmanager
def codecarbon(measure_power_s: float) -> Iterator[None]:
    """CodeCarbon's tracker, without files and network."""
    from codecarbon import OfflineEmissionsTracker

    tracker = OfflineEmissionsTracker(
        country_iso_code="USA",
        output_methods=[],
        log_level="error",
        force_cpu_power=10,
        allow_multiple_runs=True,
        measure_power_secs=measure_power_s,
    )
    tracker.start()
    yield
    tracker.stop()
    assert tracker.final_emissions_data.gpu_energy > 0


@contextmanager
def nothing() -> Iterator[None]:
    """A process that sleeps."""
    yield


TOOLS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "ours": ours,
    "Zeus PowerMonitor": zeus,
    "CodeCarbon, every 0.1 s": lambda: codecarbon(INTERVAL_S),
    "CodeCarbon, every 15 s": lambda: codecarbon(15),
    "nothing": nothing,
}


def cpu_s() -> float:
    """Processor time so far of this process, to the nanosecond, and of its children, to 10 ms each."""
    children = psutil.Process().children(recursive=True)
    times = [child.cpu_times() for child in children]
    return time.process_time() + sum(spent.user + spent.system for spent in times)


def main(tool: str, seconds: float) -> None:
    """Watch one tool."""
    with TOOLS[tool]():
        time.sleep(_SETTLE_S)
        n_processes = 1 + len(psutil.Process().children(recursive=True))
        before_s, begun_s = cpu_s(), time.monotonic()
        time.sleep(seconds)
        spent_s, elapsed_s = cpu_s() - before_s, time.monotonic() - begun_s
    print(json.dumps({"cpu_pct": round(100 * spent_s / elapsed_s, 3), "n_processes": n_processes}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
