# ruff: noqa: N802 - the functions carry the driver library's own names
"""A stand-in for the module pynvml over nvmlsim's physics and a clock that only moves when it is told to.

So a window of 20 s takes milliseconds, and the same case gives the same figures on every machine.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import nvmlsim

# NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, _POWER_AVERAGE and _POWER_INSTANT of nvml.h.
_ENERGY, _AVERAGE, _INSTANT = 83, 185, 186
# NVML_DEVICE_ARCH_* of nvml.h.
ARCHITECTURES = {
    "kepler": 2,
    "maxwell": 3,
    "pascal": 4,
    "volta": 5,
    "turing": 6,
    "ampere": 7,
    "ada": 8,
    "hopper": 9,
    "blackwell": 10,
}
_INVALID_ARGUMENT, _NOT_SUPPORTED, _NOT_FOUND = 2, 3, 6


class SimulatedClock:
    """Seconds that pass only in :meth:`sleep`; call it for the time, as ``time.monotonic``."""

    def __init__(self, now_s: float = 0.0) -> None:
        self._now_s = now_s

    def __call__(self) -> float:
        """The time in seconds."""
        return self._now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass; nothing happens for a negative number."""
        self._now_s += max(0.0, seconds)

    def sleep_until(self, at_s: float) -> None:
        """Let time pass until then; nothing happens if that was earlier."""
        self._now_s = max(self._now_s, at_s)

    def at_once(self, jobs: Sequence[Iterator[float]], sleep: Callable[[float], None]) -> float:  # noqa: ARG002
        """Run jobs as if each had a thread of its own; each gives the seconds that it waits, and takes what it takes.

        The processor time of threads is 0. Afterwards it is as late as when the last of them has ended.
        """
        waiting = [(self._now_s, number, job) for number, job in enumerate(jobs)]
        last_s = self._now_s
        while waiting:
            self._now_s, number, job = heapq.heappop(waiting)
            pause_s = next(job, None)
            last_s = max(last_s, self._now_s)
            if pause_s is not None:
                heapq.heappush(waiting, (self._now_s + pause_s, number, job))
        self._now_s = last_s
        return 0.0


class NVMLError(Exception):
    """What every refused call raises; ``value`` is the driver's code."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class _Handle:
    """One GPU as a program holds it, with the last value of its counter: ticks of a fed one cost long sums."""

    def __init__(self, index: int, uuid: str, gpu: nvmlsim.Gpu) -> None:
        self.index, self.uuid, self.gpu = index, uuid, gpu
        self._tick: int | None = None
        self._counter_mj = 0

    def counter_mj(self, t_s: float) -> int:
        counter = self.gpu.counter
        if counter is None:
            raise NVMLError(_NOT_SUPPORTED)
        tick = (_ns(t_s) - _ns(counter.phase_s)) // _ns(counter.tick_s)
        if tick != self._tick:
            self._tick, self._counter_mj = tick, nvmlsim.counter_mj(self.gpu, t_s)
        return self._counter_mj

    def sensor_mw(self, sensor: nvmlsim.Sensor | None, t_s: float) -> int:
        if sensor is None:
            raise NVMLError(_NOT_SUPPORTED)
        return round(nvmlsim.sensor_power_w(self.gpu, sensor, t_s) * 1000)


class SimulatedNvml:
    """pynvml's functions for the GPUs of a scenario. Give it where a library is asked for.

    Every call takes ``call_s`` on the clock and answers as of its middle. The clock shows scenario time in seconds.
    Faults of the scenario other than the counter's own are not simulated.
    """

    NVMLError = NVMLError
    NVML_SUCCESS = 0
    NVML_TEMPERATURE_GPU = 0
    NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION = _ENERGY
    NVML_FI_DEV_POWER_AVERAGE = _AVERAGE
    NVML_FI_DEV_POWER_INSTANT = _INSTANT

    def __init__(self, scenario: nvmlsim.Scenario, clock: SimulatedClock, *, call_s: float = 20e-6) -> None:
        """Calls of 20 us by default; through pynvml the simulated library takes 4 to 9 us."""
        self.call_s = call_s
        self._clock = clock
        self._scenario = scenario
        self._handles = [_Handle(i, scenario.uuid(i), gpu) for i, gpu in enumerate(scenario.gpus)]

    def nvmlInit(self) -> None:
        """Nothing to do."""

    def nvmlShutdown(self) -> None:
        """Nothing to do."""

    def nvmlSystemGetDriverVersion(self) -> str:
        """Version of the scenario's driver."""
        self._call()
        return self._scenario.driver

    def nvmlDeviceGetCount(self) -> int:
        """Number of GPUs."""
        self._call()
        return len(self._handles)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> _Handle:
        """A GPU by its number."""
        self._call()
        if not 0 <= index < len(self._handles):
            raise NVMLError(_INVALID_ARGUMENT)
        return self._handles[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str | bytes) -> _Handle:
        """A GPU by its UUID."""
        self._call()
        wanted = uuid.decode() if isinstance(uuid, bytes) else uuid
        for handle in self._handles:
            if handle.uuid == wanted:
                return handle
        raise NVMLError(_NOT_FOUND)

    def nvmlDeviceGetIndex(self, handle: _Handle) -> int:
        """Its number."""
        self._call()
        return handle.index

    def nvmlDeviceGetUUID(self, handle: _Handle) -> str:
        """Its UUID."""
        self._call()
        return handle.uuid

    def nvmlDeviceGetName(self, handle: _Handle) -> str:
        """Product name."""
        self._call()
        return handle.gpu.name

    def nvmlDeviceGetArchitecture(self, handle: _Handle) -> int:
        """NVML_DEVICE_ARCH_*."""
        self._call()
        return ARCHITECTURES[handle.gpu.architecture]

    def nvmlDeviceGetCudaComputeCapability(self, handle: _Handle) -> tuple[int, int]:
        """(major, minor)."""
        self._call()
        return handle.gpu.compute_capability

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: _Handle) -> int:
        """The energy counter in millijoules."""
        return handle.counter_mj(self._call())

    def nvmlDeviceGetPowerUsage(self, handle: _Handle) -> int:
        """What the card's ``power_usage`` names, in milliwatts."""
        sensors = handle.gpu.sensors
        sensor = None if sensors.power_usage is None else getattr(sensors, sensors.power_usage)
        return handle.sensor_mw(sensor, self._call())

    def nvmlDeviceGetFieldValues(self, handle: _Handle, ids: Sequence[int | tuple[int, int]]) -> list[SimpleNamespace]:
        """Fields 83, 185 and 186, in millijoules and milliwatts; a field that is missing says so in ``nvmlReturn``."""
        now_s = self._call()
        return [self._field(handle, i[0] if isinstance(i, tuple) else i, now_s) for i in ids]

    def nvmlDeviceGetMemoryInfo(self, handle: _Handle) -> SimpleNamespace:
        """Bytes."""
        used, total = handle.gpu.memory_used_mb.value(self._call()) * 1e6, handle.gpu.memory_total_mb * 1e6
        return SimpleNamespace(used=int(used), total=int(total), free=int(total - used))

    def nvmlDeviceGetTemperature(self, handle: _Handle, kind: int) -> int:  # noqa: ARG002 - there is one sensor
        """Degrees Celsius."""
        return int(handle.gpu.temperature_c.value(self._call()))

    def nvmlDeviceGetUtilizationRates(self, handle: _Handle) -> SimpleNamespace:
        """Percent."""
        now_s = self._call()
        gpu, memory = handle.gpu.gpu_utilisation_pct, handle.gpu.memory_utilisation_pct
        return SimpleNamespace(gpu=int(gpu.value(now_s)), memory=int(memory.value(now_s)))

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: _Handle) -> int:
        """A bit mask."""
        return int(handle.gpu.throttle_bits.value(self._call()))

    def nvmlDeviceGetPersistenceMode(self, handle: _Handle) -> int:
        """1 is on."""
        self._call()
        return int(handle.gpu.persistence)

    def nvmlDeviceGetMigMode(self, handle: _Handle) -> list[int]:
        """(current, pending)."""
        self._call()
        if handle.gpu.mig is None:
            raise NVMLError(_NOT_SUPPORTED)
        return [int(handle.gpu.mig)] * 2

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: _Handle) -> int:
        """Milliwatts."""
        self._call()
        return handle.gpu.power_limit_w * 1000

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: _Handle) -> int:
        """Milliwatts."""
        self._call()
        return handle.gpu.power_limit_default_w * 1000

    def nvmlDeviceGetComputeRunningProcesses(self, handle: _Handle) -> list[SimpleNamespace]:
        """Processes that compute."""
        return self._processes(handle, "compute")

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: _Handle) -> list[SimpleNamespace]:
        """Processes that draw."""
        return self._processes(handle, "graphics")

    def _call(self) -> float:
        self._clock.sleep(self.call_s / 2)
        middle_s = self._clock()
        self._clock.sleep(self.call_s / 2)
        return middle_s

    def _field(self, handle: _Handle, field: int, now_s: float) -> SimpleNamespace:
        sensors = handle.gpu.sensors
        try:
            if field == _ENERGY:
                value = handle.counter_mj(now_s)
            else:
                value = handle.sensor_mw({_INSTANT: sensors.instant, _AVERAGE: sensors.average}.get(field), now_s)
        except NVMLError as error:
            return SimpleNamespace(fieldId=field, nvmlReturn=error.value, value=SimpleNamespace(uiVal=0, ullVal=0))
        return SimpleNamespace(fieldId=field, nvmlReturn=0, value=SimpleNamespace(uiVal=value, ullVal=value))

    def _processes(self, handle: _Handle, kind: str) -> list[SimpleNamespace]:
        now_s = self._call()
        return [
            SimpleNamespace(pid=p.pid, usedGpuMemory=None if p.memory_mb is None else p.memory_mb * 10**6)
            for p in handle.gpu.processes
            if p.kind == kind and (p.from_s is None or now_s >= p.from_s) and (p.until_s is None or now_s < p.until_s)
        ]


def _ns(seconds: float) -> int:
    return math.floor(seconds * 1e9 + 0.5)
