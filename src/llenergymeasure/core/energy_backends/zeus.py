"""GPU energy through Zeus (extra ``zeus``)."""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import util
from typing import Any, Self

from llenergymeasure.core.background import in_a_thread, within
from llenergymeasure.core.energy_backends.base import (
    NO_GPU_IN_USE,
    SensorBase,
    SensorContext,
    no_energy,
    quiet_import,
)
from llenergymeasure.core.gpu.energy import DISAGREEMENT_PCT, GpuEnergy
from llenergymeasure.core.gpu.machine import has_energy_counter, list_gpus, visible_gpus
from llenergymeasure.core.gpu.window import GpuWindow
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyMeasurement,
    combined_uncertainty_j,
    counted_devices,
    headline_energy_j,
)
from llenergymeasure.domain.warnings import MeasurementWarning

_INSTALL = "install with pip install 'llenergymeasure[zeus]'"
_SEE_GPU = (
    "install the NVIDIA driver and check that nvidia-smi lists the GPU; Zeus is installed, and pip install "
    "'llenergymeasure[zeus]' has nothing to add"
)
_SEE_CUDA = "check CUDA_VISIBLE_DEVICES; 'llem config' lists what is visible"
_WITHOUT_ZEUS = "use energy.backend: nvml, or auto"
# Zeus tells windows apart by name.
_window_numbers = itertools.count()
# A call that hangs may hold up the start or the end of a window by this much.
_PATIENCE_S = 1.0


@dataclass(frozen=True)
class _Window:
    start_s: float
    monitor: Any
    name: str
    witness: GpuWindow | None
    error: str | None = None


class ZeusBackend(SensorBase):
    """Reads GPU energy through ``zeus.monitor.ZeusMonitor``: counters, or polled power on cards without one.

    Zeus answers 0 J where there is no GPU, and a negative number after a counter reset; neither is
    passed on. Its figures are plain differences of counter reads, off by up to a tick at either end: NVML's
    timed ticks and sampled power run beside it, bound its error, and take its place where it has no figure.
    """

    name = "zeus"
    scope = "gpu"
    remedy = _INSTALL

    def __init__(
        self,
        gpu_indices: Sequence[int] | None = None,
        *,
        devices: Sequence[str] | None = None,
        monitor_factory: Callable[[list[int]], Any] | None = None,
        visible: Callable[[], Sequence[str]] | None = None,
        has_counter: Callable[[str], bool] = has_energy_counter,
        context: SensorContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch GPUs by CUDA's index or by UUID, default all that are visible; a ``context`` gives the witness."""
        self._indices = None if gpu_indices is None else list(gpu_indices)
        self._devices = None if devices is None else tuple(devices)
        self._create = monitor_factory
        self._visible = visible or (lambda: visible_gpus().uuids)
        self._has_counter = has_counter
        self._context = context
        self._clock = clock
        self._uuid_of: dict[int, str] = {}
        self._counts: dict[str, bool] = {}
        self._monitor: Any = None

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A sensor for the GPUs of the context."""
        if context.devices is not None:
            return cls(devices=context.devices, context=context)
        # The context counts as the driver does, Zeus as CUDA does; the UUID is the same for both.
        named = [gpu.uuid for gpu in list_gpus() if gpu.index == context.device_index]
        return cls(devices=named, context=context) if named else cls([context.device_index], context=context)

    def problem(self) -> str | None:
        """Why Zeus reads nothing; None when a window over every GPU came back."""
        if self._create is None and util.find_spec("zeus") is None:
            self.remedy = _INSTALL
            return f"the package zeus is not installed; {self.remedy}"
        self.remedy = _SEE_GPU
        if self._devices == ():
            return NO_GPU_IN_USE
        problem = self._resolve()
        if problem is not None:
            return problem
        # Asked now and kept: at the end of a window the driver may not answer.
        self._counts = {uuid: self._has_counter(uuid) for uuid in self._uuid_of.values()}
        try:
            self._monitor = self._monitor or (self._create or _zeus_monitor)(list(self._uuid_of))
            name = _new_name()
            self._begin(name)
            read = self._end(self._monitor, name)
        except Exception as error:  # noqa: BLE001 - Zeus raises whatever its vendor libraries raise
            self.remedy = _WITHOUT_ZEUS
            listed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
            named = (
                "" if listed.replace(",", "").strip().isdecimal() or not listed else f" (CUDA_VISIBLE_DEVICES={listed})"
            )
            return f"Zeus cannot read the GPU{named}: {error}"
        missing = [uuid for index, uuid in self._uuid_of.items() if index not in read]
        self.remedy = _WITHOUT_ZEUS
        return f"Zeus does not see {', '.join(missing)}" if missing else None

    def start_tracking(self) -> _Window:
        """Begin a window; probes first if nobody has."""
        problem = self.problem() if self._monitor is None else None
        witness, name = None, _new_name()
        if problem is None and self._context is not None:
            witness = GpuWindow.open(self._context.sampler, self._context.own_sampler, self._clock)
        if problem is None:
            try:
                within(_PATIENCE_S, in_a_thread(lambda: self._begin(name)))
            except Exception as error:  # noqa: BLE001 - as above; the workload goes on without Zeus's figure
                problem = f"Zeus could not begin: {error}"
        witness = None if witness is None else witness.from_now()
        return _Window(self._clock(), self._monitor, name, witness, problem)

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """End the window; a figure of Zeus is believed only if it is positive and the witness allows it."""
        end_s = self._clock()
        duration = end_s - tracker.start_s
        ending = None if tracker.error is not None else in_a_thread(lambda: self._end(tracker.monitor, tracker.name))
        witness = None if tracker.witness is None else tracker.witness.close(end_s)
        seen = {} if witness is None else {gpu.row.device: gpu for gpu in witness.gpus}
        error, read = tracker.error, dict[int, float]()
        if ending is not None:
            try:
                read = within(max(0.0, _PATIENCE_S - (self._clock() - end_s)), ending)
            except Exception as raised:  # noqa: BLE001 - a sensor lost in mid-run is a missing value, not a crash
                error = f"Zeus could not read the GPU at the end: {raised}"
        if error is not None and not seen:
            return no_energy(error, duration)
        judged = [
            judge(self._row(uuid, read.get(index)), seen.get(uuid), error or f"Zeus returned {read.get(index)!r} J")
            for index, uuid in self._uuid_of.items()
        ]
        rows = tuple(row for of_one, _ in judged for row in of_one)
        warnings = tuple(warning for _, told in judged for warning in told)
        if witness is not None and not seen:
            warnings = (
                MeasurementWarning("energy_witness_unavailable", f"nothing ran beside Zeus: {witness.problem}"),
                *warnings,
            )
        total = headline_energy_j(rows)
        if total is None:
            lost = no_energy(error or f"Zeus returned {read!r}, which no GPU can have used", duration, 0, rows)
            return replace(lost, warnings=(*lost.warnings, *warnings))
        per_gpu = {row.device: row.energy_j for row in counted_devices(rows) if row.energy_j is not None}
        return EnergyMeasurement(
            total,
            duration,
            2,
            per_gpu_j=per_gpu,
            devices=rows,
            uncertainty_j=combined_uncertainty_j(rows),
            warnings=warnings,
        )

    def _begin(self, name: str) -> None:
        self._monitor.begin_window(name, sync_execution=False)

    def _end(self, monitor: Any, name: str) -> dict[int, float]:
        """Joules by CUDA's index."""
        return dict(monitor.end_window(name, sync_execution=False).gpu_energy)

    def _row(self, uuid: str, energy_j: float | None) -> DeviceEnergy:
        return DeviceEnergy(
            device=uuid,
            kind="gpu",
            energy_j=energy_j if energy_j is not None and energy_j > 0 else None,
            source="counter" if self._counts[uuid] else "integrated",
            field="ZeusMonitor gpu_energy",
            sensor=self.name,
        )

    def _resolve(self) -> str | None:
        visible = list(self._visible())
        if not visible:
            return "no NVIDIA GPU answered"
        if self._devices is not None:
            absent = [uuid for uuid in self._devices if uuid not in visible]
            if absent:
                self.remedy = _SEE_CUDA
                return f"{', '.join(absent)} is not visible to CUDA"
            self._uuid_of = {visible.index(uuid): uuid for uuid in self._devices}
            return None
        indices = range(len(visible)) if self._indices is None else self._indices
        if not all(0 <= index < len(visible) for index in indices):
            self.remedy = _SEE_CUDA
            return f"GPU indices {list(indices)} were asked for, {len(visible)} are visible"
        self._uuid_of = {index: visible[index] for index in indices}
        return None


def _new_name() -> str:
    return f"llenergymeasure-{next(_window_numbers)}"


def judge(
    zeus: DeviceEnergy, witness: GpuEnergy | None, what: str
) -> tuple[tuple[DeviceEnergy, ...], tuple[MeasurementWarning, ...]]:
    """The row to believe of a GPU, with warnings: Zeus's with the witness's bound, or the witness's own.

    Zeus's own then stands behind the witness's, as no part of the total.

    Args:
        zeus: Zeus's figure; without energy where it is none.
        witness: what NVML's ticks and power gave for the same window; None where nothing ran beside Zeus.
        what: what Zeus said, for the warning.
    """
    if witness is None:
        return (zeus,), ()
    zeus = replace(zeus, scope=witness.row.scope)
    known_j = witness.row.energy_j
    if known_j is None:
        missing = MeasurementWarning(
            "energy_witness_unavailable", f"Zeus alone measured {zeus.device}: {witness.problem}", device=zeus.device
        )
        return (zeus,), (*witness.warnings, missing) if zeus.energy_j is not None else ()
    counter_refused = zeus.source == "counter" and witness.row.source != "counter"
    if zeus.energy_j is None or counter_refused:
        why = ", from a counter that is not to be believed" if counter_refused else ""
        instead = MeasurementWarning(
            "zeus_refused",
            f"{what} for {zeus.device}{why}",
            f"its joules are NVML's ({witness.row.source}) instead",
            zeus.device,
        )
        return (witness.row, replace(zeus, headline=False)), (*witness.warnings, instead)
    apart_j = abs(zeus.energy_j - known_j)
    row = replace(
        zeus,
        uncertainty_j=apart_j + (witness.row.uncertainty_j or 0.0),
        update_period_s=witness.row.update_period_s,
        witness_j=known_j,
    )
    if apart_j <= known_j * DISAGREEMENT_PCT / 100:
        return (row,), witness.warnings
    warning = MeasurementWarning(
        "counter_disagreement",
        f"Zeus says {zeus.energy_j:.6g} J for {zeus.device}, NVML {known_j:.6g} J with its ticks "
        f"timed ({apart_j / known_j:.1%} apart)",
        "measure for longer, or use energy.backend: nvml",
        zeus.device,
    )
    return (row,), (*witness.warnings, warning)


def _zeus_monitor(indices: list[int]) -> Any:
    with quiet_import("zeus"):
        from zeus.monitor import ZeusMonitor
    return ZeusMonitor(gpu_indices=indices, cpu_indices=[])
