"""Measures windows in real time, in a process of its own: one that has loaded the simulated driver keeps it.

``python -m bench.accuracy_worker CARD TOOL,TOOL N_PHASES``, with the environment of :func:`nvmlsim.environment`. Reads
(load, window in seconds) pairs as JSON from stdin; the last line of stdout is a list of :func:`_window`'s results.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nvmlsim
from bench.accuracy_cases import CARDS, IDLE_W, LOADS, Load, phase
from nvmlsim import Trace

ZEUS, CODECARBON, OURS = "Zeus", "CodeCarbon", "ours"
_JOULES_PER_KWH = 3.6e6
# The cards have run so long before a window begins: their counters and averages have a past.
_PAST_S = 5.0
_WARM_UP_S = 0.3
# A load begins this long after it was written down, so that nothing is read of it before it is known.
_AHEAD_S = 0.005
_AHEAD_PER_STEP_S = 5e-6

Figures = list[dict[str, Any]]  # of each GPU: the fields of accuracy_ours.Measured


class Tool:
    """One tool watching all GPUs; ``begin`` and ``end`` are around the work."""

    def begin(self) -> None:
        """Called right before the work."""
        raise NotImplementedError

    def end(self) -> Figures:
        """Called right after it."""
        raise NotImplementedError


class Ours(Tool):
    """The package's own source for NVIDIA GPUs."""

    def __init__(self, uuids: Sequence[str]) -> None:
        from bench.accuracy_ours import warnings_of
        from llenergymeasure.core.energy_backends import NVMLBackend

        self._warnings_of = warnings_of
        self._uuids = uuids
        self._source = NVMLBackend(devices=uuids)

    def begin(self) -> None:
        """Starts tracking."""
        self._tracker = self._source.start_tracking()

    def end(self) -> Figures:
        """Stops tracking."""
        found = self._source.stop_tracking(self._tracker)
        rows = {row.device: row for row in found.devices}
        return [
            {
                "energy_j": rows[uuid].energy_j if uuid in rows else None,
                "uncertainty_j": rows[uuid].uncertainty_j if uuid in rows else None,
                "warnings": self._warnings_of(found, uuid),
            }
            for uuid in self._uuids
        ]


class Zeus(Tool):
    """``ZeusMonitor``, as its documentation begins: a window around the work."""

    def __init__(self, uuids: Sequence[str]) -> None:
        from zeus.monitor import ZeusMonitor

        self._n_gpus = len(uuids)
        self._monitor = ZeusMonitor(gpu_indices=list(range(self._n_gpus)), cpu_indices=[])

    def begin(self) -> None:
        """Begins a window."""
        self._monitor.begin_window("window", sync_execution=False)

    def end(self) -> Figures:
        """Ends it."""
        energy_j = self._monitor.end_window("window", sync_execution=False).gpu_energy
        return [{"energy_j": energy_j[index]} for index in range(self._n_gpus)]


class CodeCarbon(Tool):
    """An offline tracker that has run a task before, so that its slow start is over.

    It adds the GPUs up; their own figures are taken where it adds them.
    """

    def __init__(self, uuids: Sequence[str]) -> None:
        from codecarbon import OfflineEmissionsTracker
        from codecarbon.external.hardware import GPU

        self._n_gpus = len(uuids)
        # A rated CPU power spares it the search for one; no CPU figure is used here.
        self._tracker = OfflineEmissionsTracker(
            country_iso_code="USA",
            output_methods=[],
            log_level="error",
            force_cpu_power=10,
            allow_multiple_runs=True,
        )
        self._tracker.start_task("first")
        self._tracker.stop_task("first")
        self._devices = next(part for part in self._tracker._hardware if isinstance(part, GPU)).devices
        self._get_delta: Callable[..., list[dict[str, Any]]] = self._devices.get_delta
        self._devices.get_delta = self._noted
        self._energy_j: dict[int, float] = {}

    def begin(self) -> None:
        """Starts a task."""
        self._energy_j = dict.fromkeys(range(self._n_gpus), 0.0)
        self._tracker.start_task()

    def end(self) -> Figures:
        """Stops it; the figures noted must be those that it added up."""
        total_j = self._tracker.stop_task().gpu_energy * _JOULES_PER_KWH
        noted_j = sum(self._energy_j.values())
        assert abs(noted_j - total_j) <= 1e-6 * total_j, f"{noted_j} J were noted, CodeCarbon says {total_j}"
        return [{"energy_j": self._energy_j[index]} for index in range(self._n_gpus)]

    def _noted(self, duration: Any) -> list[dict[str, Any]]:
        details = self._get_delta(duration)
        for gpu in details:
            self._energy_j[gpu["gpu_index"]] += gpu["delta_energy_consumption"].kWh * _JOULES_PER_KWH
        return details


TOOLS: dict[str, Callable[[Sequence[str]], Tool]] = {OURS: Ours, ZEUS: Zeus, CODECARBON: CodeCarbon}


def main(card: str, tools: Sequence[str], n_phases: int) -> None:
    """Measure every window asked for, all tools in the same one: those named first are the outer ones."""
    path = Path(os.environ["NVMLSIM_SCENARIO"])
    jobs = [(LOADS[name], window_s) for name, window_s in json.load(sys.stdin)]
    uuids = _write(path, card, LOADS["constant"], n_phases)
    running = [(name, TOOLS[name](uuids)) for name in tools]
    # Like CodeCarbon's first task: what is done once in a process is not what a window costs.
    _window(path, card, LOADS["constant"], _WARM_UP_S, n_phases, running)
    print(json.dumps([_window(path, card, load, window_s, n_phases, running) for load, window_s in jobs]))


def _write(path: Path, card: str, load: Load, n_phases: int) -> list[str]:
    """A machine with a GPU for each phase; what does not go on is idle so far. Returns the UUIDs."""
    phases = [phase(number) for number in range(n_phases)]
    idle = Trace.constant(IDLE_W)
    gpus = [CARDS[card].gpu(load, load.build(0.0, 1.0, shift) if load.goes_on else idle, shift) for shift in phases]
    scenario = nvmlsim.Scenario(gpus=tuple(gpus), epoch_s=time.monotonic() - _PAST_S)
    scenario.write(path)
    return [scenario.uuid(number) for number in range(n_phases)]


def _window(
    path: Path, card: str, load: Load, window_s: float, n_phases: int, running: Sequence[tuple[str, Tool]]
) -> dict[str, Any]:
    """One window: the load, and for each tool its figures and the true joules.

    Raises:
        RuntimeError: the load was written down after it had begun, so that a tool may not have seen it.
    """
    _write(path, card, load, n_phases)
    begun_s, ended_s, found = {}, {}, {}
    for name, tool in running:
        tool.begin()
        begun_s[name] = time.monotonic()
    end_s = begun_s[running[-1][0]] + window_s
    if not load.goes_on:
        end_s, late_s = _append(path, load, window_s, n_phases)
        if late_s > 0:
            raise RuntimeError(f"the load was written {late_s:.3f} s after it began: the machine is too busy")
    time.sleep(max(0.0, end_s - time.monotonic()))
    for name, tool in reversed(running):
        ended_s[name] = time.monotonic()
        found[name] = tool.end()
    traces, epoch_s = nvmlsim.read_power_w(path), _epoch_s(path)
    return {
        "load": load.name,
        "window_s": window_s,
        "true_j": {
            name: [traces[i].integral(begun_s[name] - epoch_s, ended_s[name] - epoch_s) for i in range(n_phases)]
            for name, _ in running
        },
        "found": found,
    }


def _append(path: Path, load: Load, window_s: float, n_phases: int) -> tuple[float, float]:
    """Let the load begin in a moment, in one write for all GPUs.

    Returns:
        When it will end, and by how much its beginning had passed when it was written, in seconds of time.monotonic().
    """
    epoch_s = _epoch_s(path)
    n_steps = n_phases * len(load.build(0.0, window_s, phase(0)).steps)
    start_s = time.monotonic() + _AHEAD_S + n_steps * _AHEAD_PER_STEP_S
    lines = []
    for number in range(n_phases):
        steps = load.build(start_s - epoch_s, window_s, phase(number)).steps
        lines += [f"gpu {number} power_w {t_s!r} {watts!r}\n" for t_s, watts in steps if t_s >= start_s - epoch_s]
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, "".join(lines).encode())
    finally:
        os.close(descriptor)
    return start_s + window_s, max(0.0, time.monotonic() - start_s)


def _epoch_s(path: Path) -> float:
    with path.open(encoding="utf-8") as lines:
        return next(float(line.split()[1]) for line in lines if line.startswith("epoch_s "))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","), int(sys.argv[3]))
