# ruff: noqa: N802 - the functions carry the driver library's own names
"""A stand-in for the module pynvml: GPUs of any power, that fail or hang when told to."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

_POWER_INSTANT = 186
_DEFAULT_LIMIT, _CURRENT_LIMIT = 189, 190


class NVMLError(Exception):
    """What every refused call raises; ``value`` is the driver's code."""

    def __init__(self, value: int = 999) -> None:
        super().__init__(
            {
                1: "Uninitialized",
                3: "Not Supported",
                4: "Insufficient Permissions",
                6: "Not Found",
                15: "GPU is lost",
            }.get(value, "Unknown")
        )
        self.value = value


@dataclass
class FakeGpu:
    """One GPU; ``power_w`` is constant, or a function of the clock's seconds.

    One that ``is_module`` refuses its own power, and its power and counter are its module's. One with ``module_w``
    tells both, and so much is the module's.
    """

    uuid: str
    power_w: float | Callable[[float], float] = 100.0
    name: str = "Fake GPU"
    temperature_c: int = 40
    memory_used: int = 2_000_000_000
    memory_total: int = 80_000_000_000
    utilisation_pct: int = 50
    throttle_reasons: int = 0
    persistence_mode: int = 1
    power_limit_w: float = 700.0
    has_instant_power: bool = True
    mig_mode: int = 0
    power_limit_default_w: float = 700.0
    compute_pids: tuple[int, ...] = ()
    graphics_pids: tuple[int, ...] = ()
    architecture: int = 8
    compute_capability: tuple[int, int] = (8, 9)
    counter_mj: Callable[[float], int] | None = None
    is_module: bool = False
    module_w: float | None = None
    module_limit_w: float | None = None
    limits_w: tuple[float, float] = (200.0, 700.0)
    clocks_mhz: tuple[int, ...] = (1410, 1395, 210)
    memory_clocks_mhz: tuple[int, ...] = (1593, 810)
    locked_mhz: dict[str, tuple[int, int] | None] = field(default_factory=dict)


@dataclass
class Fault:
    """A call that goes wrong from its nth time on; a hanging one returns when released, or by itself."""

    function: str
    from_call: int
    uuid: str | None
    value: int = 15
    hang_s: float | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)


class FakeNvml:
    """Give it as ``library``. ``n_open`` is what is initialised and not yet shut down."""

    NVML_SUCCESS = 0
    NVML_TEMPERATURE_GPU = 0
    NVMLError = NVMLError

    def __init__(
        self,
        *gpus: FakeGpu,
        clock: Callable[[], float] = time.monotonic,
        driver: str | bytes = "570.86.15",
    ) -> None:
        self.gpus = gpus
        self.n_open = 0
        self.calls: Counter[tuple[str, str | None]] = Counter()
        self._clock = clock
        self._driver = driver
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def fail(self, function: str, from_call: int = 1, uuid: str | None = None, value: int = 15) -> None:
        """Refuse a function from the nth call on, counted for one GPU or for all together."""
        self._faults.append(Fault(function, from_call, uuid, value))

    def hang(self, function: str, from_call: int = 1, seconds: float = 1.5) -> Fault:
        """Let the nth call, and no other, take ``seconds``."""
        fault = Fault(function, from_call, None, hang_s=seconds)
        self._faults.append(fault)
        return fault

    def nvmlInit(self) -> None:
        self._enter("nvmlInit")
        self.n_open += 1

    def nvmlShutdown(self) -> None:
        self._enter("nvmlShutdown")
        self.n_open -= 1

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        self._enter("nvmlSystemGetDriverVersion")
        return self._driver

    def nvmlDeviceGetCount(self) -> int:
        self._enter("nvmlDeviceGetCount")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        if not 0 <= index < len(self.gpus):
            raise NVMLError(6)
        self._enter("nvmlDeviceGetHandleByIndex", self.gpus[index])
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        gpu = next((g for g in self.gpus if g.uuid == uuid), None)
        self._enter("nvmlDeviceGetHandleByUUID", gpu)
        if gpu is None:
            raise NVMLError(6)
        return gpu

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        self._enter("nvmlDeviceGetUUID", gpu)
        return gpu.uuid

    def nvmlDeviceGetIndex(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetIndex", gpu)
        return self.gpus.index(gpu)

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        self._enter("nvmlDeviceGetName", gpu)
        return gpu.name

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetPowerUsage", gpu)
        return self._milliwatts(gpu)

    def nvmlDeviceGetFieldValues(self, gpu: FakeGpu, fields: Sequence[tuple[int, int]]) -> list[SimpleNamespace]:
        self._enter("nvmlDeviceGetFieldValues", gpu)
        told = [self._field_milliwatts(gpu, *field) for field in fields]
        return [SimpleNamespace(nvmlReturn=3 if mw is None else 0, value=SimpleNamespace(uiVal=mw or 0)) for mw in told]

    def _field_milliwatts(self, gpu: FakeGpu, field: int, scope: int) -> int | None:
        """A card on a module refuses its own scope, 0, and has that of the module, 1; limits are told of modules."""
        if field == _POWER_INSTANT and gpu.has_instant_power and scope == int(gpu.is_module):
            return self._milliwatts(gpu)
        if field == _POWER_INSTANT and scope == 1 and gpu.module_w is not None:
            return round(gpu.module_w * 1000)
        is_a_limit = field in (_DEFAULT_LIMIT, _CURRENT_LIMIT) and scope == 1
        return round(gpu.module_limit_w * 1000) if is_a_limit and gpu.module_limit_w is not None else None

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, sensor: int) -> int:
        self._enter("nvmlDeviceGetTemperature", gpu)
        return gpu.temperature_c

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> SimpleNamespace:
        self._enter("nvmlDeviceGetMemoryInfo", gpu)
        return SimpleNamespace(used=gpu.memory_used, total=gpu.memory_total)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> SimpleNamespace:
        self._enter("nvmlDeviceGetUtilizationRates", gpu)
        return SimpleNamespace(gpu=gpu.utilisation_pct, memory=0)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetCurrentClocksThrottleReasons", gpu)
        return gpu.throttle_reasons

    def nvmlDeviceGetPersistenceMode(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetPersistenceMode", gpu)
        return gpu.persistence_mode

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        self._enter("nvmlDeviceGetMigMode", gpu)
        return [gpu.mig_mode, gpu.mig_mode]

    def nvmlDeviceGetEnforcedPowerLimit(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetEnforcedPowerLimit", gpu)
        return round(gpu.power_limit_w * 1000)

    def nvmlDeviceGetPowerManagementDefaultLimit(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetPowerManagementDefaultLimit", gpu)
        return round(gpu.power_limit_default_w * 1000)

    def nvmlDeviceGetPowerManagementLimit(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetPowerManagementLimit", gpu)
        return round(gpu.power_limit_w * 1000)

    def nvmlDeviceGetPowerManagementLimitConstraints(self, gpu: FakeGpu) -> list[int]:
        self._enter("nvmlDeviceGetPowerManagementLimitConstraints", gpu)
        return [round(limit_w * 1000) for limit_w in gpu.limits_w]

    def nvmlDeviceSetPowerManagementLimit(self, gpu: FakeGpu, milliwatts: int) -> None:
        self._enter("nvmlDeviceSetPowerManagementLimit", gpu)
        gpu.power_limit_w = milliwatts / 1000

    def nvmlDeviceGetSupportedMemoryClocks(self, gpu: FakeGpu) -> list[int]:
        self._enter("nvmlDeviceGetSupportedMemoryClocks", gpu)
        return list(gpu.memory_clocks_mhz)

    def nvmlDeviceGetSupportedGraphicsClocks(self, gpu: FakeGpu, memory_mhz: int) -> list[int]:
        self._enter("nvmlDeviceGetSupportedGraphicsClocks", gpu)
        return list(gpu.clocks_mhz) if memory_mhz == max(gpu.memory_clocks_mhz) else []

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, kind: int) -> int:
        self._enter("nvmlDeviceGetClockInfo", gpu)
        locked = gpu.locked_mhz.get({1: "sm", 2: "memory"}[kind])
        return 345 if locked is None else locked[1]

    def nvmlDeviceSetGpuLockedClocks(self, gpu: FakeGpu, lowest: int, highest: int) -> None:
        self._enter("nvmlDeviceSetGpuLockedClocks", gpu)
        gpu.locked_mhz["sm"] = (lowest, highest)

    def nvmlDeviceResetGpuLockedClocks(self, gpu: FakeGpu) -> None:
        self._enter("nvmlDeviceResetGpuLockedClocks", gpu)
        gpu.locked_mhz["sm"] = None

    def nvmlDeviceSetMemoryLockedClocks(self, gpu: FakeGpu, lowest: int, highest: int) -> None:
        self._enter("nvmlDeviceSetMemoryLockedClocks", gpu)
        gpu.locked_mhz["memory"] = (lowest, highest)

    def nvmlDeviceResetMemoryLockedClocks(self, gpu: FakeGpu) -> None:
        self._enter("nvmlDeviceResetMemoryLockedClocks", gpu)
        gpu.locked_mhz["memory"] = None

    def nvmlDeviceGetArchitecture(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetArchitecture", gpu)
        return gpu.architecture

    def nvmlDeviceGetCudaComputeCapability(self, gpu: FakeGpu) -> list[int]:
        self._enter("nvmlDeviceGetCudaComputeCapability", gpu)
        return list(gpu.compute_capability)

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:
        self._enter("nvmlDeviceGetComputeRunningProcesses", gpu)
        return [SimpleNamespace(pid=pid) for pid in gpu.compute_pids]

    def nvmlDeviceGetGraphicsRunningProcesses(self, gpu: FakeGpu) -> list[SimpleNamespace]:
        self._enter("nvmlDeviceGetGraphicsRunningProcesses", gpu)
        return [SimpleNamespace(pid=pid) for pid in gpu.graphics_pids]

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        self._enter("nvmlDeviceGetTotalEnergyConsumption", gpu)
        if gpu.counter_mj is None:
            raise NVMLError(3)
        return gpu.counter_mj(self._clock())

    def _milliwatts(self, gpu: FakeGpu) -> int:
        power_w = gpu.power_w if isinstance(gpu.power_w, int | float) else gpu.power_w(self._clock())
        return round(power_w * 1000)

    def _enter(self, function: str, gpu: FakeGpu | None = None) -> None:
        if self.n_open < 1 and function != "nvmlInit":
            raise NVMLError(1)
        with self._lock:
            self.calls[function, None] += 1
            if gpu is not None:
                self.calls[function, gpu.uuid] += 1
        for fault in self._faults:
            if fault.function != function or (fault.uuid is not None and (gpu is None or gpu.uuid != fault.uuid)):
                continue
            n = self.calls[function, fault.uuid]
            if fault.hang_s is not None and n == fault.from_call:
                fault.entered.set()
                fault.release.wait(fault.hang_s)
            elif fault.hang_s is None and n >= fault.from_call:
                raise NVMLError(fault.value)
