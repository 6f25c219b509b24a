"""GPU energy from NVML."""

import time
from collections.abc import Callable, Sequence
from typing import Self

from llenergymeasure.core.energy_backends.base import SensorContext
from llenergymeasure.core.energy_backends.gpu import GpuSensor
from llenergymeasure.core.nvidia.nvml import NvidiaDriver
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.protocols import GpuDriver, TelemetrySampler

__all__ = ["EnergyMeasurement", "NVMLBackend"]


class NVMLBackend(GpuSensor):
    """Reads energy counters and power of NVIDIA GPUs, every 100 ms unless told otherwise."""

    name = "nvml"
    remedy = "install the NVIDIA driver and check that nvidia-smi lists the GPU, or use energy.backend: auto"
    remedy_without_power = "see with 'nvidia-smi -q -d POWER' what the card reports; MIG slices report none"
    driver = NvidiaDriver

    def __init__(
        self,
        device_index: int = 0,
        *,
        devices: Sequence[str] | None = None,
        interval_ms: int = 100,
        sampler: TelemetrySampler | None = None,
        driver: GpuDriver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch one GPU by NVML index, or the GPUs of these UUIDs; share a sampler that runs already."""
        super().__init__(
            SensorContext(
                devices=None if devices is None else tuple(devices),
                device_index=device_index,
                interval_ms=interval_ms,
                sampler=sampler,
                driver=driver,
                clock=clock,
            )
        )

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A sensor for the GPUs of the context."""
        return cls(
            context.device_index,
            devices=context.devices,
            interval_ms=context.interval_ms,
            sampler=context.sampler,
            driver=context.driver,
            clock=context.clock,
        )
