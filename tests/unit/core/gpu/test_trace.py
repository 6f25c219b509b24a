"""Readings of power that cannot be, and a sensor that stands still, with nothing but power to go by."""

import random
from collections.abc import Callable

import pytest

from llenergymeasure.core.gpu.energy import CardFacts, GpuEnergy, GpuRecord, gpu_energy
from llenergymeasure.core.gpu.power_sensor import PowerSensor
from llenergymeasure.domain.telemetry import PowerThermalSample
from nvmlsim import Trace
from tests.fakes.counter import card, reads_around

# A session of 16 s whose window is 2 s long.
FIRST_S, START_S, END_S, LAST_S = 0.0, 8.0, 10.0, 16.0
IDLE_BIT = 0x1

OfTime = Callable[[float], float | None]


def in_window(inside: float, outside: float, lag_s: float = 0.0) -> OfTime:
    """One value while the window's load is there, and another without it."""
    return lambda t: inside if START_S + lag_s <= t < END_S + lag_s else outside


def jittering(watts: OfTime, seed: int = 1) -> OfTime:
    """With a last digit that changes, as a real sensor's does."""
    chance = random.Random(seed)
    return lambda t: (watts(t) or 0.0) + chance.randint(-900, 900) / 1000


def found(
    power_w: OfTime,
    used_pct: OfTime = lambda _: None,
    *,
    is_idle: Callable[[float], bool] = lambda _: False,
    interval_s: float = 0.1,
    with_counter: bool = False,
) -> GpuEnergy:
    """What is made of the readings of a session in which utilisation is read twice a second."""
    times = [FIRST_S + 0.03 + n * interval_s for n in range(int((LAST_S - FIRST_S) / interval_s))]
    slow = round(0.5 / interval_s)
    samples = [
        PowerThermalSample(
            t,
            power_w(t),
            sm_utilisation=None if n % slow else used_pct(t),
            throttle_reasons=IDLE_BIT if is_idle(t) else 0,
            gpu_index=0,
        )
        for n, t in enumerate(times)
    ]
    gpu = card(Trace(((0, 60), (START_S, 300), (END_S, 60))), 0.1, 0.03)
    facts = CardFacts(power_field="instant", power_lag_s=0.1, power_limit_w=700.0, sensor=PowerSensor(0.1, 0.1))
    reads = reads_around(gpu, START_S, END_S) if with_counter else []
    made = GpuRecord(uuid="GPU-a", card=facts, samples=samples, counter_reads=reads, interval_s=interval_s)
    return gpu_energy(made, START_S, END_S)


def flags(gpu: GpuEnergy) -> list[str]:
    return [warning.flag for warning in gpu.warnings]


# Readings that cannot be


@pytest.mark.parametrize("watts", [0.0, -1.0, 4000.0])
def test_a_sensor_that_only_says_what_cannot_be_gives_no_joules(watts: float) -> None:
    gpu = found(lambda _: watts)
    assert (gpu.row.energy_j, gpu.row.uncertainty_j) == (None, None)
    assert flags(gpu) == ["absurd_power"]
    # 2 s of readings every 0.1 s.
    assert "(0 readings, 20 absurd ones left out)" in (gpu.problem or "")


def test_zeros_between_readings_are_bridged_and_longer_gaps_are_not() -> None:
    two_of_five = found(lambda t: 0.0 if round(t * 10) % 5 < 2 else 300.0)
    assert two_of_five.row.energy_j == pytest.approx(600, rel=1e-9)
    assert flags(two_of_five) == ["absurd_power", "power_may_be_stuck"]
    four_in_a_row = found(lambda t: 0.0 if round(t * 10) % 10 < 4 else 300.0)
    assert four_in_a_row.row.energy_j is None
    assert four_in_a_row.problem is not None


def test_what_was_absurd_long_before_the_window_is_not_held_against_it() -> None:
    gpu = found(jittering(lambda t: 300.0 if t > 5 else -5.0))
    assert flags(gpu) == []
    assert gpu.row.energy_j == pytest.approx(600, rel=1e-3)


# A sensor that stands still


@pytest.mark.parametrize("lag_s", [0.0, 0.5, 1.0])
def test_the_same_power_at_rest_and_at_work_is_none(lag_s: float) -> None:
    gpu = found(lambda _: 85.0, in_window(100, 0, lag_s))
    assert (gpu.row.energy_j, gpu.row.uncertainty_j) == (None, None)
    assert "stood still at 85 W" in (gpu.problem or "")
    assert "utilisation went from 0 to 100 %" in (gpu.problem or "")


def test_clocks_that_go_from_idle_to_work_show_it_too() -> None:
    gpu = found(lambda _: 85.0, is_idle=lambda t: not START_S <= t < END_S)
    assert gpu.row.energy_j is None
    assert "clocks went from idle to work" in (gpu.problem or "")


def test_beside_a_counter_a_witness_that_stood_still_is_none() -> None:
    gpu = found(lambda _: 85.0, in_window(100, 0), with_counter=True)
    assert gpu.row.source == "counter"
    assert gpu.row.energy_j == pytest.approx(600, rel=2e-3)
    assert gpu.row.witness_j is None
    assert flags(gpu) == ["energy_witness_unavailable"]
    assert "stood still at 85 W" in str(gpu.warnings[0])


@pytest.mark.parametrize("interval_s", [0.01, 0.1])
def test_readings_that_changed_each_time_and_stop_doing_so_under_load_are_none(interval_s: float) -> None:
    live = jittering(in_window(300, 85))
    held: dict[int, float | None] = {}

    def stuck(t: float) -> float | None:
        # A reading is new every 0.1 s; from 7 s on none is.
        n = min(round(t, 6) // 0.1, 70)
        return held.setdefault(int(n), live(t))

    assert found(stuck, lambda t: 97.0, interval_s=interval_s).row.energy_j is None
    # A card at rest may give the same for long.
    at_rest = found(stuck, lambda t: 0.0, interval_s=interval_s)
    assert at_rest.row.energy_j == pytest.approx(170, abs=3)


# Power that is really constant


def test_a_constant_load_that_goes_on_is_believed_and_the_warning_says_that_it_may_be_none() -> None:
    gpu = found(lambda _: 300.0, lambda _: 100.0)
    assert gpu.row.energy_j == pytest.approx(600, rel=1e-9)
    assert flags(gpu) == ["power_may_be_stuck"]
    assert "every power reading of GPU-a is 300 W" in str(gpu.warnings[0])
    assert flags(found(lambda t: 300.001 if 8.9 < t < 9.0 else 300.0, lambda _: 100.0)) == []


def test_beside_a_counter_constant_power_is_nothing_to_warn_of() -> None:
    gpu = found(in_window(300.0, 60.0), in_window(100, 0), with_counter=True)
    assert flags(gpu) == []
    assert gpu.row.witness_j == pytest.approx(600, rel=0.05)


@pytest.mark.parametrize("lag_s", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("late_s", [0.0, 0.1])
def test_constant_loads_that_utilisation_follows_late_are_believed(lag_s: float, late_s: float) -> None:
    # Power is taken to be 0.1 s late, half of what it averages and half a refresh; utilisation may be up to a second:
    # 240 W for each second that this is off, and a step between two readings at either edge.
    idle = in_window(0, 1, late_s)
    gpu = found(in_window(300, 60, late_s), in_window(100, 0, lag_s), is_idle=lambda t: idle(t) == 1)
    assert gpu.row.energy_j == pytest.approx(600, abs=240 * (abs(0.1 - late_s) + 0.1))
    assert flags(gpu) == []
