"""Power, temperature, memory and throttle state of GPUs over time, read through NVML in one thread."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from llenergymeasure.core.nvml import NvmlDevice, NvmlUnavailableError, nvml_session
from llenergymeasure.domain.telemetry import (
    HW_THERMAL_SLOWDOWN,
    SW_THERMAL_SLOWDOWN,
    PowerThermalSample,
)

__all__ = ["PowerThermalSample", "PowerThermalSampler"]

# A driver call that hangs may hold up the end of a window by this much and no more.
_JOIN_TIMEOUT_S = 1.0

# NVML sessions under a call that never came back: closing them would pull the library from under it.
_abandoned: list[ExitStack] = []


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
        self._devices: list[NvmlDevice] = []
        self._recording: _Recording | None = None

    @property
    def devices(self) -> Sequence[NvmlDevice]:
        """The GPUs that are or were watched since the last start."""
        return self._devices

    @property
    def running(self) -> bool:
        """Whether samples are being taken."""
        return self._recording is not None and self._recording.is_alive()

    def start(self) -> None:
        """Take a first sample and go on in a thread; what an earlier start recorded is dropped."""
        self.stop()
        self._recording, self._devices, self.problem = None, [], None
        if self._uuids == ():
            self.problem = "no GPU is in use"
            return
        resources = ExitStack()
        try:
            self._devices = resources.enter_context(nvml_session(self._library)).find(self._uuids, self._index)
        except NvmlUnavailableError as error:
            resources.close()
            self.problem = str(error)
            return
        self._recording = _Recording(self._devices, self.interval_s, self._clock, resources)
        self._recording.sample()
        self._recording.start()

    def stop(self) -> None:
        """End sampling with a last sample; waits at most a second for a driver that hangs."""
        if self._recording is not None and not self._recording.finish():
            self.problem = f"the driver did not answer within {_JOIN_TIMEOUT_S:g} s"

    def get_samples(self) -> list[PowerThermalSample]:
        """Samples so far, oldest first."""
        return [] if self._recording is None else self._recording.samples()


class _Recording(threading.Thread):
    """The samples between one start and its stop; a new start gets a new one."""

    def __init__(
        self, devices: Sequence[NvmlDevice], interval_s: float, clock: Callable[[], float], resources: ExitStack
    ) -> None:
        super().__init__(name="power-thermal", daemon=True)
        self._watched = devices
        self._interval_s = interval_s
        self._clock = clock
        self._resources = resources
        self._samples: list[PowerThermalSample] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._finished = False

    def run(self) -> None:
        """Sample in a steady rhythm; after a slow call skip what was missed instead of catching up."""
        due = self._clock() + self._interval_s
        while not self._stopping.wait(max(0.0, due - self._clock())):
            self.sample()
            due = max(due + self._interval_s, self._clock())
        self.sample()  # the edge of the window, here so that a driver that hangs cannot hold up the caller

    def sample(self) -> None:
        """Read every GPU once."""
        for device in self._watched:
            reading = read_sample(device, self._clock)
            with self._lock:
                if not self._finished:
                    self._samples.append(reading)

    def samples(self) -> list[PowerThermalSample]:
        """A copy of what there is."""
        with self._lock:
            return list(self._samples)

    def finish(self) -> bool:
        """Take the last sample and close; False when the driver does not come back."""
        if self._finished:
            return True
        self._stopping.set()
        self.join(_JOIN_TIMEOUT_S)
        with self._lock:
            self._finished = True
        if self.is_alive():
            _abandoned.append(self._resources)
            return False
        self._resources.close()
        return True


def read_sample(device: NvmlDevice, clock: Callable[[], float]) -> PowerThermalSample:
    """One reading of everything; the time stamp is the middle of the power call."""
    before = clock()
    power_w = device.power_w()
    timestamp = (before + clock()) / 2
    used_mb, total_mb = device.memory_mb()
    reasons = device.throttle_reasons()
    return PowerThermalSample(
        timestamp=timestamp,
        power_w=power_w,
        temperature_c=device.temperature_c(),
        memory_used_mb=used_mb,
        memory_total_mb=total_mb,
        sm_utilisation=device.sm_utilisation_pct(),
        thermal_throttle=bool((reasons or 0) & (SW_THERMAL_SLOWDOWN | HW_THERMAL_SLOWDOWN)),
        throttle_reasons=reasons,
        gpu_index=device.index,
    )
