"""A sensor that looks for the edges of its windows, on a clock that moves meanwhile."""

from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.testing import FakeClock

GPU_W = 300.0
# What a search for two ticks of 0.1 s takes.
SEARCH_S = 0.2


class Searching(SensorBase):
    """A GPU of 300 W whose sensor looks for its edge at either end."""

    name = "searching"

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock

    def is_available(self) -> bool:
        return True

    def start_tracking(self) -> list[float]:
        self.clock.time_s += SEARCH_S
        return [self.clock()]

    def start_at_once(self) -> list[float]:
        return [self.clock()]

    def begin_now(self, tracker: list[float]) -> list[float]:
        return [self.clock()]

    def end_now(self, tracker: list[float]) -> list[float]:
        return [*tracker, self.clock()]

    def stop_tracking(self, tracker: list[float]) -> EnergyMeasurement:
        self.clock.time_s += SEARCH_S
        seconds = tracker[1] - tracker[0]
        row = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=GPU_W * seconds, source="counter")
        return EnergyMeasurement(row.energy_j, seconds, 2, devices=(row,))
