"""What every sensor has without writing it, and what those of this package have in common."""

import contextlib
import io
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from llenergymeasure.core.gpu.window import GpuSampler
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyMeasurement,
    EnergyScope,
    combined_uncertainty_j,
    headline_energy_j,
)
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.protocols import GpuDriver, TelemetrySampler

# Said by sensors that see GPUs only.
NO_GPU_IN_USE = (
    "the experiment runs on the CPU; if a GPU is meant, see that 'llem config' lists it and install a build of the "
    "engine that has CUDA, else use energy.backend: auto"
)


@dataclass(frozen=True, kw_only=True)
class SensorContext:
    """What a sensor is to watch.

    ``devices`` are UUIDs of the GPUs in use, empty when there are none, None when that was not said and
    ``device_index`` counts. A sampler that is already running is used instead of a second one. ``driver`` is that of
    the GPUs; None is this machine's.
    """

    devices: tuple[str, ...] | None = None
    device_index: int = 0
    interval_ms: int = 100
    sampler: TelemetrySampler | None = None
    driver: GpuDriver | None = None
    clock: Callable[[], float] = time.monotonic

    def own_sampler(self) -> GpuSampler:
        """A new sampler of the same GPUs."""
        return PowerThermalSampler(
            self.device_index,
            self.interval_ms,
            devices=self.devices,
            driver=self.driver,
            clock=self.clock,
        )


class SensorBase:
    """An ``EnergyBackend`` whose ``start_tracking`` and ``stop_tracking`` are still to be written.

    Beside them it says whether it reads a device, by ``is_available`` or, better, by ``problem``. ``scope`` is what its
    headline covers, None where it does not say. ``modelled`` says that no sensor is behind it, so that idle power means
    nothing. ``remedy`` is what a user can do where it is not usable, ``command`` what to type, where one command is all
    of it; ``problem`` may set those that are right for what it found. ``has_library`` says that it is read through a
    library of others, which takes a while to import.
    """

    name: str
    has_library: ClassVar[bool] = False
    scope: ClassVar[EnergyScope | None] = None
    modelled: ClassVar[bool] = False
    remedy: str = ""
    command: str = ""

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:  # noqa: ARG003 - a default
        """One that watches what the context says; by default there is nothing to choose."""
        return cls()

    def problem(self) -> str | None:
        """Why no device can be read; None when one was."""
        if type(self).is_available is SensorBase.is_available:
            raise NotImplementedError(f"{type(self).__name__} has neither problem() nor is_available()")
        return None if self.is_available() else "it read no device"

    def is_available(self) -> bool:
        """Whether a device was read."""
        return self.problem() is None

    def start_tracking(self) -> Any:
        """Begin a window."""
        raise NotImplementedError(f"{type(self).__name__} has no start_tracking()")

    def start_at_once(self) -> Any:
        """Begin a window while a load runs that is not to wait; a sensor that looks for its edge looks beside it."""
        return self.start_tracking()

    def begin_now(self, tracker: Any) -> Any:
        """The same window, beginning now, when other sensors have been started too; by default as it began."""
        return tracker

    def end_now(self, tracker: Any) -> Any:
        """The same window, ended now; what is read from here on only completes it. By default it ends when stopped."""
        return tracker

    def power_now(self) -> Callable[[], Mapping[str, float]] | None:
        """What reads the watts of now, by device, for whoever watches; None where it does not read power by itself."""
        return None

    def stop_tracking(self, tracker: Any) -> EnergyMeasurement:
        """End the window; never raises."""
        raise NotImplementedError(f"{type(self).__name__} has no stop_tracking()")


def can_begin_now(sensor: SensorBase) -> bool:
    """Whether a window of a sensor can begin anew, so that it does not matter how long others take to start."""
    return type(sensor).begin_now is not SensorBase.begin_now


def sees_gpus(sensor: SensorBase) -> bool:
    """Whether the energy of GPUs is in what a sensor reads; one that does not say is taken at the user's word."""
    return sensor.scope not in ("package", "dram")


def no_energy(
    reason: str, duration_sec: float, samples: int = 0, devices: tuple[DeviceEnergy, ...] = ()
) -> EnergyMeasurement:
    """A window whose energy is not known, and why."""
    return EnergyMeasurement(
        None, duration_sec, samples, devices=devices, warnings=(MeasurementWarning("energy_unavailable", reason),)
    )


def energy_of_rows(
    rows: tuple[DeviceEnergy, ...],
    duration_sec: float,
    samples: int,
    reason: str,
    warnings: tuple[MeasurementWarning, ...] = (),
) -> EnergyMeasurement:
    """A window whose energy is that of its [n] rows; where they have no total, ``reason`` says why."""
    total_j = headline_energy_j(rows)
    if total_j is None:
        lost = no_energy(reason, duration_sec, samples, rows)
        return replace(lost, warnings=(*lost.warnings, *warnings))
    bound_j = combined_uncertainty_j(rows)
    return EnergyMeasurement(total_j, duration_sec, samples, devices=rows, uncertainty_j=bound_j, warnings=warnings)


@contextlib.contextmanager
def quiet_import(logger: str) -> Iterator[None]:
    """Keep a library from printing while it is imported; its log records under ERROR are dropped for good."""
    logging.getLogger(logger).setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
