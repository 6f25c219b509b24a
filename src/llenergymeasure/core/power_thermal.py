"""Power, temperature, memory and throttle state of GPUs over time, read through NVML in one thread."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from llenergymeasure.core.nvml import Nvml, NvmlDevice, NvmlUnavailableError, nvml_session
from llenergymeasure.domain.telemetry import (
    HW_THERMAL_SLOWDOWN,
    SW_THERMAL_SLOWDOWN,
    PowerThermalSample,
)

__all__ = ["PowerThermalSample", "PowerThermalSampler"]

# A driver call that hangs may hold up the end of a window by this much and no more.
_JOIN_TIMEOUT_S = 1.0


class PowerThermalSampler:
    """Samples GPUs in the background; implements ``TelemetrySampler``.

    Starting without a driver or without devices is no error: there are no samples then, and
    ``problem`` says why. A failed read is a sample with None in its place.
    """

    def __init__(
        self,
        device_index: int = 0,
        *,
        devices: Sequence[str] | None = None,
        interval_ms: int = 100,
        library: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch one GPU by its NVML index, or the GPUs of these UUIDs (an empty list watches none)."""
        self.interval_s = interval_ms / 1000
        self.problem: str | None = None
        self._index = device_index
        self._uuids = None if devices is None else tuple(devices)
        self._library = library
        self._clock = clock
        self._samples: list[PowerThermalSample] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._resources = ExitStack()
        self._devices: list[NvmlDevice] = []

    @property
    def devices(self) -> Sequence[NvmlDevice]:
        """The GPUs being watched; empty before ``start``."""
        return self._devices

    def start(self) -> None:
        """Take a first sample and go on in a thread."""
        with self._lock:
            self._samples = []
        self._stopping.clear()
        self.problem = None
        if self._uuids == ():
            self.problem = "no GPU is in use"
            return
        try:
            nvml = self._resources.enter_context(nvml_session(self._library))
            self._devices = self._find(nvml)
        except NvmlUnavailableError as error:
            self._resources.close()
            self.problem = str(error)
            return
        self._sample()
        self._thread = threading.Thread(target=self._run, name="power-thermal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and take a last sample; waits at most a second for a driver that hangs."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping.set()
        thread.join(_JOIN_TIMEOUT_S)
        if thread.is_alive():
            # The library must stay loaded under the hanging call; the daemon thread ends with the process.
            self._resources.pop_all()
            self.problem = f"the driver did not answer within {_JOIN_TIMEOUT_S:g} s"
            return
        self._sample()
        self._resources.close()

    def get_samples(self) -> list[PowerThermalSample]:
        """Samples so far, oldest first."""
        with self._lock:
            return list(self._samples)

    def _find(self, nvml: Nvml) -> list[NvmlDevice]:
        if self._uuids is None:
            return [nvml.device_by_index(self._index)]
        return [nvml.device_by_uuid(uuid) for uuid in self._uuids]

    def _run(self) -> None:
        due = self._clock() + self.interval_s
        while not self._stopping.wait(max(0.0, due - self._clock())):
            self._sample()
            # Keep the rhythm; after a slow call skip what was missed instead of catching up.
            due = max(due + self.interval_s, self._clock())

    def _sample(self) -> None:
        for device in self._devices:
            sample = read_sample(device, self._clock)
            with self._lock:
                self._samples.append(sample)


def read_sample(device: NvmlDevice, clock: Callable[[], float]) -> PowerThermalSample:
    """One reading of everything; the time stamp is the middle of the power call."""
    before = clock()
    power_w = device.power_w()
    timestamp = (before + clock()) / 2
    used_mb, total_mb = device.memory_mb()
    reasons = device.throttle_reasons() or 0
    return PowerThermalSample(
        timestamp=timestamp,
        power_w=power_w,
        temperature_c=device.temperature_c(),
        memory_used_mb=used_mb,
        memory_total_mb=total_mb,
        sm_utilisation=device.sm_utilisation_pct(),
        thermal_throttle=bool(reasons & (SW_THERMAL_SLOWDOWN | HW_THERMAL_SLOWDOWN)),
        throttle_reasons=reasons,
        gpu_index=device.index,
    )
