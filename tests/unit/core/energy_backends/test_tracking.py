"""A source around which nothing may fail."""

import pytest

from llenergymeasure.core.energy_backends.tracking import Tracking, with_rows_of
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.domain.warnings import MeasurementWarning
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
    reason = MeasurementWarning("energy_unavailable", f"fake-energy could not {at}: the sensor is busy")
    assert tracking.measurement == EnergyMeasurement(None, 0.0, 0, warnings=(reason,))


def test_an_interrupt_stops_the_source(clock: FakeClock) -> None:
    energy = FakeEnergy(clock)
    with pytest.raises(KeyboardInterrupt), Tracking(energy):
        raise KeyboardInterrupt
    assert energy.log == ["energy on", "energy off"]


OF_THE_GPU = MeasurementWarning("absurd_power", "of the GPU", device="GPU-0")
GPU = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=300.0, source="counter", uncertainty_j=2.0)
CPU = DeviceEnergy(device="package-0", kind="cpu", energy_j=80.0, source="counter", uncertainty_j=0.5)
MEMORY = DeviceEnergy(device="dram-0", kind="dram", energy_j=10.0, source="counter")
HEADLINE = EnergyMeasurement(
    300.0, 4.0, 40, per_gpu_j={"GPU-0": 300.0}, devices=(GPU,), uncertainty_j=2.0, warnings=(OF_THE_GPU,)
)


def test_rows_of_another_source_are_listed_after_the_headlines_own_and_not_added() -> None:
    beside = EnergyMeasurement(80.0, 4.0, 2, devices=(CPU, MEMORY), uncertainty_j=0.5)
    assert with_rows_of(HEADLINE, beside) == EnergyMeasurement(
        300.0,
        4.0,
        40,
        per_gpu_j={"GPU-0": 300.0},
        devices=(GPU, CPU, MEMORY),
        uncertainty_j=2.0,
        warnings=(OF_THE_GPU,),
    )


def test_a_source_beside_that_was_lost_says_that_the_total_does_not_depend_on_it() -> None:
    said = tuple(map(MeasurementWarning.of, ("energy_unavailable: no", "wrapped")))
    beside = EnergyMeasurement(None, 4.0, 0, devices=(MEMORY,), warnings=said)
    both = with_rows_of(HEADLINE, beside)
    assert (both.total_j, both.devices) == (300.0, (GPU, MEMORY))
    assert list(map(str, both.warnings)) == [
        "absurd_power: of the GPU",
        "not_in_the_total: energy_unavailable: no",
        "not_in_the_total: unnamed: wrapped",
    ]
