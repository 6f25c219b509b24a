"""The NVIDIA management library, with every failed call turned into None.

Only opening the driver and looking a device up may raise; a device that is lost later answers
None, and whoever asked decides what a missing value means.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any, Self, TypeVar

from llenergymeasure.config.device import Knob
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuDriverBase, GpuUnavailableError, KnobRange, VisibleGpus
from llenergymeasure.core.gpu.power_sensor import REFRESH_S, PowerSensor
from llenergymeasure.core.nvidia.knobs import NvmlKnobs, smi_command
from llenergymeasure.core.nvidia.power_sensors import average_sensor_of, power_sensor_of, usage_lag_s
from llenergymeasure.core.nvidia.visible import shown_by_cuda
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import EnergyScope

_Value = TypeVar("_Value")
# NVML_FI_DEV_POWER_AVERAGE, _INSTANT, _DEFAULT_LIMIT, _CURRENT_LIMIT and NVML_POWER_SCOPE_*, nvml.h.
_FIELD_POWER_AVERAGE, _FIELD_POWER_INSTANT = 185, 186
_FIELD_DEFAULT_LIMIT, _FIELD_CURRENT_LIMIT = 189, 190
_SCOPE_GPU, _SCOPE_MODULE = 0, 1
# One refresh of 25 to 100 ms lies between two looks at most; processor and memory of a module take tens of watts.
_LOOKS_AT_SCOPES, _CLEARLY_MORE = 3, 1.02
_OF_A_MODULE = " of NVML_POWER_SCOPE_MODULE"


def _pynvml() -> ModuleType:
    import pynvml

    return pynvml  # type: ignore[no-any-return]


class NvidiaDriver(GpuDriverBase):
    """NVIDIA's driver through its management library, which counts how often it was opened."""

    name = "nvml"

    def __init__(self, library: Any = None) -> None:
        """A module with pynvml's functions; default pynvml itself, imported when it is needed."""
        self._given = library

    @property
    def library(self) -> Any:
        """The module with pynvml's functions."""
        return self._given or _pynvml()

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """The library initialised, and shut down again after the body.

        Raises:
            GpuUnavailableError: the library cannot be loaded or initialised.
        """
        try:
            self.library.nvmlInit()
        except self.library.NVMLError as error:
            raise GpuUnavailableError(f"no NVIDIA driver answered ({error})") from None
        try:
            yield self
        finally:
            self.read(self.library.nvmlShutdown)

    def visible(self, gpus: Sequence[GpuInfo], environ: Mapping[str, str]) -> VisibleGpus:
        """The GPUs that CUDA shows."""
        return shown_by_cuda(gpus, environ.get("CUDA_VISIBLE_DEVICES"))

    def variables_showing(self, uuid: str) -> Mapping[str, str]:
        """The one that CUDA reads."""
        return {"CUDA_VISIBLE_DEVICES": uuid}

    def power_sensor_of(self, gpu: GpuInfo) -> PowerSensor | None:
        """By the card's name and architecture."""
        return power_sensor_of(gpu.name, gpu.architecture)

    def version(self) -> str | None:
        """Version of the driver."""
        return _text(self.read(self.library.nvmlSystemGetDriverVersion))

    def read(self, call: Callable[..., _Value], *args: Any) -> _Value | None:
        """The value of a call; None where the driver refuses or lacks it."""
        try:
            return call(*args)
        except self.library.NVMLError:
            return None

    def devices(self) -> list["NvmlDevice"]:
        """All GPUs that answer, in the driver's order."""
        count = self.read(self.library.nvmlDeviceGetCount) or 0
        found = [self._device(self.read(self.library.nvmlDeviceGetHandleByIndex, i)) for i in range(count)]
        return [device for device in found if device is not None]

    def device_by_uuid(self, uuid: str) -> "NvmlDevice":
        """The GPU of this UUID.

        Raises:
            GpuUnavailableError: no such GPU answers.
        """
        handle = self.read(self.library.nvmlDeviceGetHandleByUUID, uuid)
        if handle is None:
            listed = next((device for device in self.devices() if device.uuid == uuid), None)
            if listed is not None:
                return listed
        return self._required(handle, f"GPU {uuid} does not answer")

    def device_by_index(self, index: int) -> "NvmlDevice":
        """The GPU of this NVML index.

        Raises:
            GpuUnavailableError: no such GPU answers.
        """
        handle = self.read(self.library.nvmlDeviceGetHandleByIndex, index)
        return self._required(handle, f"no GPU with NVML index {index} answers")

    def find(self, uuids: Sequence[str] | None, index: int) -> list[GpuDeviceBase]:
        """The GPUs of these UUIDs, or the one of this index when none are given.

        Raises:
            GpuUnavailableError: one of them does not answer.
        """
        return [self.device_by_index(index)] if uuids is None else [self.device_by_uuid(uuid) for uuid in uuids]

    def _required(self, handle: Any, otherwise: str) -> "NvmlDevice":
        device = self._device(handle)
        if device is None:
            raise GpuUnavailableError(otherwise)
        return device

    def _device(self, handle: Any) -> "NvmlDevice | None":
        uuid = _text(self.read(self.library.nvmlDeviceGetUUID, handle)) if handle is not None else None
        index = self.read(self.library.nvmlDeviceGetIndex, handle) if handle is not None else None
        return None if uuid is None or index is None else NvmlDevice(self, handle, uuid, index)


class NvmlDevice(GpuDeviceBase):
    """One GPU. Every reading is None where the driver gives none.

    Where power of the GPU alone is refused and the module's is not, power, its limit and counter are the module's.
    Where both are told, power is the GPU's, and the counter is taken for the module's.
    """

    counter_field = "nvmlDeviceGetTotalEnergyConsumption"

    def __init__(self, nvml: NvidiaDriver, handle: Any, uuid: str, index: int) -> None:
        self._nvml = nvml
        self._library = nvml.library
        self._handle = handle
        self.uuid = uuid
        self.index = index
        # Whether the instant field exists, and of what, is a property of the card: ask once, not at every sample.
        scopes = (_SCOPE_GPU, _SCOPE_MODULE)
        told_w = self._fields_w([(_FIELD_POWER_INSTANT, scope) for scope in scopes])
        answering = [scope for scope, power_w in zip(scopes, told_w, strict=True) if power_w is not None]
        self._power_scope = answering[0] if answering else None
        self.scope = "module" if self._power_scope == _SCOPE_MODULE else "gpu"
        self._is_in_a_module = self.scope == "module" or self._module_takes_more(*told_w)
        of_what = _OF_A_MODULE if self.scope == "module" else ""
        self.average_power_field = f"NVML_FI_DEV_POWER_AVERAGE{of_what}"
        self.power_field = (
            "nvmlDeviceGetPowerUsage" if self._power_scope is None else f"NVML_FI_DEV_POWER_INSTANT{of_what}"
        )
        instant = self._power_scope is not None
        architecture = self.architecture()
        self.power_lag_s = REFRESH_S if instant else usage_lag_s(self.name(), architecture)
        if self.power_lag_s > REFRESH_S and architecture is not None:
            self.power_averaged_s = self.power_lag_s

    def _module_takes_more(self, gpu_w: float | None, module_w: float | None) -> bool:
        """Whether what is told of the module is more than what is told of the GPU, each time and clearly.

        A driver that knows of no scopes reads one sensor for both, which may be new in between, but not each time.
        """
        for _ in range(_LOOKS_AT_SCOPES - 1):
            if gpu_w is None or module_w is None or module_w <= _CLEARLY_MORE * gpu_w:
                return False
            gpu_w, module_w = self._fields_w(
                [(_FIELD_POWER_INSTANT, _SCOPE_GPU), (_FIELD_POWER_INSTANT, _SCOPE_MODULE)]
            )
        return gpu_w is not None and module_w is not None and module_w > _CLEARLY_MORE * gpu_w

    def name(self) -> str:
        """Product name."""
        return _text(self._nvml.read(self._library.nvmlDeviceGetName, self._handle)) or "unknown GPU"

    def power_sensor(self) -> PowerSensor | None:
        """By name and architecture."""
        return power_sensor_of(self.name(), self.architecture())

    def average_power_sensor(self) -> PowerSensor | None:
        """By name and architecture, where the card has the field."""
        return None if self._power_scope is None else average_sensor_of(self.name(), self.architecture())

    def describe(self) -> GpuInfo:
        """The device as it is now."""
        return replace(
            super().describe(),
            persistence_mode=self.persistence_mode(),
            mig_mode=self.mig_mode(),
            architecture=self.architecture(),
            compute_capability=self.compute_capability(),
        )

    def power_w(self) -> float | None:
        """Instantaneous power in watts where the card has it, else the driver's power usage."""
        if self._power_scope is not None:
            return self._field_w(_FIELD_POWER_INSTANT, self._power_scope)
        milliwatts = self._nvml.read(self._library.nvmlDeviceGetPowerUsage, self._handle)
        return None if milliwatts is None else milliwatts / 1000

    def average_power_w(self) -> float | None:
        """What the card itself averaged, over a second on most; None on cards without the field."""
        return None if self._power_scope is None else self._field_w(_FIELD_POWER_AVERAGE, self._power_scope)

    def powers_w(self) -> tuple[float | None, float | None]:
        """Both powers in watts, where the card has both fields by one call."""
        if self._power_scope is None:
            return self.power_w(), None
        asked = [(field, self._power_scope) for field in (_FIELD_POWER_INSTANT, _FIELD_POWER_AVERAGE)]
        instant_w, average_w = self._fields_w(asked)
        return instant_w, average_w

    def energy_counter_j(self) -> float | None:
        """The card's energy counter in joules, since the driver was loaded."""
        millijoules = self._nvml.read(self._library.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        return None if millijoules is None else millijoules / 1000

    def counter_covers(self) -> EnergyScope:
        """The module where the card is in one, as on GH200 (Zeus, pull requests 172 and 242), else the GPU.

        No call of NVML says it, and GH200 is the only such part of which it has been published.
        """
        return "module" if self._is_in_a_module else "gpu"

    def temperature_c(self) -> float | None:
        """Temperature of the die in degrees Celsius."""
        kind = self._library.NVML_TEMPERATURE_GPU
        value = self._nvml.read(self._library.nvmlDeviceGetTemperature, self._handle, kind)
        return None if value is None else float(value)

    def memory_mb(self) -> tuple[float | None, float | None]:
        """Used and total memory in MB (10^6 bytes)."""
        info = self._nvml.read(self._library.nvmlDeviceGetMemoryInfo, self._handle)
        return (None, None) if info is None else (info.used / 1e6, info.total / 1e6)

    def utilisation_pct(self) -> float | None:
        """Percent of the driver's last period in which a kernel ran."""
        rates = self._nvml.read(self._library.nvmlDeviceGetUtilizationRates, self._handle)
        return None if rates is None else float(rates.gpu)

    def throttle_reasons(self) -> int | None:
        """Bit mask of reasons for reduced clocks (nvmlClocksEventReasons)."""
        return self._nvml.read(self._library.nvmlDeviceGetCurrentClocksThrottleReasons, self._handle)

    def persistence_mode(self) -> bool | None:
        """Whether the driver stays loaded without clients."""
        mode = self._nvml.read(self._library.nvmlDeviceGetPersistenceMode, self._handle)
        return None if mode is None else bool(mode)

    def mig_mode(self) -> bool | None:
        """Whether the GPU is cut into slices."""
        modes = self._nvml.read(self._library.nvmlDeviceGetMigMode, self._handle)
        return None if modes is None else bool(modes[0])

    def power_limit_w(self) -> float | None:
        """Enforced power limit in watts, of what power covers."""
        if self.scope == "module":
            return self._field_w(_FIELD_CURRENT_LIMIT, _SCOPE_MODULE)
        milliwatts = self._nvml.read(self._library.nvmlDeviceGetEnforcedPowerLimit, self._handle)
        return None if milliwatts is None else milliwatts / 1000

    def default_power_limit_w(self) -> float | None:
        """Power limit in watts that the card has without anybody's setting, of what power covers."""
        if self.scope == "module":
            return self._field_w(_FIELD_DEFAULT_LIMIT, _SCOPE_MODULE)
        milliwatts = self._nvml.read(self._library.nvmlDeviceGetPowerManagementDefaultLimit, self._handle)
        return None if milliwatts is None else milliwatts / 1000

    def knob_range(self, knob: Knob) -> KnobRange | None:
        """As the driver tells it; of a card that tells its module's power only, no limit of its own."""
        return None if self._is_of_the_module(knob) else self._knobs.range(knob)

    def knob_value(self, knob: Knob) -> float | None:
        """The limit that was set, or the clock at this moment: no call of NVML tells to what a clock is locked."""
        return None if self._is_of_the_module(knob) else self._knobs.value(knob)

    def turn(self, knob: Knob, value: float | None) -> None:
        """Set the power limit, lock a clock to one value, or give it free.

        Raises:
            KnobRefusedError: the driver refuses.
        """
        self._knobs.turn(knob, value)

    def knob_command(self, knob: Knob, value: float | None) -> str:
        """A line of nvidia-smi."""
        return smi_command(self.index, knob, value)

    @property
    def _knobs(self) -> NvmlKnobs:
        return NvmlKnobs(self._library, self._nvml.read, self._handle)

    def _is_of_the_module(self, knob: Knob) -> bool:
        return knob == "power_limit_w" and self.scope == "module"

    def architecture(self) -> int | None:
        """NVML_DEVICE_ARCH_*, from nvml.h: 4 Pascal, 5 Volta, 6 Turing, 7 Ampere, 8 Ada, 9 Hopper, 10 Blackwell."""
        return self._nvml.read(self._library.nvmlDeviceGetArchitecture, self._handle)

    def compute_capability(self) -> tuple[int, int] | None:
        """CUDA compute capability, such as (8, 0)."""
        found = self._nvml.read(self._library.nvmlDeviceGetCudaComputeCapability, self._handle)
        return None if found is None else (int(found[0]), int(found[1]))

    def running_pids(self) -> list[int] | None:
        """Processes with a context on the GPU, compute and graphics; None where the driver refuses to say."""
        compute = self._nvml.read(self._library.nvmlDeviceGetComputeRunningProcesses, self._handle)
        if compute is None:
            return None
        graphics = self._nvml.read(self._library.nvmlDeviceGetGraphicsRunningProcesses, self._handle) or []
        return sorted({process.pid for process in [*compute, *graphics]})

    def _field_w(self, field: int, scope: int) -> float | None:
        return self._fields_w([(field, scope)])[0]

    def _fields_w(self, asked: Sequence[tuple[int, int]]) -> list[float | None]:
        """Powers in watts of [n] fields, each with the scope that it is asked for; None for what the card denies."""
        values = self._nvml.read(self._library.nvmlDeviceGetFieldValues, self._handle, list(asked)) or []
        told = [float(v.value.uiVal) / 1000 if v.nvmlReturn == self._library.NVML_SUCCESS else None for v in values]
        return told if len(told) == len(asked) else [None] * len(asked)


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
