"""What part-time sensors make of periodic loads."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.core.gpu.power_sensor import Pauses, PowerSensor, aliasing_of, dithered_aliasing_of
from llenergymeasure.core.nvidia.power_sensors import power_sensor_of, usage_lag_s
from tests.fakes.effort import examples

A100 = PowerSensor(0.1, 0.025)
V100 = PowerSensor(0.02, 0.01)


@pytest.mark.parametrize(
    ("name", "architecture", "expected"),
    [
        ("NVIDIA A100-SXM4-80GB", 7, A100),
        ("NVIDIA A30", 7, A100),
        ("NVIDIA A800-SXM4-80GB", None, A100),
        ("NVIDIA H100 80GB HBM3", 9, A100),
        ("NVIDIA GH200 480GB", 9, A100),
        ("NVIDIA H100 PCIe", None, A100),
        ("Tesla V100-SXM2-16GB", 5, V100),
        ("Tesla P100-PCIE-16GB", None, V100),
        ("NVIDIA GeForce GTX 1080", 4, V100),
        ("NVIDIA GeForce RTX 3090", 7, PowerSensor(0.1, 0.1)),
        ("NVIDIA GeForce RTX 4090", 8, PowerSensor(0.1, 0.1)),
        ("NVIDIA A10", 7, None),
        ("NVIDIA A1000", 7, None),
        ("NVIDIA L40S", 8, None),
        ("NVIDIA B200", 10, None),
        ("Tesla T4", 6, None),
        ("", None, None),
    ],
)
def test_the_card_tells_its_sensor_and_of_unknown_cards_nothing_is_claimed(
    name: str, architecture: int | None, expected: PowerSensor | None
) -> None:
    assert power_sensor_of(name, architecture) == expected


# NVIDIA's documentation of nvmlDeviceGetPowerUsage: on Ampere (except GA100) or newer GPUs, power averaged over 1 s.
@pytest.mark.parametrize(
    ("name", "architecture", "lag_s"),
    [
        ("NVIDIA A100-SXM4-80GB", 7, 0.1),
        ("NVIDIA A30", 7, 0.1),
        ("NVIDIA A800-SXM4-80GB", 7, 0.1),
        ("NVIDIA A10", 7, 1.0),
        ("NVIDIA RTX A6000", 7, 1.0),
        ("NVIDIA A1000", 7, 1.0),
        ("NVIDIA GeForce RTX 4090", 8, 1.0),
        ("NVIDIA H100 80GB HBM3", 9, 1.0),
        ("NVIDIA B200", 10, 1.0),
        ("Tesla V100-SXM2-16GB", 5, 0.1),
        ("Tesla T4", 6, 0.1),
        ("Tesla P100-PCIE-16GB", 4, 0.1),
        ("Tesla V100-SXM2-16GB", None, 1.0),
        ("unknown GPU", None, 1.0),
    ],
)
def test_what_power_usage_shows_is_a_second_old_where_it_is_an_average_or_nobody_knows(
    name: str, architecture: int | None, lag_s: float
) -> None:
    assert usage_lag_s(name, architecture) == lag_s


def test_a_sensor_that_is_polled_slowly_sees_less() -> None:
    full_time = PowerSensor(0.1, 0.1)
    assert (full_time.part_time, A100.part_time) == (False, True)
    assert full_time.polled_every(0.05) == full_time
    assert full_time.polled_every(1.0) == PowerSensor(1.0, 0.1)
    assert full_time.polled_every(1.0).part_time


# The swing is 4/3 of the mean. With q readings to a period T, folded to F = T / q, and a rest r of the window w in it,
# 4/3 / q * r * (F - r) / (F * w) is left.
@pytest.mark.parametrize(
    ("period_s", "sensor", "residual_pct", "n_phases"),
    [
        (0.1, A100, 100.0, 1),  # F = 100 ms, r = 25: 4/3 * 25 * 75 / (100 * 25)
        (0.05, A100, 66.6667, 1),  # 4/3 * 25 * 25 / (50 * 25)
        (0.02, A100, 20.0, 1),  # 4/3 * 5 * 15 / (20 * 25)
        (0.04, A100, 10.0, 2),  # two readings to five periods: F = 20 ms
        (0.2, A100, 50.0, 2),  # F = 100 ms and half the swing: 4/3 / 2 * 25 * 75 / (100 * 25)
        (0.02, V100, 66.6667, 1),
        (0.01, V100, None, 0),
        (0.025, A100, None, 0),
        (0.0125, A100, None, 0),
        (0.00001, A100, None, 0),
    ],
)
def test_what_is_left_when_the_phases_stand_still(
    period_s: float, sensor: PowerSensor, residual_pct: float | None, n_phases: int
) -> None:
    found = aliasing_of(period_s, sensor, 60.0)
    if residual_pct is None:
        assert found is None
        return
    assert found is not None
    assert found.residual_pct == pytest.approx(residual_pct, abs=1e-3)
    assert (found.n_phases, found.beat_s) == (n_phases, math.inf)


def test_phases_that_wander_leave_half_a_beat_of_the_window() -> None:
    # 100 ms are two periods of 49.5 ms and 1 ms, less the 0.1 ms by which the periods are not known: a beat takes
    # 49.5 * 100 / 0.9 ms = 5.5 s. Standing still would leave 4/3 * 25 * 24.5 / (49.5 * 25) = 65.99 %.
    found = aliasing_of(0.0495, A100, 60.0)
    assert found is not None
    assert found.beat_s == pytest.approx(5.5)
    assert found.residual_pct == pytest.approx(65.993 * 5.5 / 120, rel=1e-4)
    longer = aliasing_of(0.0495, A100, 600.0)
    assert longer is not None
    assert longer.residual_pct == pytest.approx(found.residual_pct / 10)


def test_a_window_without_a_reading_leaves_nothing_to_say() -> None:
    assert aliasing_of(0.05, A100, 0.09) is None
    assert aliasing_of(0.05, A100, 0.0) is None


def _mean_of_readings(period_s: float, sensor: PowerSensor, window_s: float, phase: float) -> float:
    """The mean reading of a load at 5/3 in the first half of its period and 1/3 in the second; its mean is 1."""

    def time_on(t: float) -> float:
        periods, rest = divmod(t, period_s)
        return periods * period_s / 2 + min(rest, period_s / 2)

    first_s = phase * period_s + sensor.window_s
    ends = [first_s + k * sensor.update_s for k in range(int(window_s / sensor.update_s))]
    on = [(time_on(end) - time_on(end - sensor.window_s)) / sensor.window_s for end in ends]
    return statistics.fmean(1 / 3 + 4 / 3 * share for share in on)


@settings(max_examples=examples(150), deadline=None)
@given(
    st.one_of(
        st.floats(0.001, 0.3),
        st.builds(
            lambda p, q, off: 0.1 * q / p * (1 + off),
            st.integers(1, 30),
            st.integers(1, 6),
            st.sampled_from([0.0, 1e-5, 3e-4, -2e-3]),
        ),
    ),
    st.sampled_from([A100, V100]),
    st.sampled_from([10.0, 60.0]),
    st.floats(0, 1),
)
def test_no_square_load_is_off_by_more_than_is_said(
    period_s: float, sensor: PowerSensor, window_s: float, phase: float
) -> None:
    found = aliasing_of(period_s, sensor, window_s)
    allowed_pct = 0.0 if found is None else found.residual_pct
    off_pct = 100 * abs(_mean_of_readings(period_s, sensor, window_s, phase) - 1)
    # Beside the worst of all phases go the smaller shares of the others, and the cut period at the end.
    assert off_pct <= allowed_pct + 0.2 + 100 * period_s / window_s


def test_pauses_of_a_period_make_every_batch_begin_anywhere_in_it() -> None:
    assert Pauses(longest_s=0.1, n_batches=1, batch_s=1.0).alike(0.1) == pytest.approx(0.0, abs=1e-12)
    # Of half a period the first coefficient is sin(pi / 2) / (pi / 2).
    assert Pauses(longest_s=0.05, n_batches=1, batch_s=1.0).alike(0.1) == pytest.approx(2 / math.pi)
    assert Pauses(longest_s=0.0, n_batches=1, batch_s=1.0).alike(0.1) == 1.0


@pytest.mark.parametrize(
    ("longest_s", "n_batches", "left_pct"),
    [
        # Of 66.7 % in a batch 2 / sqrt(3 x 100), of a single batch all.
        (0.1, 100, 200 / 3 * 2 / math.sqrt(300)),
        (0.1, 1, 200 / 3),
        (0.0, 100, 200 / 3),
        # Pauses of half a period: a hundred batches that are 2 / pi alike are (pi - 2) / (pi + 2) as many.
        (0.05, 100, 200 / 3 * 2 / math.sqrt(300 * (math.pi - 2) / (math.pi + 2))),
    ],
)
def test_what_pauses_leave_of_a_load_in_step(longest_s: float, n_batches: int, left_pct: float) -> None:
    found = dithered_aliasing_of(0.05, A100, Pauses(longest_s=longest_s, n_batches=n_batches, batch_s=2.0))
    assert found is not None
    assert found.residual_pct == pytest.approx(left_pct)


def test_what_is_not_in_step_is_not_in_step_with_pauses_either() -> None:
    assert dithered_aliasing_of(0.025, A100, Pauses(longest_s=0.1, n_batches=10, batch_s=2.0)) is None


@pytest.mark.parametrize("longest_s", [0.03, 0.1, 0.25])
def test_the_bound_of_a_window_with_pauses_holds_in_nineteen_of_twenty(longest_s: float) -> None:
    """Batches of twenty looks at a load that is on for 25 of every 50 ms, at a fifth of its power otherwise."""
    draws, n_batches = np.random.default_rng(7), 40
    bound = dithered_aliasing_of(0.05, A100, Pauses(longest_s=longest_s, n_batches=n_batches, batch_s=2.0))
    assert bound is not None
    pauses_s = draws.uniform(0, longest_s, (20_000, n_batches))
    phases_s = (draws.uniform(0, 0.1, (20_000, 1)) + np.cumsum(pauses_s, axis=1)) % 0.05
    # All looks of a batch are alike: for such a share of the 25 ms of one the load is on.
    on = np.abs(1 - phases_s / 0.025)
    errors_pct = 100 * ((0.2 + 0.8 * on) / 0.6 - 1)
    assert np.mean(np.abs(errors_pct.mean(axis=1)) <= bound.residual_pct) >= 0.95
