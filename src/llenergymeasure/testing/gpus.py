"""GPUs of a vendor that does not exist: what is generic about GPUs has to work with them."""

import time
from collections.abc import Callable, Sequence

from llenergymeasure.core.energy_backends.gpu import GpuSensor
from llenergymeasure.domain.metrics import EnergyScope


class FakeGpuDevice:
    """A ``GpuDevice`` with the names of the seam and no more, of constant power on a clock in seconds."""

    def __init__(
        self, uuid: str, index: int = 0, power_w: float | None = 200.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.uuid = uuid
        self.index = index
        self.watts = power_w
        self.clock = clock

    def name(self) -> str:
        """A card of a vendor that does not exist."""
        return "Acme 1000"

    def power_w(self) -> float | None:
        """Always the same; None once it is lost."""
        return self.watts


class FakeCountingGpuDevice(FakeGpuDevice):
    """One that also counts its energy, in ticks of a fiftieth of a second, and says what that covers."""

    scope: EnergyScope = "module"
    power_field = "acme_power"
    counter_field = "acme_energy"
    power_lag_s = 0.02

    def energy_counter_j(self) -> float | None:
        """Joules up to the last tick."""
        ticks_hz = 50
        return None if self.watts is None else self.watts * int(self.clock() * ticks_hz) / ticks_hz


class FakeGpuDriver:
    """A ``GpuDriver`` with the names of the seam and no more."""

    name = "acme"

    def __init__(self, *gpus: FakeGpuDevice) -> None:
        self.gpus = gpus

    def devices(self) -> Sequence[FakeGpuDevice]:
        """Those it was made with."""
        return self.gpus


class FakeGpuSensor(GpuSensor):
    """The sensor of that vendor: its name and its driver are all that it has to say."""

    name = "acme"
    driver = FakeGpuDriver
