"""GPU energy as sampled NVML power, integrated over the window."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from llenergymeasure.core.energy_backends.source import EnergySourceBase, SensorContext, no_energy
from llenergymeasure.core.nvml import NvmlDevice, NvmlUnavailableError, nvml_session
from llenergymeasure.core.power_thermal import PowerThermalSampler
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, headline_energy_j
from llenergymeasure.domain.telemetry import PowerThermalSample, integrate_power_j

__all__ = ["EnergyMeasurement", "NVMLBackend"]


@dataclass(frozen=True)
class _Window:
    start_s: float
    sampler: PowerThermalSampler
    owned: bool


class NVMLBackend(EnergySourceBase):
    """Polls the power of NVIDIA GPUs, every 100 ms unless told otherwise."""

    sees_gpus = True
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
        self.name = "nvml"
        self._index = device_index
        self._uuids = None if devices is None else tuple(devices)
        self._interval_ms = interval_ms
        self._shared = sampler
        self._library = library
        self._clock = clock

    @classmethod
    def in_context(cls, context: SensorContext) -> Self:
        """A source for the GPUs of the context."""
        return cls(
            context.device_index,
            devices=context.devices,
            interval_ms=context.interval_ms,
            sampler=context.sampler,
        )

    def problem(self) -> str | None:
        """Why no power can be read; None when every GPU gave one."""
        if self._uuids == ():
            return "no GPU is in use"
        try:
            with nvml_session(self._library) as nvml:
                found = nvml.find(self._uuids, self._index)
                silent = [device.uuid for device in found if device.power_w() is None]
        except NvmlUnavailableError as error:
            return str(error)
        return f"{', '.join(silent)} reports no power" if silent else None

    def start_tracking(self) -> _Window:
        """Begin a window, with a sampler of its own unless one is running."""
        if self._shared is not None and self._shared.running:
            return _Window(self._clock(), self._shared, owned=False)
        sampler = PowerThermalSampler(
            self._index,
            devices=self._uuids,
            interval_ms=self._interval_ms,
            library=self._library,
            clock=self._clock,
        )
        sampler.start()
        return _Window(self._clock(), sampler, owned=True)

    def stop_tracking(self, tracker: _Window) -> EnergyMeasurement:
        """Integrate the power between the two calls; a lost GPU or a long gap gives no total."""
        end_s = self._clock()
        if tracker.owned:
            tracker.sampler.stop()
        samples = tracker.sampler.get_samples()
        watched = tracker.sampler.devices
        duration = end_s - tracker.start_s
        if not watched:
            return no_energy(tracker.sampler.problem or "no GPU is watched", duration)
        rows = tuple(self._device_energy(d, samples, tracker, end_s) for d in watched)
        total = headline_energy_j(rows)
        in_window = sum(tracker.start_s <= s.timestamp <= end_s for s in samples)
        if total is None:
            lost = ", ".join(row.device for row in rows if row.energy_j is None)
            reason = tracker.sampler.problem or (
                f"the power of {lost} was not read often enough over the {duration:.3g} s of the window "
                f"({in_window} samples); measure for longer, or look after the driver"
            )
            return no_energy(reason, duration, in_window, rows)
        per_gpu = {row.device: row.energy_j for row in rows if row.energy_j is not None}
        return EnergyMeasurement(total, duration, in_window, per_gpu_j=per_gpu, devices=rows)

    def _device_energy(
        self, device: NvmlDevice, samples: Sequence[PowerThermalSample], window: _Window, end_s: float
    ) -> DeviceEnergy:
        # A clock may be coarser than two reads in a row; of equal times the first counts.
        own = {s.timestamp: s.power_w for s in reversed(samples) if s.gpu_index == device.index}
        times = sorted(own)
        energy = None
        if end_s > window.start_s:
            energy = integrate_power_j(
                times,
                [own[t] for t in times],
                start_s=window.start_s,
                end_s=end_s,
                period_s=window.sampler.interval_s,
            )
        return DeviceEnergy(
            device=device.uuid,
            kind="gpu",
            energy_j=energy,
            source="integrated",
            update_period_s=window.sampler.interval_s,
            field=device.power_field,
        )
