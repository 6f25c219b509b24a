"""CPU energy as CodeCarbon models it (extra ``codecarbon``): an estimate from load and rated power."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from typing import Any, Self

from llenergymeasure.core.energy_backends.source import (
    EnergySourceBase,
    SensorContext,
    no_energy,
    only_cpu_seen,
    quiet_import,
)
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, headline_energy_j

_JOULES_PER_KWH = 3.6e6
_PROBE_S = 0.1
# Task names must differ within one tracker.
_task_numbers = itertools.count()


@dataclass(frozen=True)
class _Window:
    start_s: float
    task: str | None
    error: str | None = None


class CodeCarbonBackend(EnergySourceBase):
    """Runs CodeCarbon's offline tracker: no network, no files, nothing printed.

    Its first task takes over a second to start, so probing runs one and the window never pays for it.
    Memory is guessed from the number of DIMMs; it is listed and not added to the total.
    """

    sees_gpus = False
    modelled = True
    remedy = "install with pip install 'llenergymeasure[codecarbon]'"

    def __init__(
        self,
        *,
        gpu_in_use: bool = False,
        tracker_factory: Callable[[], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """With a GPU in use CPU and memory are listed and no total is given."""
        self.name = "codecarbon"
        self._gpu_in_use = gpu_in_use
        self._create = tracker_factory
        self._clock = clock
        self._sleep = sleep
        self._tracker: Any = None

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A source that knows whether a GPU is in use."""
        return cls(gpu_in_use=bool(context.devices))

    def problem(self) -> str | None:
        """Why CodeCarbon gives no figure; None when a short task gave one."""
        if self._create is None and util.find_spec("codecarbon") is None:
            return "the package codecarbon is not installed"
        window = self.start_tracking()
        self._sleep(_PROBE_S)
        data, error = self._stop(window)
        if error is not None:
            return error
        return None if data.cpu_energy > 0 else "CodeCarbon found no CPU power"

    def start_tracking(self) -> _Window:
        """Begin a task."""
        try:
            self._tracker = self._tracker or (self._create or _offline_tracker)()
            task = f"window-{next(_task_numbers)}"
            self._tracker.start_task(task)
        except Exception as error:  # noqa: BLE001 - CodeCarbon asks many platform tools and passes on their errors
            return _Window(self._clock(), None, f"CodeCarbon could not start: {error}")
        return _Window(self._clock(), task)

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """End the task; zero is no measurement."""
        duration = self._clock() - tracker.start_s
        data, error = self._stop(tracker)
        if error is not None:
            return no_energy(error, duration)
        rows = (
            _row("cpu", "cpu", data.cpu_energy, "CodeCarbon cpu_energy"),
            _row("ram", "dram", data.ram_energy, "CodeCarbon ram_energy"),
        )
        if self._gpu_in_use:
            return only_cpu_seen(rows, duration)
        total = headline_energy_j(rows)
        if total is None:
            return no_energy("CodeCarbon returned no CPU energy for this window", duration, 0, rows)
        return EnergyMeasurement(total, duration, 1, devices=rows)

    def _stop(self, window: _Window) -> tuple[Any, str | None]:
        if window.task is None:
            return None, window.error
        try:
            data = self._tracker.stop_task(window.task)
        except Exception as error:  # noqa: BLE001 - as above; the workload goes on without energy
            return None, f"CodeCarbon failed: {error}"
        return data, None if data is not None else "CodeCarbon returned nothing for this window"


def _row(device: str, kind: Any, kwh: float, field: str) -> DeviceEnergy:
    joules = kwh * _JOULES_PER_KWH
    return DeviceEnergy(
        device=device, kind=kind, energy_j=joules if joules > 0 else None, source="modelled", field=field
    )


def _offline_tracker() -> Any:
    with quiet_import("codecarbon"):
        from codecarbon import OfflineEmissionsTracker

        # The country decides the emissions factor only, which is not used here.
        return OfflineEmissionsTracker(
            country_iso_code="USA", output_methods=[], log_level="error", allow_multiple_runs=True
        )
