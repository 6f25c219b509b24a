"""GPU energy through Zeus (extra ``zeus``)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import util
from typing import Any, Self

from llenergymeasure.core.energy_backends.source import (
    EnergySourceBase,
    SensorContext,
    no_energy,
    quiet_import,
)
from llenergymeasure.core.gpu_info import has_energy_counter, list_gpus, visible_gpus
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, headline_energy_j

_WINDOW = "llenergymeasure"


@dataclass(frozen=True)
class _Window:
    start_s: float
    monitor: Any
    error: str | None = None


class ZeusBackend(EnergySourceBase):
    """Reads GPU energy through ``zeus.monitor.ZeusMonitor``: counters, or polled power on cards without one.

    Zeus answers 0 J where there is no GPU, and a negative number after a counter reset; neither is
    passed on.
    """

    sees_gpus = True
    remedy = "install with pip install 'llenergymeasure[zeus]'"

    def __init__(
        self,
        gpu_indices: Sequence[int] | None = None,
        *,
        devices: Sequence[str] | None = None,
        monitor_factory: Callable[[list[int]], Any] | None = None,
        visible: Callable[[], Sequence[str]] | None = None,
        has_counter: Callable[[str], bool] = has_energy_counter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch GPUs by CUDA's index or by UUID; default all that are visible."""
        self.name = "zeus"
        self._indices = None if gpu_indices is None else list(gpu_indices)
        self._devices = None if devices is None else tuple(devices)
        self._create = monitor_factory
        self._visible = visible or (lambda: visible_gpus().uuids)
        self._has_counter = has_counter
        self._clock = clock
        self._uuid_of: dict[int, str] = {}
        self._monitor: Any = None

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A source for the GPUs of the context."""
        if context.devices is not None:
            return cls(devices=context.devices)
        # The context counts as the driver does, Zeus as CUDA does; the UUID is the same for both.
        named = [gpu.uuid for gpu in list_gpus() if gpu.index == context.device_index]
        return cls(devices=named) if named else cls([context.device_index])

    def problem(self) -> str | None:
        """Why Zeus reads nothing; None when a window over every GPU came back."""
        if self._devices == ():
            return "no GPU is in use"
        if self._create is None and util.find_spec("zeus") is None:
            return f"the package zeus is not installed; {self.remedy}"
        problem = self._resolve()
        if problem is not None:
            return problem
        try:
            self._monitor = self._monitor or (self._create or _zeus_monitor)(list(self._uuid_of))
            self._monitor.begin_window(_WINDOW, sync_execution=False)
            read = self._monitor.end_window(_WINDOW, sync_execution=False).gpu_energy
        except Exception as error:  # noqa: BLE001 - Zeus raises whatever its vendor libraries raise
            return f"Zeus cannot read the GPU: {error}"
        missing = [uuid for index, uuid in self._uuid_of.items() if index not in read]
        return f"Zeus does not see {', '.join(missing)}" if missing else None

    def start_tracking(self) -> _Window:
        """Begin a window; probes first if nobody has."""
        problem = self.problem() if self._monitor is None else None
        if problem is None:
            try:
                self._monitor.begin_window(_WINDOW, sync_execution=False)
            except Exception as error:  # noqa: BLE001 - as above; the workload goes on without energy
                problem = f"Zeus could not begin: {error}"
        return _Window(self._clock(), self._monitor, problem)

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """End the window; what Zeus returns is believed only if every GPU gave a positive figure."""
        duration = self._clock() - tracker.start_s
        if tracker.error is not None:
            return no_energy(tracker.error, duration)
        try:
            read = tracker.monitor.end_window(_WINDOW, sync_execution=False).gpu_energy
        except Exception as error:  # noqa: BLE001 - a sensor lost in mid-run is a missing value, not a crash
            return no_energy(f"Zeus could not read the GPU at the end: {error}", duration)
        rows = tuple(
            DeviceEnergy(
                device=uuid,
                kind="gpu",
                energy_j=_believable(read.get(index)),
                source="counter" if self._has_counter(uuid) else "integrated",
                field="ZeusMonitor gpu_energy",
            )
            for index, uuid in self._uuid_of.items()
        )
        total = headline_energy_j(rows)
        if total is None:
            return no_energy(f"Zeus returned {read!r}, which no GPU can have used", duration, 0, rows)
        per_gpu = {row.device: row.energy_j for row in rows if row.energy_j is not None}
        return EnergyMeasurement(total, duration, 2, per_gpu_j=per_gpu, devices=rows)

    def _resolve(self) -> str | None:
        visible = list(self._visible())
        if not visible:
            return "no NVIDIA GPU answered"
        if self._devices is not None:
            absent = [uuid for uuid in self._devices if uuid not in visible]
            if absent:
                return f"{', '.join(absent)} is not visible to CUDA"
            self._uuid_of = {visible.index(uuid): uuid for uuid in self._devices}
            return None
        indices = range(len(visible)) if self._indices is None else self._indices
        if not all(0 <= index < len(visible) for index in indices):
            return f"GPU indices {list(indices)} were asked for, {len(visible)} are visible"
        self._uuid_of = {index: visible[index] for index in indices}
        return None


def _believable(energy_j: float | None) -> float | None:
    return energy_j if energy_j is not None and energy_j > 0 else None


def _zeus_monitor(indices: list[int]) -> Any:
    with quiet_import("zeus"):
        from zeus.monitor import ZeusMonitor
    return ZeusMonitor(gpu_indices=indices, cpu_indices=[])
