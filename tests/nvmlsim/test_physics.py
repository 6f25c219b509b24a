"""The physics, against figures by hand and sums done the long way."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nvmlsim
from nvmlsim import A100, H100, PERFECT, RTX40, V100, Counter, Gpu, Sensor, Trace
from tests.nvmlsim.plain import SENSORS, plain_energy_j, plain_power_w, traces
from tests.nvmlsim.processes import constant

# ---- Truth ----


def test_energy_of_steps_by_hand() -> None:
    gpu = Gpu(power_w=Trace(((10, 400), (0, 100), (12, 50))))  # in any order
    assert nvmlsim.true_energy_j(gpu, 5, 13) == pytest.approx(5 * 100 + 2 * 400 + 1 * 50)
    assert nvmlsim.true_energy_j(gpu, -3, 0) == pytest.approx(300)  # the first step holds before it, too
    assert nvmlsim.true_energy_j(gpu, 13, 5) == pytest.approx(-1350)
    assert [nvmlsim.true_power_w(gpu, t) for t in (-1, 9.999999999, 10, 12, 1e6)] == [100, 100, 400, 50, 50]


def test_energy_of_a_square_wave_by_hand() -> None:
    gpu = Gpu(power_w=Trace.square(100, 500, period_s=0.05, start_s=2, stop_s=3.02))
    assert nvmlsim.true_energy_j(gpu, 2, 3) == pytest.approx(300)
    assert nvmlsim.true_energy_j(gpu, 1, 2.01) == pytest.approx(100 + 0.01 * 500)
    assert nvmlsim.true_energy_j(gpu, 2.04, 2.06) == pytest.approx(0.01 * 100 + 0.01 * 500)
    assert [nvmlsim.true_power_w(gpu, t) for t in (2.049999999, 2.05, 2.075, 3.02)] == [100, 500, 100, 100]
    assert nvmlsim.true_energy_j(gpu, 3, 4) == pytest.approx(0.02 * 500 + 0.98 * 100)  # cut off in its high half


def test_a_billion_periods_are_as_exact_as_one() -> None:
    gpu = Gpu(power_w=Trace.square(100, 500, period_s=0.001, duty=0.25))
    assert nvmlsim.true_energy_j(gpu, 0, 1e6) == pytest.approx(200e6, rel=1e-12)
    assert nvmlsim.true_energy_j(gpu, 1e6, 1e6 + 0.00025) == pytest.approx(0.125, rel=1e-6)


def test_a_wave_cannot_stop_inside_its_first_period() -> None:
    with pytest.raises(ValueError, match="cannot stop"):
        Trace.square(0, 1, period_s=1.0, stop_s=0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Trace(()),
        lambda: Trace(((0, -1),)),
        lambda: Trace(((math.nan, 1),)),
        lambda: Trace(((1e9, 1),)),
        lambda: Trace(((0, 1),), repeat=(0, 0)),
        lambda: Sensor(0, 1),
        lambda: Sensor(1, 0.00009),
        lambda: Counter(tick_s=-1),
        lambda: Counter(offset_mj=-1),
    ],
)
def test_impossible_settings_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        wrong()


@settings(deadline=None)
@given(trace=traces(), from_ms=st.integers(-400, 1500), length_ms=st.integers(0, 700))
def test_energy_is_the_sum_over_milliseconds(trace: Trace, from_ms: int, length_ms: int) -> None:
    to_ms = from_ms + length_ms
    energy_j = nvmlsim.true_energy_j(Gpu(power_w=trace), from_ms / 1000, to_ms / 1000)
    assert energy_j == pytest.approx(plain_energy_j(trace, from_ms, to_ms), abs=1e-9)


@settings(deadline=None)
@given(trace=traces(), ms=st.integers(-400, 1500))
def test_power_is_what_the_definition_says(trace: Trace, ms: int) -> None:
    assert nvmlsim.true_power_w(Gpu(power_w=trace), (ms + 0.5) / 1000) == plain_power_w(trace, ms + 0.5)


# ---- Sensors ----


def test_a_part_time_sensor_on_a_square_wave_sees_one_half_or_the_other_by_its_phase() -> None:
    gpu = Gpu(power_w=Trace.square(100, 500, period_s=0.05))  # mean 300 W
    seen = {ms: nvmlsim.sensor_power_w(gpu, Sensor(0.1, 0.025, phase_s=ms / 1000), 10) for ms in (0, 10, 25)}
    # The 25 ms before a refresh: all low; 10 ms high and 15 ms low; all high.
    assert seen == {0: 100, 10: (10 * 500 + 15 * 100) / 25, 25: 500}
    assert nvmlsim.sensor_power_w(gpu, Sensor(0.1, 0.1, phase_s=0.0137), 10) == 300


def test_a_reading_stays_until_the_next_refresh() -> None:
    gpu = Gpu(power_w=Trace(((0, 100), (5, 400))))
    sensor = Sensor(0.1, 1.0, phase_s=0.03)
    readings = [nvmlsim.sensor_power_w(gpu, sensor, t) for t in (5.0299, 5.03, 5.1299, 5.13, 6.03)]
    # At 4.93 the window is all low; at 5.03 it has 30 ms high, at 5.13 130 ms.
    assert readings == pytest.approx([100, 109, 109, 139, 400])


def test_gain_multiplies_and_readings_are_whole_milliwatts() -> None:
    gpu = constant(123.4567)
    assert nvmlsim.sensor_power_w(gpu, Sensor(0.1, 0.1), 1) == 123.457
    assert nvmlsim.sensor_power_w(gpu, Sensor(0.1, 0.1, gain=0.945), 1) == 116.667  # 116.66658


def test_presets_are_the_published_update_and_window() -> None:
    table = {
        "V100": (V100, (0.02, 0.01), None, "instant"),
        "A100": (A100, (0.1, 0.025), (0.1, 0.025), "instant"),
        "H100": (H100, (0.1, 0.025), (0.1, 1.0), "average"),
        "RTX40": (RTX40, (0.1, 0.1), (0.1, 1.0), "average"),
        "PERFECT": (PERFECT, (0.001, 0.001), (0.001, 0.001), "instant"),
    }
    for name, (sensors, instant, average, usage) in table.items():
        found = [(s.update_s, s.window_s) if s else None for s in (sensors.instant, sensors.average)]
        assert (found, sensors.power_usage) == ([instant, average], usage), name


def test_a_card_of_another_phase_and_gain_differs_in_every_sensor_it_has() -> None:
    changed = A100.with_phase(0.03).with_gain(0.945)
    assert changed.instant == changed.average == Sensor(0.1, 0.025, 0.03, 0.945)
    assert V100.with_gain(2).instant == Sensor(0.02, 0.01, 0, 2)
    assert V100.with_gain(2).average is None


# ---- The counter ----


def test_a_counter_moves_only_at_its_ticks() -> None:
    gpu = constant(250, counter=Counter(tick_s=0.1, phase_s=0.04, offset_mj=1_000_000))
    shown = [nvmlsim.counter_mj(gpu, t) - 1_000_000 for t in (-5, 0.0399, 0.04, 0.1399, 0.14, 10.1)]
    assert shown == [0, 0, 10_000, 10_000, 35_000, 2_510_000]


def test_a_counter_fed_by_a_part_time_sensor_inherits_its_error() -> None:
    wave = Trace.square(100, 500, period_s=0.05, start_s=-1)
    counters = [Counter(offset_mj=0, fed_by=A100.with_phase(phase_s).instant) for phase_s in (0, 0.025)]
    shown = [nvmlsim.counter_mj(Gpu(power_w=wave, counter=counter), 100) for counter in counters]
    # 300 W for 100 s are 30 kJ; all of the 1000 refreshes saw 100 W, or 500 W.
    assert shown == [10_000_000, 50_000_000]


def test_faults_of_a_counter() -> None:
    def at(counter: Counter, *times_s: float) -> list[int]:
        return [nvmlsim.counter_mj(constant(100, counter=counter), t) for t in times_s]

    plain = Counter(tick_s=0.1, offset_mj=5000)
    assert at(replace(plain, resets_s=(1.0, 2.05)), 0.99, 1.0, 1.5, 2.09, 2.1) == [95_000, 0, 50_000, 100_000, 5_000]
    assert at(replace(plain, stuck_s=((1.0, 2.0),)), 0.99, 1.5, 1.99, 2.0) == [95_000, 95_000, 95_000, 205_000]
    assert at(replace(plain, stuck_s=((1.0, 2.0), (0.5, 1.2))), 1.99, 2.0) == [45_000, 205_000]
    assert at(replace(plain, jumps=((1.01, 70.0), (2.0, -1000.0))), 1.05, 1.1, 2.0) == [105_000, 185_000, 0]
    assert at(replace(plain, resets_s=(1.0,), jumps=((0.5, 7.0), (1.2, 3.0))), 0.5, 1.0, 1.2) == [62_000, 0, 23_000]
    assert at(replace(plain, gain=0.5), 1.0) == [55_000]
    with pytest.raises(ValueError, match="has no energy counter"):
        nvmlsim.counter_mj(constant(100, counter=None), 1)


@settings(deadline=None)
@given(
    trace=traces(),
    sensor=SENSORS,
    tick_ms=st.integers(1, 200),
    ms=st.integers(0, 2500),
    reset_ms=st.integers(0, 500),
)
def test_the_sum_of_readings_is_the_sum_over_refreshes(
    trace: Trace, sensor: Sensor, tick_ms: int, ms: int, reset_ms: int
) -> None:
    counter = Counter(tick_s=tick_ms / 1000, offset_mj=0, fed_by=sensor, resets_s=(reset_ms / 1000,))
    tick = ms // tick_ms * tick_ms
    since = reset_ms if reset_ms <= tick else 0
    update, window, phase = (round(x * 1000) for x in (sensor.update_s, sensor.window_s, sensor.phase_s))
    begin = since - window
    energy_j = [plain_energy_j(trace, m, m + 1) for m in range(begin, tick)]
    refreshes = [r for r in range(since + 1, tick + 1) if (r - phase) % update == 0]
    in_windows_j = sum(sum(energy_j[r - window - begin : r - begin]) for r in refreshes)
    expected_mj = 1000 * sensor.gain * in_windows_j / window * update
    shown_mj = nvmlsim.counter_mj(Gpu(power_w=trace, counter=counter), ms / 1000)
    assert shown_mj == pytest.approx(expected_mj, abs=0.5001)


def test_the_sum_over_ten_million_refreshes_is_that_of_one_beat_of_refresh_and_period() -> None:
    """100 ms refreshes on a 43.7 ms period meet again after 43.7 s: 437 refreshes, whose sum repeats."""
    sensor = Sensor(0.1, 0.025)
    wave = Trace.square(100, 500, period_s=0.0437, start_s=-10)
    gpu = Gpu(power_w=wave, counter=Counter(tick_s=0.1, offset_mj=0, fed_by=sensor))
    beat_j = sum(nvmlsim.sensor_power_w(gpu, sensor, 0.1 * k + 0.01) for k in range(1, 438)) * 0.1
    n_beats = 22_883
    assert nvmlsim.counter_mj(gpu, 43.7 * n_beats) == pytest.approx(1000 * beat_j * n_beats, rel=1e-7)
