"""CPU energy as CodeCarbon models it (extra ``codecarbon``): an estimate from load and rated power."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from typing import Any

from llenergymeasure.core.energy_backends.base import (
    SensorBase,
    no_energy,
)
from llenergymeasure.core.energy_backends.codecarbon_tracker import offline_tracker, settings_followed, tick_s
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, headline_energy_j
from llenergymeasure.domain.warnings import MeasurementWarning

_INSTALL_IT = "pip install 'llenergymeasure[codecarbon]'"
_INSTALL = f"install with {_INSTALL_IT}"
_OTHER = "CodeCarbon is installed and fails: try another version of it, or use another sensor (energy.backend: auto)"
_JOULES_PER_KWH = 3.6e6
_PROBE_S = 0.1
# codecarbon.external.hardware.CPU, version 3.3: how cpu_energy came about.
_SENSING_MODES = ("intel_rapl", "intel_power_gadget", "power_metrics", "windows_emi")
_BASIS = {"cpu_load": "CPU load", "constant": "the CPU's rated power"}
# What a model may lie above its own rated power by rounding.
_OVER_RATED = 1.01
# Task names must differ within one tracker.
_task_numbers = itertools.count()


@dataclass(frozen=True)
class _Window:
    """A task: when it was about to begin, when it had begun, and CodeCarbon's own clock then."""

    before_s: float
    start_s: float
    task: str | None
    error: str | None = None
    own_s: float | None = None


@dataclass(frozen=True)
class _Processor:
    """How CodeCarbon comes by its figure; it has no public way to ask. None is not known."""

    mode: str | None
    rated_w: float | None

    @classmethod
    def of(cls, tracker: Any) -> "_Processor":
        cpu = next((part for part in getattr(tracker, "_hardware", []) if type(part).__name__ == "CPU"), None)
        return cls(getattr(cpu, "_mode", None), getattr(cpu, "_tdp", None))

    @property
    def sensed(self) -> bool:
        return self.mode in _SENSING_MODES


class CodeCarbonBackend(SensorBase):
    """Runs CodeCarbon's offline tracker: no network, no files, nothing printed.

    Its first task takes over a second to start, so probing runs one and the window never pays for it. It has one task
    at a time: a window inside another has no energy, and says so.
    Memory is guessed from the number of DIMMs; it is listed and not added to the total.
    """

    name = "codecarbon"
    has_library = True
    scope = "package"
    modelled = True
    remedy = _INSTALL

    def __init__(
        self,
        *,
        tracker_factory: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """A tracker, a clock in seconds and a way to wait; default CodeCarbon's and the machine's."""
        self._create = tracker_factory
        self._clock = clock
        self._sleep = sleep
        self._tracker: Any = None
        self._is_open = False

    def problem(self) -> str | None:
        """Why CodeCarbon gives no figure; None when a short task gave one."""
        if self._create is None and util.find_spec("codecarbon") is None:
            self.remedy, self.command = _INSTALL, _INSTALL_IT
            return f"the package codecarbon is not installed; {self.remedy}"
        self.remedy = _OTHER
        window = self.start_tracking()
        self._sleep(_PROBE_S)
        data, error = self._stop(window)
        if error is not None:
            return error
        return None if data.cpu_energy > 0 else "CodeCarbon found no CPU power"

    def start_tracking(self) -> _Window:
        """Begin a task."""
        before_s = self._clock()
        if self._is_open:
            return _Window(before_s, before_s, None, "CodeCarbon has one window at a time, and another one is open")
        try:
            self._tracker = self._tracker or (self._create or offline_tracker)()
            task = f"window-{next(_task_numbers)}"
            before_s = self._clock()
            self._tracker.start_task(task)
        except Exception as error:  # noqa: BLE001 - CodeCarbon asks many platform tools and passes on their errors
            return _Window(before_s, self._clock(), None, f"CodeCarbon could not start: {error}")
        self._is_open = True
        return _Window(before_s, self._clock(), task, own_s=self._own_s())

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """End the task; zero is no measurement, nor is more than the rated power that CodeCarbon itself reckons with.

        A modelled figure is brought from the time that CodeCarbon took it over to the window's, at its mean power.
        """
        duration = self._clock() - tracker.start_s
        data, error = self._stop(tracker)
        if error is not None:
            return no_energy(error, duration)
        span_s = self._span_s(tracker)
        processor = _Processor.of(self._tracker)
        share = duration / span_s if span_s and not processor.sensed else 1.0
        rows = (_cpu_row(processor, data.cpu_energy * share), _ram_row(data.ram_energy * share))
        problem = _beyond_rated(processor, data.cpu_energy, span_s or self._clock() - tracker.before_s)
        if problem:
            rows = (rows[0].unknown, rows[1])
        total = headline_energy_j(rows)
        if total is None:
            return no_energy(problem or "CodeCarbon returned no CPU energy for this window", duration, 0, rows)
        return EnergyMeasurement(total, duration, 1, devices=rows, warnings=_followed(self._tracker))

    def _own_s(self) -> float | None:
        """When CodeCarbon last began or ended to count, on its clock."""
        return getattr(self._tracker, "_last_measured_time", None)

    def _span_s(self, window: _Window) -> float | None:
        """How long CodeCarbon counted for a window: from within its start call to within its stop call."""
        ended_s = self._own_s()
        if ended_s is None or window.own_s is None or ended_s <= window.own_s:
            return None
        return ended_s - window.own_s

    def _stop(self, window: _Window) -> tuple[Any, str | None]:
        if window.task is None:
            return None, window.error
        self._is_open = False
        try:
            data = self._tracker.stop_task(window.task)
        except Exception as error:  # noqa: BLE001 - as above; the workload goes on without energy
            return None, f"CodeCarbon failed: {error}"
        return data, None if data is not None else "CodeCarbon returned nothing for this window"


def _beyond_rated(processor: _Processor, kwh: float, seconds: float) -> str:
    """Why a modelled figure cannot be: its power is a share of the rated one. Empty where it can."""
    if processor.sensed or processor.rated_w is None:
        return ""
    joules, most_j = kwh * _JOULES_PER_KWH, processor.rated_w * seconds
    if joules <= _OVER_RATED * most_j:
        return ""
    return (
        f"CodeCarbon says {joules:.4g} J for {seconds:.3g} s, more than {most_j:.4g} J at the {processor.rated_w:g} W "
        "that it takes for the most"
    )


def _followed(tracker: Any) -> tuple[MeasurementWarning, ...]:
    names = settings_followed(tracker)
    if not names:
        return ()
    told = f"CodeCarbon has read settings of a file or a variable CODECARBON_*: {', '.join(names)}"
    return (MeasurementWarning("codecarbon_settings", told, "take them out"),)


def _cpu_row(processor: _Processor, kwh: float) -> DeviceEnergy:
    """The processor's row, with the model's own constant: every joule is proportional to it."""
    sensed, rated_w = processor.sensed, processor.rated_w
    return DeviceEnergy(
        device="cpu",
        kind="cpu",
        energy_j=_joules(kwh),
        source="integrated" if sensed else "modelled",
        update_period_s=tick_s() if processor.mode == "cpu_load" else None,
        field=f"CodeCarbon cpu_energy, mode {processor.mode or 'unknown'}"
        + ("" if sensed or rated_w is None else f", rated power guessed at {rated_w:g} W"),
        basis=None if sensed else _BASIS.get(str(processor.mode), "a model of CodeCarbon's"),
        sensor=CodeCarbonBackend.name,
        scope="package",
    )


def _ram_row(kwh: float) -> DeviceEnergy:
    return DeviceEnergy(
        device="ram",
        kind="dram",
        energy_j=_joules(kwh),
        source="modelled",
        field="CodeCarbon ram_energy",
        basis="the number of memory modules",
        sensor=CodeCarbonBackend.name,
        scope="dram",
    )


def _joules(kwh: float) -> float | None:
    """Zero is no measurement."""
    return kwh * _JOULES_PER_KWH if kwh > 0 else None
