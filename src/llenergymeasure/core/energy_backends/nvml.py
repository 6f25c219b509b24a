"""GPU energy from NVML: energy counters with their ticks timed, and sampled power beside them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

from llenergymeasure.core.energy_backends.base import NO_GPU_IN_USE, SensorBase, SensorContext, no_energy
from llenergymeasure.core.nvidia.gpu_window import GpuWindow
from llenergymeasure.core.nvidia.nvml import NvmlUnavailableError, nvml_session
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.domain.metrics import EnergyMeasurement, combined_uncertainty_j, headline_energy_j

__all__ = ["EnergyMeasurement", "NVMLBackend"]


class NVMLBackend(SensorBase):
    """Reads energy counters and power of NVIDIA GPUs, every 100 ms unless told otherwise."""

    name = "nvml"
    scope = "gpu"
    remedy = "install the NVIDIA driver and check that nvidia-smi lists the GPU, or use energy.backend: auto"

    def __init__(
        self,
        device_index: int = 0,
        *,
        devices: Sequence[str] | None = None,
        interval_ms: int = 100,
        sampler: PowerThermalSampler | None = None,
        library: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch one GPU by NVML index, or the GPUs of these UUIDs; share a sampler that runs already."""
        self._context = SensorContext(
            devices=None if devices is None else tuple(devices),
            device_index=device_index,
            interval_ms=interval_ms,
            sampler=sampler,
            library=library,
            clock=clock,
        )

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A sensor for the GPUs of the context."""
        return cls(
            context.device_index,
            devices=context.devices,
            interval_ms=context.interval_ms,
            sampler=context.sampler,
            library=context.library,
            clock=context.clock,
        )

    def problem(self) -> str | None:
        """Why no power can be read; None when every GPU gave one."""
        if self._context.devices == ():
            return NO_GPU_IN_USE
        try:
            with nvml_session(self._context.library) as nvml:
                found = nvml.find(self._context.devices, self._context.device_index)
                silent = [device.uuid for device in found if device.power_w() is None]
        except NvmlUnavailableError as error:
            return str(error)
        return f"{', '.join(silent)} reports no power" if silent else None

    def start_tracking(self) -> GpuWindow:
        """Begin a window, with a sampler of its own unless one is running."""
        return GpuWindow.open(self._context.sampler, self._context.own_sampler, self._context.clock)

    def stop_tracking(self, tracker: GpuWindow) -> EnergyMeasurement:
        """Energy between the two calls: the counters', guarded by sampled power; a lost GPU gives no total."""
        found = tracker.close()
        rows = tuple(gpu.row for gpu in found.gpus)
        warnings = tuple(warning for gpu in found.gpus for warning in gpu.warnings)
        total = headline_energy_j(rows)
        if total is None:
            reasons = [gpu.problem for gpu in found.gpus if gpu.problem is not None]
            reason = found.problem or "; ".join(reasons) or "no GPU is watched"
            lost = no_energy(reason, found.duration_sec, found.n_samples, rows)
            return replace(lost, warnings=(*lost.warnings, *warnings))
        return EnergyMeasurement(
            total,
            found.duration_sec,
            found.n_samples,
            per_gpu_j={row.device: row.energy_j for row in rows if row.energy_j is not None},
            devices=rows,
            uncertainty_j=combined_uncertainty_j(rows),
            warnings=warnings,
        )
