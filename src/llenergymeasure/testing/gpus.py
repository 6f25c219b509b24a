"""GPUs of a vendor that does not exist: what is generic about GPUs has to work with them."""

import time
from collections.abc import Callable, Sequence

from llenergymeasure.config.device import Knob
from llenergymeasure.core.energy_backends.gpu import GpuSensor
from llenergymeasure.core.gpu.base import KnobRange, KnobRefusedError
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


class FakeTunableGpuDevice(FakeGpuDevice):
    """One with knobs: it draws no more than its limit, from 100 to 400 W, and has clocks of 300, 600 and 900 MHz.

    ``refuses`` has the knobs that it does not let be turned, and whether that is for want of permission; ``turned`` is
    what was done to it. Its clocks follow their locks at once.
    """

    def __init__(self, uuid: str, index: int = 0, power_w: float = 350.0) -> None:
        super().__init__(uuid, index, power_w)
        self.limit_w = 400.0
        self.locked_mhz: dict[Knob, float | None] = {}
        self.refuses: dict[Knob, bool] = {}
        self.turned: list[tuple[Knob, float | None]] = []

    def power_w(self) -> float | None:
        """As much as it is allowed."""
        return None if self.watts is None else min(self.watts, self.limit_w)

    def power_limit_w(self) -> float | None:
        """The one that was set."""
        return self.limit_w

    def knob_range(self, knob: Knob) -> KnobRange | None:
        """A range, or three clocks."""
        return KnobRange(100, 400) if knob == "power_limit_w" else KnobRange(300, 900, (300, 600, 900))

    def knob_value(self, knob: Knob) -> float | None:
        """What was set; a clock that is free is low."""
        return self.limit_w if knob == "power_limit_w" else self.locked_mhz.get(knob) or 300.0

    def turn(self, knob: Knob, value: float | None) -> None:
        """Set it, if that is not to be refused."""
        if knob in self.refuses:
            raise KnobRefusedError("it is refused", is_forbidden=self.refuses[knob])
        self.turned.append((knob, value))
        if knob == "power_limit_w":
            self.limit_w = self.limit_w if value is None else value
        else:
            self.locked_mhz[knob] = value

    def knob_command(self, knob: Knob, value: float | None) -> str:
        """A program that does not exist."""
        return f"acme {self.index} {knob} {value}"


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
