"""GPU energy through Zeus (extra ``zeus``)."""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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
    sum_or_none,
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
    """``begun_s`` is when Zeus began; ``ending`` is its figure, once the window has ended."""

    start_s: float
    begun_s: float
    monitor: Any
    name: str
    witness: GpuWindow | None
    error: str | None = None
    end_s: float | None = None
    ending: "Future[dict[int, float]] | None" = None


class ZeusBackend(SensorBase):
    """Reads GPU energy through ``zeus.monitor.ZeusMonitor``: counters, or polled power on cards without one.

    Zeus answers 0 J where there is no GPU, and a negative number after a counter reset; neither is
    passed on. Its figures are plain differences of counter reads, off by up to a tick at either end: NVML's
    timed ticks and sampled power run beside it, bound its error, and have rows of their own that are not in its total.
    Which of the two makes a result's headline is no matter of the sensor's (``headline.best_founded``).
    """

    name = "zeus"
    has_library = True
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
            return f"Zeus cannot read the GPU{_about_the_list(os.environ.get('CUDA_VISIBLE_DEVICES', ''))}: {error}"
        missing = [uuid for index, uuid in self._uuid_of.items() if index not in read]
        self.remedy = _WITHOUT_ZEUS
        return f"Zeus does not see {', '.join(missing)}" if missing else None

    def start_tracking(self) -> _Window:
        """Begin a window; probes first if nobody has."""
        return self._start(at_once=False)

    def start_at_once(self) -> _Window:
        """Begin a window anywhere in a tick."""
        return self._start(at_once=True)

    def _start(self, *, at_once: bool) -> _Window:
        problem = self.problem() if self._monitor is None else None
        witness, name = None, _new_name()
        if problem is None and self._context is not None:
            context = self._context
            witness = GpuWindow.open(context.sampler, context.own_sampler, self._clock, at_once=at_once)
        if problem is None:
            try:
                within(_PATIENCE_S, in_a_thread(lambda: self._begin(name)))
            except Exception as error:  # noqa: BLE001 - as above; the workload goes on without Zeus's figure
                problem = f"Zeus could not begin: {error}"
        now_s = self._clock()
        return self.begin_now(_Window(now_s, now_s, self._monitor, name, witness, problem))

    def begin_now(self, tracker: _Window) -> _Window:
        """The same window, beginning now for the witness; Zeus's own reading stays the one that it began with."""
        witness = None if tracker.witness is None else tracker.witness.from_now()
        return replace(tracker, start_s=self._clock(), witness=witness)

    def end_now(self, tracker: _Window) -> _Window:
        """The same window, ended now; Zeus is asked, and not waited for."""
        end_s = self._clock()
        ending = None if tracker.error is not None else in_a_thread(lambda: self._end(tracker.monitor, tracker.name))
        witness = None if tracker.witness is None else tracker.witness.until(end_s)
        return replace(tracker, end_s=end_s, witness=witness, ending=ending)

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """End the window; a figure of Zeus is believed only if it is positive and the witness allows it."""
        tracker = tracker if tracker.end_s is not None else self.end_now(tracker)
        end_s = tracker.start_s if tracker.end_s is None else tracker.end_s
        duration, ending = end_s - tracker.start_s, tracker.ending
        witness = None if tracker.witness is None else tracker.witness.close()
        seen = {} if witness is None else {gpu.row.device: gpu for gpu in witness.gpus}
        trace = () if witness is None else witness.traces
        error, read = tracker.error, dict[int, float]()
        if ending is not None:
            try:
                read = within(max(0.0, _PATIENCE_S - (self._clock() - end_s)), ending)
            except Exception as raised:  # noqa: BLE001 - a sensor lost in mid-run is a missing value, not a crash
                error = f"Zeus could not read the GPU at the end: {raised}"
        if error is not None and not seen:
            return no_energy(error, duration)
        judged = [
            judge(
                replace(self._row(uuid, read.get(index)), duration_sec=end_s - tracker.begun_s),
                seen.get(uuid),
                error or f"Zeus returned {read.get(index)!r} J",
                duration,
            )
            for index, uuid in self._uuid_of.items()
        ]
        rows = tuple(row for of_one, _ in judged for row in of_one)
        warnings = tuple(warning for _, told in judged for warning in told)
        if witness is not None and not seen:
            warnings = (
                MeasurementWarning("energy_witness_unavailable", f"nothing ran beside Zeus: {witness.problem}"),
                *warnings,
            )
        own = [of_one[0] for of_one, _ in judged]
        total = sum_or_none([None if row.headline is False else row.energy_j for row in own])
        if total is None:
            lost = no_energy(error or f"Zeus returned {read!r}, which cannot be believed", duration, 0, rows)
            return replace(lost, warnings=(*lost.warnings, *warnings), trace=trace)
        return EnergyMeasurement(
            total,
            duration,
            2,
            per_gpu_j={row.device: row.energy_j for row in own if row.energy_j is not None},
            devices=rows,
            uncertainty_j=combined_uncertainty_j(rows),
            warnings=warnings,
            trace=trace,
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


def _about_the_list(listed: str) -> str:
    """What to know of a list of GPUs that Zeus may not have understood."""
    if not listed or all(part.strip().isdecimal() for part in listed.split(",")):
        return ""
    return f", for it takes indices only (CUDA_VISIBLE_DEVICES={listed}); nvml reads the same counter"


def _new_name() -> str:
    return f"llenergymeasure-{next(_window_numbers)}"


def judge(
    zeus: DeviceEnergy, witness: GpuEnergy | None, what: str, seconds: float
) -> tuple[tuple[DeviceEnergy, ...], tuple[MeasurementWarning, ...]]:
    """The readings of a GPU, with warnings: Zeus's first, then the witness's, which is no part of Zeus's total.

    Zeus's has the witness's bound and the distance between the two. One that the witness refuses is no part of the
    total either.

    Args:
        zeus: Zeus's figure; without energy where it is none.
        witness: what NVML's ticks and power gave for the same window; None where nothing ran beside Zeus.
        what: what Zeus said, for the warning.
        seconds: length of the window.
    """
    if witness is None:
        return (zeus,), ()
    scope = witness.row.scope if zeus.source != "counter" else witness.counter_scope or witness.row.scope
    zeus, beside = replace(zeus, scope=scope), replace(witness.row, headline=False)
    known_j = witness.row.energy_j
    if known_j is None:
        missing = MeasurementWarning(
            "energy_witness_unavailable", f"Zeus alone measured {zeus.device}: {witness.problem}", device=zeus.device
        )
        return (zeus,), (*witness.warnings, missing) if zeus.energy_j is not None else ()
    counter_refused = zeus.source == "counter" and witness.counter_refused
    if zeus.energy_j is None or counter_refused:
        why = ""
        if counter_refused and witness.counter_scope is not None:
            why = f", from a counter of the {witness.counter_scope}, where power is the {witness.row.scope}'s"
        elif counter_refused:
            why = ", from a counter that is not to be believed"
        instead = MeasurementWarning(
            "zeus_refused",
            f"{what} for {zeus.device}{why}",
            f"NVML's joules ({witness.row.source}) of the same window stand beside it",
            zeus.device,
        )
        return (replace(zeus, headline=False), beside), (*witness.warnings, instead)
    apart_j = abs(zeus.energy_j - known_j)
    row = replace(
        zeus,
        uncertainty_j=apart_j + (witness.row.uncertainty_j or 0.0),
        update_period_s=witness.row.update_period_s,
        witness_j=known_j,
    )
    # Where NVML's figure is the card's own average, the counter that Zeus reads leaves out some of the time.
    is_passed_over = zeus.source == "counter" and witness.row.source != "counter"
    if is_passed_over or apart_j <= _explained_j(witness.row, known_j, seconds):
        return (row, beside), witness.warnings
    warning = MeasurementWarning(
        "counter_disagreement",
        f"Zeus says {zeus.energy_j:.6g} J for {zeus.device}, NVML {known_j:.6g} J with its ticks "
        f"timed ({apart_j / known_j:.1%} apart), which untimed ticks do not explain",
        "one of the two reads something else: compare with a meter before citing",
        zeus.device,
    )
    return (row, beside), (*witness.warnings, warning)


def _explained_j(witness: DeviceEnergy, known_j: float, seconds: float) -> float:
    """How far a plain difference may be from the timed figure: a tick's energy at either end, or five percent."""
    ticks_j = 2 * known_j * (witness.update_period_s or 0.0) / seconds if seconds > 0 else 0.0
    return max(known_j * DISAGREEMENT_PCT / 100, ticks_j + (witness.uncertainty_j or 0.0))


def _zeus_monitor(indices: list[int]) -> Any:
    with quiet_import("zeus"):
        from zeus.monitor import ZeusMonitor
    return ZeusMonitor(gpu_indices=indices, cpu_indices=[])
