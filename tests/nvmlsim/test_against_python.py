"""The library and its twin in Python give the same figures, to the last digit."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nvmlsim
from nvmlsim import Counter, Gpu, Scenario, Sensor, Sensors, Trace
from tests.fakes.effort import examples
from tests.nvmlsim.processes import AVERAGE, INSTANT, Client, Driver, constant, started_ago


@st.composite
def gpus(draw: st.DrawFn) -> Gpu:
    """Cards whose times are no round numbers."""
    times_s = st.floats(-5, 60)
    periods_s = st.floats(1e-4, 2) | st.sampled_from([1e-4, 0.1])
    steps = draw(st.lists(st.tuples(times_s, st.floats(0, 1000)), min_size=1, max_size=8))
    repeat = draw(st.none() | st.tuples(times_s, periods_s))
    sensors = st.builds(Sensor, periods_s, periods_s, times_s, st.floats(0.5, 2))
    counter = st.builds(
        Counter,
        tick_s=periods_s,
        phase_s=times_s,
        gain=st.floats(0.5, 2),
        offset_mj=st.integers(0, 10**13),
        fed_by=st.none() | sensors,
        resets_s=st.lists(times_s, max_size=2).map(tuple),
        stuck_s=st.lists(st.tuples(times_s, times_s), max_size=2).map(tuple),
        jumps=st.lists(st.tuples(times_s, st.floats(-1e4, 1e4)), max_size=2).map(tuple),
    )
    readings = Sensors(instant=draw(sensors), average=draw(sensors))
    return Gpu(power_w=Trace(tuple(steps), repeat), sensors=readings, counter=draw(counter))


@pytest.fixture(scope="module")
def witness(shared_driver: Driver) -> Client:
    Scenario(gpus=(constant(1),)).write(shared_driver.path)
    return shared_driver.client()


@settings(deadline=None, max_examples=examples(300))
@given(gpu=gpus(), times_s=st.lists(st.floats(-10, 2000) | st.floats(-10, 1e8), min_size=2, max_size=6))
def test_the_library_and_python_agree(shared_driver: Driver, witness: Client, gpu: Gpu, times_s: list[float]) -> None:
    Scenario(gpus=(gpu,), epoch_s=0).write(shared_driver.path)  # then scenario time is what the library is asked for
    assert gpu.sensors.instant is not None
    assert gpu.sensors.average is not None
    for t0, t1 in pairwise(times_s):
        python = [
            nvmlsim.true_energy_j(gpu, t0, t1),
            nvmlsim.true_power_w(gpu, t1),
            round(nvmlsim.sensor_power_w(gpu, gpu.sensors.instant, t1) * 1000),
            round(nvmlsim.sensor_power_w(gpu, gpu.sensors.average, t1) * 1000),
            nvmlsim.counter_mj(gpu, t1),
        ]
        library = [
            witness.value("nvmlsim_true_energy_j", 0, t0, t1),
            witness.value("nvmlsim_true_power_w", 0, t1),
            witness.value("nvmlsim_sensor_mw", 0, INSTANT, t1),
            witness.value("nvmlsim_sensor_mw", 0, AVERAGE, t1),
            witness.value("nvmlsim_counter_mj", 0, t1),
        ]
        assert library == python


def test_there_is_no_truth_about_what_is_not_there(driver: Driver) -> None:
    client = driver.start(started_ago(1, constant(100, counter=None, sensors=Sensors())))
    assert math.isnan(client.value("nvmlsim_true_energy_j", 1, 0, 1))
    assert math.isnan(client.value("nvmlsim_true_power_w", 1, 0))
    assert math.isnan(client.value("nvmlsim_sensor_mw", 0, INSTANT, 0))
    assert client.value("nvmlsim_counter_mj", 0, 0) == -1
