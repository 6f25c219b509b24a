"""Power limit and clocks of a card, as NVML sets them.

What needs root answers NVML_ERROR_NO_PERMISSION to others; limits and locked clocks are gone when the driver unloads
(NVML API reference, device commands). To what a clock is locked can be set and reset, and not be asked.
"""

from collections.abc import Callable
from typing import Any

from llenergymeasure.config.device import Knob
from llenergymeasure.core.gpu.base import KnobRange, KnobRefusedError

# nvml.h: nvmlReturn_t and nvmlClockType_t.
_INVALID_ARGUMENT, _NOT_SUPPORTED, _NO_PERMISSION, _FUNCTION_NOT_FOUND = 2, 3, 4, 13
_CLOCK_SM, _CLOCK_MEM = 1, 2


def smi_command(index: int, knob: Knob, value: float | None) -> str:
    """What does the same at the command line."""
    if knob == "power_limit_w":
        return f"sudo nvidia-smi -i {index} -pl {value:g}"
    option = "gc" if knob == "sm_clock_mhz" else "mc"
    return f"sudo nvidia-smi -i {index} " + (f"-r{option}" if value is None else f"-l{option} {value:g},{value:g}")


class NvmlKnobs:
    """The knobs of one card; ``read`` gives None for what the driver refuses."""

    def __init__(self, library: Any, read: Callable[..., Any], handle: Any) -> None:
        self._library, self._read, self._handle = library, read, handle

    def range(self, knob: Knob) -> KnobRange | None:
        """From lowest to highest; clocks of the SMs are those that go with the memory's highest."""
        if knob == "power_limit_w":
            limits_mw = self._read(self._library.nvmlDeviceGetPowerManagementLimitConstraints, self._handle)
            return None if limits_mw is None else KnobRange(limits_mw[0] / 1000, limits_mw[1] / 1000)
        clocks = self._read(self._library.nvmlDeviceGetSupportedMemoryClocks, self._handle) or []
        if clocks and knob == "sm_clock_mhz":
            clocks = self._read(self._library.nvmlDeviceGetSupportedGraphicsClocks, self._handle, max(clocks)) or []
        steps = tuple(sorted(float(mhz) for mhz in clocks))
        return KnobRange(steps[0], steps[-1], steps) if steps else None

    def value(self, knob: Knob) -> float | None:
        """The limit that was set, in watts, or the clock now, in MHz."""
        if knob == "power_limit_w":
            milliwatts = self._read(self._library.nvmlDeviceGetPowerManagementLimit, self._handle)
            return None if milliwatts is None else milliwatts / 1000
        kind = _CLOCK_SM if knob == "sm_clock_mhz" else _CLOCK_MEM
        mhz = self._read(self._library.nvmlDeviceGetClockInfo, self._handle, kind)
        return None if mhz is None else float(mhz)

    def turn(self, knob: Knob, value: float | None) -> None:
        """Set a limit, lock a clock, or give a clock free where the value is None.

        Raises:
            KnobRefusedError: the driver refuses, or a limit is to be given free, which none can be.
        """
        library, handle = self._library, self._handle
        try:
            if knob == "power_limit_w":
                if value is None:
                    raise KnobRefusedError("a power limit cannot be given free")
                library.nvmlDeviceSetPowerManagementLimit(handle, round(value * 1000))
            elif knob == "sm_clock_mhz":
                if value is None:
                    library.nvmlDeviceResetGpuLockedClocks(handle)
                else:
                    library.nvmlDeviceSetGpuLockedClocks(handle, round(value), round(value))
            elif value is None:
                library.nvmlDeviceResetMemoryLockedClocks(handle)
            else:
                library.nvmlDeviceSetMemoryLockedClocks(handle, round(value), round(value))
        except library.NVMLError as error:
            raise _refusal(error) from None


def _refusal(error: Any) -> KnobRefusedError:
    code = getattr(error, "value", None)
    if code == _NO_PERMISSION:
        return KnobRefusedError("only root may set it", is_forbidden=True)
    if code in (_NOT_SUPPORTED, _FUNCTION_NOT_FOUND):
        return KnobRefusedError("this card or its driver has no such knob")
    if code == _INVALID_ARGUMENT:
        return KnobRefusedError("the driver does not take this value")
    return KnobRefusedError(f"the driver says: {error}")
