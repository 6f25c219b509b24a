"""Windows of idling, on devices whose power is known at every moment."""

import math

import pytest

from llenergymeasure.core.idling.slices import IdleMeter, Idling, Level, idling_of, measured_idling
from llenergymeasure.testing import FakeClock, FakeEnergy
from tests.fakes.traced import TracedEnergy

# The 97.5 % point of Student's t with 9 degrees of freedom, from any table.
T_9 = 2.262157

Steps = list[tuple[float, float]]


def idled(*gpus: Steps, seconds: float = 30.0, bound_w: float | None = 0.0, update_s: float = 0.0) -> Idling:
    clock = FakeClock()
    powers = {f"GPU-{i}": steps for i, steps in enumerate(gpus)}
    energy = TracedEnergy(clock, powers, bound_w=bound_w, update_s=update_s)
    found = idling_of(measured_idling(energy, seconds, clock.sleep))
    assert found is not None
    return found


def test_a_wait_is_cut_into_ten_slices() -> None:
    clock = FakeClock()
    found = measured_idling(FakeEnergy(clock, log=clock.log), 30.0, clock.sleep)
    assert [m.duration_sec for m in found] == [3.0] * 10
    assert clock() == 30.0
    assert (clock.log.count("energy on"), clock.log.count("energy off")) == (10, 10)


@pytest.mark.parametrize(
    ("seconds", "slices"),
    [(5.0, [1.0] * 5), (60.0, [5.0] * 12), (1.5, [0.5] * 3), (7.5, [1.0] * 7 + [0.5])],
)
def test_a_slice_is_neither_short_nor_long(seconds: float, slices: list[float]) -> None:
    clock = FakeClock()
    found = measured_idling(FakeEnergy(clock), seconds, clock.sleep)
    assert [m.duration_sec for m in found] == pytest.approx(slices)


def test_a_slow_sensor_gets_longer_slices() -> None:
    clock = FakeClock()
    energy = TracedEnergy(clock, {"W": [(0.0, 60.0)]}, update_s=1.0)
    # Ten updates are 10 s, from the second slice on.
    assert [m.duration_sec for m in measured_idling(energy, 33.0, clock.sleep)] == pytest.approx([3.3, 10, 10, 9.7])


def test_power_that_never_changes_is_steady_and_known() -> None:
    found = idled([(0.0, 60.0)])
    assert (found.disturbance, found.duration_sec, found.devices) == (None, 30.0, ("GPU-0",))
    assert found.whole.power_w == pytest.approx(60.0)
    assert found.whole.uncertainty_w == pytest.approx(0.0, abs=1e-9)
    assert found.by_device["GPU-0"] == found.whole


def test_the_bound_holds_scatter_and_what_the_sensor_leaves_open() -> None:
    # 59 and 61 W in turn, three seconds each: s = sqrt(10 / 9), and a bound of 0.5 W each time.
    found = idled([(3.0 * i, 59.0 + 2 * (i % 2)) for i in range(10)], bound_w=0.5)
    assert found.disturbance is None
    assert found.whole.power_w == pytest.approx(60.0)
    assert found.whole.uncertainty_w == pytest.approx(T_9 * math.sqrt(10 / 9) / math.sqrt(10) + 0.5, rel=1e-5)


def test_a_burst_of_somebody_else_is_seen_and_is_not_idle() -> None:
    # 300 W from 10 to 14 s: (60 + 2 x 300) / 3 = 220 W in the fourth and in the fifth slice, 60 W in the others.
    found = idled([(0.0, 60.0), (10.0, 300.0), (14.0, 60.0)])
    assert found.whole.power_w == pytest.approx(60.0)
    # The bound reaches to the mean of all, (8 x 60 + 2 x 220) / 10.
    assert found.whole.uncertainty_w == pytest.approx(32.0)
    assert found.disturbance == (
        "power while idling went from 60 to 220 W in means of a slice, and 8 of 10 slices are at one quiet level"
    )


@pytest.mark.parametrize("since_s", [6.0, 15.0, 21.0])
def test_a_load_that_comes_to_stay_is_seen(since_s: float) -> None:
    found = idled([(0.0, 60.0), (since_s, 90.0)])
    quiet = round(since_s / 3)
    if quiet >= 3:
        assert found.whole.power_w == pytest.approx(60.0)
    # Whatever it was without that load is within the bound.
    assert found.disturbance is not None
    assert found.whole.uncertainty_w is not None
    assert abs(found.whole.power_w - 60.0) <= found.whole.uncertainty_w + 1e-9


def test_own_work_that_dies_away_at_first_is_left_out() -> None:
    # As after a warm-up: 200 W for four seconds, 80 for five, then 60.
    found = idled([(0.0, 200.0), (4.0, 80.0), (9.0, 60.0)])
    assert found.disturbance is None
    assert found.whole.power_w == pytest.approx(60.0)
    assert found.duration_sec == 21.0


def test_what_never_rests_has_no_level_and_a_bound_that_reaches_everywhere() -> None:
    # 60, 80, 100, ... 240 W, three seconds each: 150 W in the mean, 90 W from either end.
    found = idled([(3.0 * i, 60.0 + 20 * i) for i in range(10)])
    assert found.disturbance is not None
    assert "0 of 10 slices" in found.disturbance
    assert found.whole.power_w == pytest.approx(150.0)
    # The standard deviation of 0, 20, ... 180 is sqrt(82.5 x 400 / 90 x 10).
    scatter_w = T_9 * math.sqrt(82.5 * 400 / 90 * 10) / math.sqrt(10)
    assert found.whole.uncertainty_w == pytest.approx(90.0 + scatter_w, rel=1e-5)


def test_the_load_on_one_of_eight_cards_is_not_hidden_by_the_others() -> None:
    # 9 W more on one for a third of the time are 1.6 % of the 560 W of all.
    found = idled(*([[(0.0, 70.0)]] * 7), [(0.0, 70.0), (12.0, 79.0), (21.0, 70.0)])
    assert found.disturbance is not None
    assert found.by_device["GPU-7"].power_w == pytest.approx(70.0)
    assert found.by_device["GPU-7"].uncertainty_w == pytest.approx(2.7)
    assert found.whole.power_w == pytest.approx(560.0)


def test_ticks_of_a_coarse_counter_are_no_load_of_others() -> None:
    # Slices of 1 s and updates of 0.3 s: 0.9 or 1.2 s of 60 W show in one.
    found = idled([(0.0, 60.0)], seconds=10.0, bound_w=None, update_s=0.3)
    assert found.disturbance is None
    assert found.whole.uncertainty_w is not None
    # An update of 60 W in slices of three seconds, which are ten of them.
    assert found.whole.noise_w == pytest.approx(0.0, abs=1e-9)
    assert found.whole.uncertainty_w == pytest.approx(6.0)
    assert abs(found.whole.power_w - 60.0) <= found.whole.uncertainty_w


def test_two_slices_have_a_bound_only_from_their_sensor() -> None:
    clock = FakeClock()
    slices = measured_idling(TracedEnergy(clock, {"GPU-0": [(0.0, 60.0), (1.0, 62.0)]}), 3.0, clock.sleep)
    unbounded = idling_of(slices[:2])
    assert unbounded is not None
    assert unbounded.whole.power_w == pytest.approx(61.0)
    assert unbounded.whole.uncertainty_w is None
    clock = FakeClock()
    slices = measured_idling(TracedEnergy(clock, {"GPU-0": [(0.0, 60.0), (1.0, 62.0)]}, bound_w=0.5), 3.0, clock.sleep)
    bounded = idling_of(slices[:2])
    assert bounded is not None
    assert bounded.whole.uncertainty_w == pytest.approx(2.5)


def test_a_sensor_that_is_lost_at_once_is_not_waited_for_and_gives_nothing() -> None:
    clock = FakeClock()
    found = measured_idling(FakeEnergy(clock, power_w=None), 30.0, clock.sleep)
    assert clock() == 3.0
    assert idling_of(found) is None


def test_a_slice_without_energy_costs_itself_only() -> None:
    clock = FakeClock()
    energy = FakeEnergy(clock, 60.0)
    with IdleMeter(energy, 30.0, clock.sleep) as meter:
        meter.sleep(12.0)
        energy.power_w = None
        meter.sleep(3.0)
        energy.power_w = 60.0
        meter.sleep(15.0)
    found = idling_of(meter.measurements)
    assert found is not None
    assert found.whole.power_w == pytest.approx(60.0)
    assert (found.duration_sec, found.disturbance) == (27.0, None)


def test_a_slice_goes_on_from_one_wait_to_the_next_and_ends_with_the_meter() -> None:
    clock = FakeClock()
    with IdleMeter(FakeEnergy(clock, 60.0), 60.0, clock.sleep) as meter:
        for _ in range(12):
            meter.sleep(1.0)
    # Slices of five seconds; what is left of the third is too short to count.
    assert [m.duration_sec for m in meter.measurements] == [5.0, 5.0, 2.0]
    found = idling_of(meter.measurements)
    assert found is not None
    assert found.duration_sec == 10.0


def test_levels_differ_where_their_bounds_do_not_meet() -> None:
    assert Level(power_w=60.0, uncertainty_w=1.0).differs_from(Level(power_w=62.1, uncertainty_w=1.0))
    assert not Level(power_w=60.0, uncertainty_w=1.0).differs_from(Level(power_w=61.9, uncertainty_w=1.0))
    assert Level(power_w=60.0).differs_from(Level(power_w=60.1))
