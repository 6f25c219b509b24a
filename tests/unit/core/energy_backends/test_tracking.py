"""A source around which nothing may fail."""

import pytest

from llenergymeasure.core.energy_backends.tracking import Tracking
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.testing import FakeClock, FakeEnergy


class Raising(FakeEnergy):
    """Raises when it starts or when it stops."""

    def __init__(self, clock: FakeClock, at: str) -> None:
        super().__init__(clock)
        self.at = at

    def start_tracking(self) -> float:
        if self.at == "start":
            raise RuntimeError("the sensor is busy")
        return super().start_tracking()

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        if self.at == "stop":
            raise RuntimeError("the sensor is busy")
        return super().stop_tracking(tracker)


def test_a_source_that_works_is_passed_through(clock: FakeClock) -> None:
    energy = FakeEnergy(clock, power_w=50.0)
    with Tracking(energy) as tracking:
        clock.sleep(4)
    measured = tracking.measurement
    assert (measured.total_j, measured.duration_sec) == (200.0, 4.0)
    assert energy.log == ["energy on", "energy off"]


@pytest.mark.parametrize("at", ["start", "stop"])
def test_a_source_that_raises_gives_no_joules_and_a_reason(clock: FakeClock, at: str) -> None:
    with Tracking(Raising(clock, at)) as tracking:
        clock.sleep(4)
    assert tracking.measurement == EnergyMeasurement(
        None, 0.0, 0, warnings=(f"energy_unavailable: fake-energy could not {at}: the sensor is busy",)
    )


def test_an_interrupt_stops_the_source(clock: FakeClock) -> None:
    energy = FakeEnergy(clock)
    with pytest.raises(KeyboardInterrupt), Tracking(energy):
        raise KeyboardInterrupt
    assert energy.log == ["energy on", "energy off"]
