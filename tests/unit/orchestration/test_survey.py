"""Engines and sensors are asked beside each other, and what does not answer in time is a line that says so."""

import time
from pathlib import Path

import pytest

from llenergymeasure.config.sensors import ENTRY_POINTS
from llenergymeasure.core.energy_backends.base import NO_GPU_IN_USE
from llenergymeasure.orchestration.survey import NO_ANSWER_YET, Survey
from tests.fakes.distributions import TOY, lay_down

SENSOR = """\
import time
class Sensor:
    name = {name!r}
    modelled = False
    def is_available(self):
        {first}
        return True
    def start_tracking(self): return time.monotonic()
    def stop_tracking(self, start_s):
        from llenergymeasure.domain.metrics import EnergyMeasurement
        seconds = time.monotonic() - start_s
        return EnergyMeasurement(7.5 * seconds, seconds, 2)
"""


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine and a sensor that answer, and one of each that hangs, all from elsewhere."""
    hanging = TOY.replace('"toy"', '"hangs"') + "\nimport time; time.sleep(600)\n"
    lay_down(
        tmp_path,
        {"llem_toy": TOY, "llem_hangs": hanging},
        {"toy": "llem_toy:ToyEngine", "hangs": "llem_hangs:ToyEngine"},
    )
    sensors = {
        "llem_plug": SENSOR.format(name="plug", first="pass"),
        "llem_dead": SENSOR.format(name="dead", first="time.sleep(600)"),
    }
    lay_down(tmp_path, sensors, {"plug": "llem_plug:Sensor", "dead": "llem_dead:Sensor"}, "llem-sensors", ENTRY_POINTS)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("brought")
def test_who_hangs_is_not_waited_for_and_keeps_no_other_from_answering() -> None:
    start_s = time.monotonic()
    survey = Survey(["toy", "hangs"], ["plug", "dead", "rapl"], (), wait_s=15.0)
    engines = {each.name: each for each in survey.engines()}
    sensors = {each.name: each for each in survey.sensors()}
    # Both wait side by side, and neither for itself.
    assert time.monotonic() - start_s < 28
    assert engines["toy"].problem is None
    assert list(sensors) == ["plug", "dead", "rapl"]
    assert sensors["plug"].problem is None
    # A watt is a joule per second: what it says of any window.
    assert sensors["plug"].read_w == pytest.approx(7.5)
    for problem in (engines["hangs"].problem, sensors["dead"].problem):
        # Its own process may be given up a moment before.
        assert problem is not None
        assert NO_ANSWER_YET in problem or "15 s" in problem
    assert sensors["rapl"].problem is not None or sensors["rapl"].modelled is False


def test_what_is_quick_is_asked_when_its_turn_comes() -> None:
    survey = Survey(["pytorch"], ["rapl", "hwmon"], (), wait_s=0.0)
    # Nothing that the deadline could be for.
    assert [each.name for each in survey.sensors()] == ["rapl", "hwmon"]
    assert all(NO_ANSWER_YET not in (each.problem or "") for each in survey.engines())
    assert all(NO_ANSWER_YET not in (each.problem or "") for each in survey.sensors())


def test_where_no_engine_uses_the_gpus_their_sensors_are_of_no_use() -> None:
    survey = Survey([], ["zeus", "nvml", "rapl"], ("GPU-1",), wait_s=0.0)
    problems = {each.name: each.problem for each in survey.sensors(use_gpus=False)}
    assert problems["zeus"] == problems["nvml"] == NO_GPU_IN_USE
    assert problems["rapl"] != NO_GPU_IN_USE


@pytest.mark.usefixtures("brought")
def test_without_time_nothing_is_known_of_what_takes_any() -> None:
    survey = Survey(["toy"], ["plug", "codecarbon"], (), wait_s=0.0)
    found = [*(each.problem for each in survey.engines()), *(each.problem for each in survey.sensors())]
    assert [str(problem).startswith(NO_ANSWER_YET) for problem in found] == [True, True, True]
