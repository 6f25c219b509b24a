"""What the energy sources of this package have in common."""

import contextlib
import io
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.warnings import MeasurementWarning

# Said by sources that see GPUs only.
NO_GPU_IN_USE = (
    "the experiment runs on the CPU; if a GPU is meant, see that 'llem config' lists it and install a build of the "
    "engine that has CUDA, else use energy.backend: auto"
)


@dataclass(frozen=True, kw_only=True)
class SensorContext:
    """What a source is to watch.

    ``devices`` are UUIDs of the GPUs in use, empty when there are none, None when that was not said and
    ``device_index`` counts. A sampler that is already running is used instead of a second one. ``library`` stands in
    for pynvml in tests.
    """

    devices: tuple[str, ...] | None = None
    device_index: int = 0
    interval_ms: int = 100
    sampler: PowerThermalSampler | None = None
    library: Any = None
    clock: Callable[[], float] = time.monotonic

    def own_sampler(self) -> PowerThermalSampler:
        """A new sampler of the same GPUs."""
        return PowerThermalSampler(
            self.device_index,
            devices=self.devices,
            interval_ms=self.interval_ms,
            library=self.library,
            clock=self.clock,
        )


@dataclass(frozen=True, kw_only=True)
class SourceStatus:
    """A source after it was tried: usable when ``problem`` is None."""

    name: str
    source: "EnergySourceBase"
    problem: str | None


class EnergySourceBase(ABC):
    """An ``EnergyBackend`` that can say why it is not usable, and how to make it so."""

    name: str
    sees_gpus: ClassVar[bool]
    modelled: ClassVar[bool] = False
    remedy: ClassVar[str]

    @classmethod
    @abstractmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A source that watches what the context says."""

    @abstractmethod
    def problem(self) -> str | None:
        """Why no device can be read; None when one was."""

    @abstractmethod
    def start_tracking(self) -> Any:
        """Begin a window."""

    @abstractmethod
    def stop_tracking(self, tracker: Any) -> EnergyMeasurement:
        """End the window; never raises."""

    def is_available(self) -> bool:
        """Whether a device was read."""
        return self.problem() is None


def no_energy(
    reason: str, duration_sec: float, samples: int = 0, devices: tuple[DeviceEnergy, ...] = ()
) -> EnergyMeasurement:
    """A window whose energy is not known, and why."""
    return EnergyMeasurement(
        None, duration_sec, samples, devices=devices, warnings=(MeasurementWarning("energy_unavailable", reason),)
    )


@contextlib.contextmanager
def quiet_import(logger: str) -> Iterator[None]:
    """Keep a library from printing while it is imported; its log records under ERROR are dropped for good."""
    logging.getLogger(logger).setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
