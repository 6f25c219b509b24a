"""What a sensor has without writing it."""

import pytest

from llenergymeasure.core.energy_backends.base import SensorBase, SensorContext, sees_gpus
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.protocols import EnergyBackend
from llenergymeasure.testing import FakeClock, FakeEnergy


def test_four_names_make_a_whole_sensor() -> None:
    clock = FakeClock()
    bare = FakeEnergy(clock, 20.0)
    sensor = with_defaults(bare, SensorBase)
    assert isinstance(sensor, EnergyBackend)
    assert (sensor.name, sensor.scope, sensor.modelled, sensor.remedy) == ("fake-energy", None, False, "")
    assert sensor.problem() is None
    tracker = sensor.start_tracking()
    clock.sleep(3.0)
    assert sensor.stop_tracking(tracker).total_j == 60.0
    bare.power_w = None
    assert sensor.problem() == "it read no device"


def test_one_that_says_its_problem_is_available_when_there_is_none() -> None:
    class Sensor(SensorBase):
        name = "sensor"
        said: str | None = "no device"

        def problem(self) -> str | None:
            return self.said

    sensor = Sensor.in_context(SensorContext(devices=()))
    assert not sensor.is_available()
    sensor.said = None
    assert sensor.is_available()


def test_one_that_says_neither_is_told_so() -> None:
    class Sensor(SensorBase):
        name = "sensor"

    for call in (Sensor().problem, Sensor().is_available):
        with pytest.raises(NotImplementedError, match=r"Sensor has neither problem\(\) nor is_available\(\)"):
            call()
    with pytest.raises(NotImplementedError, match="start_tracking"):
        Sensor().start_tracking()
    with pytest.raises(NotImplementedError, match="stop_tracking"):
        Sensor().stop_tracking(None)


@pytest.mark.parametrize(
    ("scope", "sees"),
    [("gpu", True), ("module", True), ("wall", True), (None, True), ("package", False), ("dram", False)],
)
def test_what_a_sensor_covers_says_whether_gpus_are_in_it(scope: str | None, sees: bool) -> None:
    sensor = with_defaults(FakeEnergy(FakeClock()), SensorBase)
    kind = type("Scoped", (type(sensor),), {"scope": scope})
    assert sees_gpus(kind()) is sees


def test_a_text_among_warnings_is_a_warning() -> None:
    lost = EnergyMeasurement(None, 1.0, 0, warnings=("energy_unavailable: the plug was pulled",))  # type: ignore[arg-type]
    assert lost.warnings[0].flag == "energy_unavailable"
