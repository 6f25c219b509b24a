"""The rest between two runs: until the GPUs are back where they were before the first, or the time is over."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuUnavailableError
from llenergymeasure.core.gpu.machine import gpu_driver

_LOOK_S = 1.0


@dataclass(frozen=True)
class Standing:
    """Temperature in degrees Celsius and power in watts of a GPU; None where it does not tell."""

    temperature_c: float | None
    power_w: float | None


Read = Callable[[], Mapping[str, Standing]]


def standing_of(uuids: Sequence[str]) -> Mapping[str, Standing]:
    """Where these GPUs stand now; those that do not answer are left out."""
    if not uuids:
        return {}
    try:
        with gpu_driver().opened() as driver:
            devices = [with_defaults(each, GpuDeviceBase) for each in driver.devices()]
            return {each.uuid: Standing(each.temperature_c(), each.power_w()) for each in devices if each.uuid in uuids}
    except GpuUnavailableError:
        return {}


@dataclass
class Gap:
    """The rest between two runs. Made before the first of them, when nothing is warm yet."""

    execution: StudyExecutionConfig
    read: Read
    sleep: Callable[[float], None]
    clock: Callable[[], float] = time.monotonic
    _before: Mapping[str, Standing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read where the GPUs stand, where anything depends on it."""
        if self.execution.pause_s and self.execution.gate_temperature_c is not None:
            self._before = self.read()

    def rest(self) -> str | None:
        """Wait; what ended it, in words, and None where there is no pause."""
        pause_s = self.execution.pause_s
        if not pause_s:
            return None
        if self.execution.gate_temperature_c is None:
            self.sleep(pause_s)
            return f"the pause of {pause_s:g} s was over"
        if not any(each.temperature_c is not None for each in self._before.values()):
            self.sleep(pause_s)
            return f"the pause of {pause_s:g} s was over; no GPU tells its temperature"
        began_s = self.clock()
        while (above := self._above()) is not None:
            left_s = began_s + pause_s - self.clock()
            if left_s <= 0:
                return f"the pause of {pause_s:g} s was over, and {above}"
            self.sleep(min(_LOOK_S, left_s))
        return f"temperature and power were back after {self.clock() - began_s:.0f} s"

    def _above(self) -> str | None:
        """What is not back yet; None where all is."""
        most_c, most_pct = self.execution.gate_temperature_c, self.execution.gate_power_pct
        now = self.read()
        for uuid, before in self._before.items():
            here = now.get(uuid, Standing(None, None))
            if before.temperature_c is not None and most_c is not None:
                if here.temperature_c is None:
                    return f"{uuid} no longer tells its temperature"
                if here.temperature_c > before.temperature_c + most_c:
                    return f"{uuid} was at {here.temperature_c:.0f} C, and at {before.temperature_c:.0f} C before"
            if before.power_w is not None:
                if here.power_w is None:
                    return f"{uuid} no longer tells its power"
                if here.power_w > before.power_w * (1 + most_pct / 100):
                    return f"{uuid} drew {here.power_w:.0f} W, and {before.power_w:.0f} W before"
        return None
