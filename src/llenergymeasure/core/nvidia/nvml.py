"""The NVIDIA management library, with every failed call turned into None.

Only :func:`nvml_session` and looking a device up may raise; a device that is lost later answers
None, and whoever asked decides what a missing value means.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from types import ModuleType
from typing import Any, TypeVar

from llenergymeasure.domain.metrics import EnergyScope

_Value = TypeVar("_Value")
# NVML_FI_DEV_POWER_INSTANT and NVML_POWER_SCOPE_*, nvml.h.
_FIELD_POWER_INSTANT = 186
_SCOPE_GPU, _SCOPE_MODULE = 0, 1


class NvmlUnavailableError(Exception):
    """No driver, no library, or a device that does not answer; the message says which."""


@contextmanager
def nvml_session(library: Any = None) -> Iterator["Nvml"]:
    """NVML, initialised and shut down again.

    Args:
        library: a module with pynvml's functions; default pynvml itself.

    Raises:
        NvmlUnavailableError: the library cannot be loaded or initialised.
    """
    nvml = Nvml(library or _pynvml())
    try:
        nvml.library.nvmlInit()
    except nvml.library.NVMLError as error:
        raise NvmlUnavailableError(f"no NVIDIA driver answered ({error})") from None
    try:
        yield nvml
    finally:
        nvml.read(nvml.library.nvmlShutdown)


@contextmanager
def nvml_held(library: Any = None) -> Iterator[None]:
    """Keep the driver up, where there is one, so that sessions inside the body begin at once.

    Without persistence mode a driver without clients comes up anew for each of them, which takes seconds.
    """
    with ExitStack() as stack:
        with suppress(NvmlUnavailableError):
            stack.enter_context(nvml_session(library))
        yield


def _pynvml() -> ModuleType:
    import pynvml

    return pynvml  # type: ignore[no-any-return]


class Nvml:
    """An initialised library."""

    def __init__(self, library: Any) -> None:
        self.library = library

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
            NvmlUnavailableError: no such GPU answers.
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
            NvmlUnavailableError: no such GPU answers.
        """
        handle = self.read(self.library.nvmlDeviceGetHandleByIndex, index)
        return self._required(handle, f"no GPU with NVML index {index} answers")

    def find(self, uuids: Sequence[str] | None, index: int) -> list["NvmlDevice"]:
        """The GPUs of these UUIDs, or the one of this index when none are given.

        Raises:
            NvmlUnavailableError: one of them does not answer.
        """
        return [self.device_by_index(index)] if uuids is None else [self.device_by_uuid(uuid) for uuid in uuids]

    def driver_version(self) -> str | None:
        """Version of the driver."""
        return _text(self.read(self.library.nvmlSystemGetDriverVersion))

    def _required(self, handle: Any, otherwise: str) -> "NvmlDevice":
        device = self._device(handle)
        if device is None:
            raise NvmlUnavailableError(otherwise)
        return device

    def _device(self, handle: Any) -> "NvmlDevice | None":
        uuid = _text(self.read(self.library.nvmlDeviceGetUUID, handle)) if handle is not None else None
        index = self.read(self.library.nvmlDeviceGetIndex, handle) if handle is not None else None
        return None if uuid is None or index is None else NvmlDevice(self, handle, uuid, index)


class NvmlDevice:
    """One GPU. Every reading is None where the driver gives none."""

    def __init__(self, nvml: Nvml, handle: Any, uuid: str, index: int) -> None:
        self._nvml = nvml
        self._library = nvml.library
        self._handle = handle
        self.uuid = uuid
        self.index = index
        # Whether the instant field exists, and of what, is a property of the card: ask once, not at every sample.
        answering = (s for s in (_SCOPE_GPU, _SCOPE_MODULE) if self._instant_power_w(s) is not None)
        self._power_scope = next(answering, None)
        self._has_instant_power = self._power_scope is not None

    @property
    def scope(self) -> EnergyScope:
        """What power and counter cover: the module with its CPU and memory where power of a GPU alone is refused.

        So it is on GH200, whose counter is the module's too (Zeus, pull requests 172 and 242).
        """
        return "module" if self._power_scope == _SCOPE_MODULE else "gpu"

    @property
    def power_field(self) -> str:
        """Which of the driver's power readings :meth:`power_w` gives."""
        if self._power_scope == _SCOPE_MODULE:
            return "NVML_FI_DEV_POWER_INSTANT of NVML_POWER_SCOPE_MODULE"
        return "NVML_FI_DEV_POWER_INSTANT" if self._has_instant_power else "nvmlDeviceGetPowerUsage"

    @property
    def has_instant_power(self) -> bool:
        """Whether :meth:`power_w` is the instantaneous field."""
        return self._has_instant_power

    def name(self) -> str:
        """Product name."""
        return _text(self._nvml.read(self._library.nvmlDeviceGetName, self._handle)) or "unknown GPU"

    def power_w(self) -> float | None:
        """Instantaneous power in watts where the card has it, else the driver's power usage."""
        if self._power_scope is not None:
            return self._instant_power_w(self._power_scope)
        milliwatts = self._nvml.read(self._library.nvmlDeviceGetPowerUsage, self._handle)
        return None if milliwatts is None else milliwatts / 1000

    def energy_counter_j(self) -> float | None:
        """The card's energy counter in joules, since the driver was loaded."""
        millijoules = self._nvml.read(self._library.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        return None if millijoules is None else millijoules / 1000

    def temperature_c(self) -> float | None:
        """Temperature of the die in degrees Celsius."""
        kind = self._library.NVML_TEMPERATURE_GPU
        value = self._nvml.read(self._library.nvmlDeviceGetTemperature, self._handle, kind)
        return None if value is None else float(value)

    def memory_mb(self) -> tuple[float | None, float | None]:
        """Used and total memory in MB (10^6 bytes)."""
        info = self._nvml.read(self._library.nvmlDeviceGetMemoryInfo, self._handle)
        return (None, None) if info is None else (info.used / 1e6, info.total / 1e6)

    def sm_utilisation_pct(self) -> float | None:
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
        """Enforced power limit in watts."""
        milliwatts = self._nvml.read(self._library.nvmlDeviceGetEnforcedPowerLimit, self._handle)
        return None if milliwatts is None else milliwatts / 1000

    def default_power_limit_w(self) -> float | None:
        """Power limit in watts that the card has without anybody's setting."""
        milliwatts = self._nvml.read(self._library.nvmlDeviceGetPowerManagementDefaultLimit, self._handle)
        return None if milliwatts is None else milliwatts / 1000

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

    def _instant_power_w(self, scope: int) -> float | None:
        field = (_FIELD_POWER_INSTANT, scope)
        values = self._nvml.read(self._library.nvmlDeviceGetFieldValues, self._handle, [field])
        if not values or values[0].nvmlReturn != self._library.NVML_SUCCESS:
            return None
        return float(values[0].value.uiVal) / 1000


def _text(value: str | bytes | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
