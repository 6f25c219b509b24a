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
    quiet_import,
)
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, headline_energy_j

_JOULES_PER_KWH = 3.6e6
_PROBE_S = 0.1
# codecarbon.external.hardware.CPU, version 3.3: how cpu_energy came about.
_SENSING_MODES = ("intel_rapl", "intel_power_gadget", "power_metrics")
_BASIS = {"cpu_load": "CPU load", "constant": "the CPU's rated power"}
# Task names must differ within one tracker.
_task_numbers = itertools.count()


@dataclass(frozen=True)
class _Window:
    start_s: float
    task: str | None
    error: str | None = None


class CodeCarbonBackend(SensorBase):
    """Runs CodeCarbon's offline tracker: no network, no files, nothing printed.

    Its first task takes over a second to start, so probing runs one and the window never pays for it. It has one task
    at a time: a window inside another has no energy, and says so.
    Memory is guessed from the number of DIMMs; it is listed and not added to the total.
    """

    name = "codecarbon"
    scope = "package"
    modelled = True
    remedy = "install with pip install 'llenergymeasure[codecarbon]'"

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
            return f"the package codecarbon is not installed; {self.remedy}"
        window = self.start_tracking()
        self._sleep(_PROBE_S)
        data, error = self._stop(window)
        if error is not None:
            return error
        return None if data.cpu_energy > 0 else "CodeCarbon found no CPU power"

    def start_tracking(self) -> _Window:
        """Begin a task."""
        if self._is_open:
            return _Window(self._clock(), None, "CodeCarbon has one window at a time, and another one is open")
        try:
            self._tracker = self._tracker or (self._create or _offline_tracker)()
            task = f"window-{next(_task_numbers)}"
            self._tracker.start_task(task)
        except Exception as error:  # noqa: BLE001 - CodeCarbon asks many platform tools and passes on their errors
            return _Window(self._clock(), None, f"CodeCarbon could not start: {error}")
        self._is_open = True
        return _Window(self._clock(), task)

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """End the task; zero is no measurement."""
        duration = self._clock() - tracker.start_s
        data, error = self._stop(tracker)
        if error is not None:
            return no_energy(error, duration)
        rows = (_cpu_row(self._tracker, data.cpu_energy), _ram_row(data.ram_energy))
        total = headline_energy_j(rows)
        if total is None:
            return no_energy("CodeCarbon returned no CPU energy for this window", duration, 0, rows)
        return EnergyMeasurement(total, duration, 1, devices=rows)

    def _stop(self, window: _Window) -> tuple[Any, str | None]:
        if window.task is None:
            return None, window.error
        self._is_open = False
        try:
            data = self._tracker.stop_task(window.task)
        except Exception as error:  # noqa: BLE001 - as above; the workload goes on without energy
            return None, f"CodeCarbon failed: {error}"
        return data, None if data is not None else "CodeCarbon returned nothing for this window"


def _cpu_row(tracker: Any, kwh: float) -> DeviceEnergy:
    """The processor's row, with the model's own constant: every joule is proportional to it."""
    # CodeCarbon has no public way to ask how it got its figure.
    cpu = next((part for part in getattr(tracker, "_hardware", []) if type(part).__name__ == "CPU"), None)
    mode = getattr(cpu, "_mode", None)
    rated_w = getattr(cpu, "_tdp", None)
    sensed = mode in _SENSING_MODES
    return DeviceEnergy(
        device="cpu",
        kind="cpu",
        energy_j=_joules(kwh),
        source="integrated" if sensed else "modelled",
        field=f"CodeCarbon cpu_energy, mode {mode or 'unknown'}"
        + ("" if sensed or rated_w is None else f", rated power guessed at {rated_w:g} W"),
        basis=None if sensed else _BASIS.get(str(mode), "a model of CodeCarbon's"),
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


def _offline_tracker() -> Any:
    with quiet_import("codecarbon"):
        from codecarbon import OfflineEmissionsTracker

        # The country decides the emissions factor only, which is not used here.
        return OfflineEmissionsTracker(
            country_iso_code="USA", output_methods=[], log_level="error", allow_multiple_runs=True
        )
