"""The integral under a power trace, and what throttle bits say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.domain.telemetry import (
    PowerThermalSample,
    integrate_power_j,
    integration_uncertainty_j,
    throttle_info,
)
from tests.unit.domain.conftest import calm

PERIOD_S = 0.1


def test_three_samples_of_100_w_over_200_ms_are_20_joules() -> None:
    assert integrate_power_j([0.0, 0.1, 0.2], [100.0, 100.0, 100.0]) == pytest.approx(20.0, rel=1e-12)


def test_the_area_between_two_samples_is_a_trapezoid() -> None:
    # 0 W to 100 W in 1 s: 50 J; on to 40 W in 2 s: 140 J.
    assert integrate_power_j([0.0, 1.0, 3.0], [0.0, 100.0, 40.0]) == pytest.approx(190.0, rel=1e-12)


def test_power_at_the_edges_of_the_window_is_interpolated() -> None:
    # From 25 W at 0.25 s to 75 W at 0.75 s: 50 W for half a second.
    assert integrate_power_j([0.0, 1.0], [0.0, 100.0], start_s=0.25, end_s=0.75) == pytest.approx(25.0, rel=1e-12)


def test_power_outside_the_samples_is_held() -> None:
    # 10 W held for 1 s, 10 to 20 W for 1 s, 20 W held for 2 s.
    assert integrate_power_j([1.0, 2.0], [10.0, 20.0], start_s=0.0, end_s=4.0) == pytest.approx(65.0, rel=1e-12)


def test_power_is_held_for_no_more_than_three_periods() -> None:
    assert integrate_power_j([0.0, 0.1], [10.0, 10.0], end_s=0.4) == pytest.approx(4.0, rel=1e-12)
    assert integrate_power_j([0.0, 0.1], [10.0, 10.0], end_s=0.45) is None
    assert integrate_power_j([1.0, 1.1], [10.0, 10.0], start_s=0.65) is None


@calm
@given(
    phase=st.floats(0, 1, exclude_max=True),
    n_periods=st.integers(1, 40),
    rest=st.floats(0, 1),
    power_w=st.floats(0.1, 2000),
    origin_s=st.sampled_from([0.0, 12_345.678, 5e6]),
    failed=st.sets(st.integers(0, 40)),
)
def test_constant_power_is_exact_whatever_the_phase_of_the_samples(
    phase: float, n_periods: int, rest: float, power_w: float, origin_s: float, failed: set[int]
) -> None:
    times = [origin_s + (phase + i) * PERIOD_S for i in range(n_periods + 1)]
    # Of any four reads in a row no two fail, so that no gap is longer than two periods.
    lost = {i for i in failed if i % 4 == 2}
    powers = [None if i in lost else power_w for i in range(len(times))]
    end_s = times[-1] + rest * PERIOD_S / 2
    found = integrate_power_j(times, powers, start_s=origin_s, end_s=end_s, period_s=PERIOD_S)
    assert found == pytest.approx(power_w * (end_s - origin_s), rel=1e-9)


traces = st.lists(
    st.tuples(st.floats(0.05, 0.5), st.none() | st.floats(0, 1000), st.floats(0, 1000)), min_size=2, max_size=25
)


def trace(steps: list[tuple[float, float | None, float]]) -> tuple[list[float], list[float | None]]:
    """Times and powers; a third of the reads of the drawn steps fail."""
    times, powers, now = [], [], 100.0
    for step_s, failing, power in steps:
        now += step_s
        times.append(now)
        powers.append(None if failing is None else power)
    return times, powers


@calm
@given(
    steps=traces,
    cuts=st.lists(st.floats(-0.3, 1.3), min_size=3, max_size=3).map(sorted),
    period_s=st.none() | st.floats(0.05, 0.5),
)
def test_adjacent_windows_add_up_to_the_window_over_both(
    steps: list[tuple[float, float | None, float]], cuts: list[float], period_s: float | None
) -> None:
    times, powers = trace(steps)
    start, cut, end = (times[0] + c * (times[-1] - times[0]) for c in cuts)
    whole, left, right = (
        integrate_power_j(times, powers, start_s=a, end_s=b, period_s=period_s)
        for a, b in ((start, end), (start, cut), (cut, end))
    )
    if whole is None:
        assert left is None or right is None
    else:
        assert left is not None
        assert right is not None
        assert left + right == pytest.approx(whole, rel=1e-9, abs=1e-6)


@calm
@given(steps=traces, factor=st.floats(0.1, 10))
def test_energy_is_proportional_to_power_and_between_its_extremes(
    steps: list[tuple[float, float | None, float]], factor: float
) -> None:
    times, powers = trace([(t, 1.0, p) for t, _, p in steps])
    known = [p for p in powers if p is not None]
    found = integrate_power_j(times, powers, period_s=0.5)
    assert found is not None
    seconds = times[-1] - times[0]
    assert min(known) * seconds * (1 - 1e-9) <= found <= max(known) * seconds * (1 + 1e-9)
    assert integrate_power_j(times, [p * factor for p in known], period_s=0.5) == pytest.approx(found * factor)


@calm
@given(a=st.floats(0, 500), slope=st.floats(0, 50), gaps=st.lists(st.floats(0.05, 0.25), min_size=2, max_size=30))
def test_a_ramp_is_exact_under_uneven_sampling(a: float, slope: float, gaps: list[float]) -> None:
    times = [sum(gaps[:i]) for i in range(len(gaps) + 1)]
    start, end = times[0] + 0.01, times[-1] - 0.01
    found = integrate_power_j(times, [a + slope * t for t in times], start_s=start, end_s=end, period_s=0.1)
    assert found == pytest.approx(a * (end - start) + slope * (end**2 - start**2) / 2, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("n_failed", "energy_j"), [(0, 90.0), (1, 90.0), (2, 90.0), (3, None), (5, None)])
@pytest.mark.parametrize("period_s", [None, PERIOD_S])
def test_failed_reads_are_bridged_up_to_three_periods_and_no_further(
    n_failed: int, energy_j: float | None, period_s: float | None
) -> None:
    powers = [None if 3 <= i < 3 + n_failed else 100.0 for i in range(10)]
    found = integrate_power_j([i * PERIOD_S for i in range(10)], powers, period_s=period_s)
    assert found == (None if energy_j is None else pytest.approx(energy_j))


def test_a_failed_read_is_bridged_along_the_line_between_its_neighbours() -> None:
    # 10 W to 30 W over 0.2 s, then 30 W for 0.1 s.
    assert integrate_power_j([0.0, 0.1, 0.2, 0.3], [10.0, None, 30.0, 30.0]) == pytest.approx(7.0, rel=1e-12)


def test_a_long_gap_counts_only_where_it_touches_the_window() -> None:
    times = [0.0, 0.1, 0.2, 5.0, 5.1, 5.2]
    powers = [100.0] * 6
    assert integrate_power_j(times, powers, start_s=0.0, end_s=0.2) == pytest.approx(20.0)
    assert integrate_power_j(times, powers, start_s=5.0, end_s=5.2) == pytest.approx(20.0)
    assert integrate_power_j(times, powers, start_s=0.1, end_s=0.3) is None
    assert integrate_power_j(times, powers, start_s=4.9, end_s=5.2) is None


@pytest.mark.parametrize(
    ("times", "powers"), [([], []), ([0.0], [100.0]), ([0.0, 0.1], [100.0, None]), ([0.0, 0.1], [None, None])]
)
def test_fewer_than_two_usable_samples_have_no_integral(times: list[float], powers: list[float | None]) -> None:
    assert integrate_power_j(times, powers) is None


@pytest.mark.parametrize(
    ("times", "powers", "window"),
    [
        ([0.0, 0.1], [1.0], {}),
        ([0.0, 0.0], [1.0, 1.0], {}),
        ([0.1, 0.0], [1.0, 1.0], {}),
        ([0.0, 0.1], [1.0, 1.0], {"start_s": 0.1, "end_s": 0.05}),
    ],
)
def test_unequal_lengths_and_reversed_times_are_refused(
    times: list[float], powers: list[float | None], window: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match=r"times|window"):
        integrate_power_j(times, powers, **window)


def test_power_that_never_changes_leaves_nothing_open() -> None:
    assert integration_uncertainty_j([0, 1, 2], [100.0] * 3, start_s=0.3, end_s=1.7, lag_s=1.0) == 0.0


def test_a_step_between_two_samples_is_off_by_half_of_it_at_most_and_twice_that_is_given() -> None:
    # 100 W x 0.5 s / 2, twice.
    assert integration_uncertainty_j([0, 0.5, 1.0], [50.0, 150.0, 150.0], start_s=0, end_s=1) == pytest.approx(50)


def test_steps_add_up_as_squares() -> None:
    # Half of 60 W x 1 s and half of 80 W x 1 s, up or down: 30 and 40, 50 in all, twice.
    for powers in ([0.0, 60.0, 140.0], [100.0, 40.0, 120.0]):
        assert integration_uncertainty_j([0, 1, 2], powers, start_s=0, end_s=2) == pytest.approx(100)


def test_of_an_interval_at_an_edge_only_what_lies_in_the_window_counts() -> None:
    # 100 W x 0.25 s / 2 of the first interval and 40 W x 0.5 s / 2 of the last: 12.5 and 10.
    found = integration_uncertainty_j([0, 1, 2, 3], [0.0, 100.0, 100.0, 60.0], start_s=0.75, end_s=2.5)
    assert found == pytest.approx(2 * math.hypot(12.5, 10))


@pytest.mark.parametrize("powers", [[0.0, 100.0, 100.0, 100.0, 100.0], [100.0, 100.0, 100.0, 100.0, 0.0]])
def test_a_step_outside_the_window_does_not_count(powers: list[float | None]) -> None:
    assert integration_uncertainty_j([0, 1, 2, 3, 4], powers, start_s=1.0, end_s=3.0) == 0.0


def test_old_readings_add_the_steps_within_the_lag_of_either_edge_times_the_lag() -> None:
    times: list[float] = [0, 1, 2, 3, 4, 5, 6]
    # Steps of 10 W from 1 to 2 s, of 40 W from 3 to 4 s and of 20 W from 5 to 6 s.
    powers: list[float | None] = [0, 0, 10, 10, 50, 50, 30]
    plain_j = 2 * math.sqrt(5**2 + 20**2 + 10**2)
    assert integration_uncertainty_j(times, powers, start_s=0, end_s=6) == pytest.approx(plain_j)
    # A lag of 1.5 s reaches the first and the last of them, one of 4 s all.
    for lag_s, near_w in ((0.5, 20), (1.5, 30), (4.0, 70)):
        found = integration_uncertainty_j(times, powers, start_s=0, end_s=6, lag_s=lag_s)
        assert found == pytest.approx(plain_j + near_w * lag_s)


def test_over_a_failed_read_the_step_lasts_as_long_as_the_gap() -> None:
    assert integration_uncertainty_j([0, 1, 2], [0.0, None, 100.0], start_s=0, end_s=2) == pytest.approx(200)


@pytest.mark.parametrize(("times", "powers"), [([], []), ([0.0], [5.0]), ([0.0, 1.0], [None, 5.0])])
def test_one_sample_says_nothing_of_what_was_not_seen(times: list[float], powers: list[float | None]) -> None:
    assert integration_uncertainty_j(times, powers, start_s=0, end_s=1) is None


@calm
@given(
    step_at=st.floats(0, 4.99),
    levels_w=st.tuples(st.floats(0, 700), st.floats(0, 700)),
    phase=st.floats(0, 1),
    start_s=st.floats(0.2, 1),
    length_s=st.floats(0.5, 3),
)
def test_a_single_step_anywhere_is_within_the_bound(
    step_at: float, levels_w: tuple[float, float], phase: float, start_s: float, length_s: float
) -> None:
    (low_w, high_w), end_s = levels_w, start_s + length_s
    times = [(i + phase) * PERIOD_S for i in range(50)]
    powers: list[float | None] = [low_w if t < step_at else high_w for t in times]
    before_s = min(max(step_at - start_s, 0.0), length_s)
    true_j = low_w * before_s + high_w * (length_s - before_s)
    found = integrate_power_j(times, powers, start_s=start_s, end_s=end_s, period_s=PERIOD_S)
    bound = integration_uncertainty_j(times, powers, start_s=start_s, end_s=end_s)
    assert found is not None
    assert bound is not None
    assert abs(found - true_j) <= bound + 1e-6


def sample(
    time_s: float, reasons: int = 0, gpu: int | None = 0, temperature_c: float | None = None
) -> PowerThermalSample:
    return PowerThermalSample(time_s, temperature_c=temperature_c, throttle_reasons=reasons, gpu_index=gpu)


# Bits of nvmlDeviceGetCurrentClocksEventReasons.
@pytest.mark.parametrize(
    ("reasons", "flags"),
    [
        (0x0, set()),
        (0x1, set()),  # idle
        (0x2, set()),  # application clocks
        (0x4, {"detected", "power"}),
        (0x8, {"detected"}),
        (0x20, {"detected", "thermal", "sw_thermal"}),
        (0x40, {"detected", "thermal", "hw_thermal"}),
        (0x80, {"detected", "power", "hw_power"}),
        (0x40 | 0x80 | 0x1, {"detected", "thermal", "hw_thermal", "power", "hw_power"}),
    ],
)
def test_throttle_bits_become_words(reasons: int, flags: set[str]) -> None:
    info = throttle_info([sample(0.0), sample(1.0, reasons), sample(3.0)])
    assert info is not None
    names = ("detected", "thermal", "power", "sw_thermal", "hw_thermal", "hw_power")
    assert {name for name in names if getattr(info, name)} == flags
    assert info.throttle_duration_sec == (2.0 if "detected" in flags else 0.0)


def test_throttling_lasts_until_the_next_sample_of_the_same_gpu() -> None:
    samples = [sample(0.0, 0x40, 0), sample(0.5, 0, 1), sample(2.0, 0, 0), sample(2.5, 0, 1)]
    info = throttle_info(samples)
    assert info is not None
    assert info.throttle_duration_sec == 2.0


def test_two_gpus_that_throttle_together_throttle_no_longer_than_the_window() -> None:
    samples = [sample(t, 0x40, index) for t in (0.0, 1.0, 2.0) for index in (0, 1)]
    info = throttle_info(samples)
    assert info is not None
    assert info.throttle_duration_sec == 2.0


def test_the_hottest_sample_is_kept_and_none_is_unknown() -> None:
    info = throttle_info([sample(0.0, temperature_c=40.0), sample(1.0, temperature_c=71.0), sample(2.0)])
    assert info is not None
    assert info.max_temperature_c == 71.0
    cold = throttle_info([sample(0.0)])
    assert cold is not None
    assert cold.max_temperature_c is None
    assert throttle_info([]) is None
