"""Warnings about the way a number was taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.core.gpu.power_sensor import PowerSensor
from llenergymeasure.core.idling.slices import Level
from llenergymeasure.core.measurement_warnings import (
    aliasing_warning,
    baseline_drift_warning,
    collect_measurement_warnings,
    few_sensor_periods_warning,
    foreign_load_warning,
    idle_below_baseline_warning,
    idle_changed_warning,
    part_time_warning,
)
from llenergymeasure.domain.metrics import DeviceEnergy, DeviceKind
from llenergymeasure.domain.warnings import on_its_side

FLAGS = ["short_measurement_duration", "gpu_persistence_mode_off", "thermal_drift_detected", "nvml_low_sample_count"]


def _flags(found: list[str]) -> list[str]:
    return [warning.split(": ")[0] for warning in found]


def test_a_short_cold_unsteady_and_sparse_measurement_gets_all_four() -> None:
    found = collect_measurement_warnings(5.0, False, 30.0, 45.0, 5)
    assert _flags(found) == FLAGS
    assert all("; " in warning for warning in found)  # what to do stands behind what is the case


def test_a_good_measurement_gets_none() -> None:
    assert collect_measurement_warnings(60.0, True, 30.0, 32.0, 100) == []


def test_what_is_not_known_does_not_apply() -> None:
    assert collect_measurement_warnings(60.0, None, None, None, None) == []
    assert collect_measurement_warnings(60.0, None, 30.0, None, None) == []
    assert collect_measurement_warnings(60.0, None, None, 90.0, None) == []


@pytest.mark.parametrize(
    ("duration_sec", "start_c", "end_c", "n_samples", "flags"),
    [
        (10.0, 30.0, 40.0, 10, []),
        (9.99, 30.0, 40.0, 10, FLAGS[:1]),
        (10.0, 30.0, 40.1, 10, FLAGS[2:3]),
        (10.0, 40.1, 30.0, 10, FLAGS[2:3]),
        (10.0, 30.0, 40.0, 9, FLAGS[3:]),
        (10.0, 30.0, 40.0, 0, FLAGS[3:]),
    ],
)
def test_the_limits_themselves_are_good_enough(
    duration_sec: float, start_c: float, end_c: float, n_samples: int, flags: list[str]
) -> None:
    assert _flags(collect_measurement_warnings(duration_sec, True, start_c, end_c, n_samples)) == flags


def test_the_drift_that_is_allowed_can_be_chosen() -> None:
    assert collect_measurement_warnings(60.0, True, 30.0, 45.0, 100, thermal_drift_threshold_c=15.0) == []
    assert _flags(collect_measurement_warnings(60.0, True, 30.0, 32.0, 100, 1.0)) == FLAGS[2:3]


@pytest.mark.parametrize(
    ("cached_w", "now_w", "drifted"),
    [(100.0, 110.0, False), (100.0, 110.1, True), (100.0, 90.0, False), (100.0, 89.9, True), (0.0, 0.0, False)],
)
def test_an_idle_power_that_moved_by_more_than_a_tenth_has_drifted(
    cached_w: float, now_w: float, drifted: bool
) -> None:
    assert (baseline_drift_warning(cached_w, now_w, 60.0) is not None) == drifted


def test_a_drift_says_both_figures() -> None:
    warning = baseline_drift_warning(60.0, 71.25, 300.0)
    assert warning is not None
    assert str(warning).startswith("baseline_drift: idle power was 60.0 W 300 s ago and is 71.2 W now, ")


def _levels(*powers_w: float) -> list[Level]:
    return [Level(power_w=power_w, uncertainty_w=1.0) for power_w in powers_w]


@pytest.mark.parametrize(
    ("after_w", "changed"),
    [
        ((300.0, 148.0, 151.0), False),  # still warm: the lowest counts
        ((300.0, 151.0, 152.0), True),
        ((91.0, 89.0, 88.0), False),
        ((89.0, 88.0, 87.0), True),  # a tenth lower, whatever slice one takes
        ((), False),
    ],
)
def test_idle_power_after_the_window_is_held_against_that_before_it(after_w: tuple[float, ...], changed: bool) -> None:
    (before,) = _levels(100.0)
    warning = idle_changed_warning(before, _levels(*after_w), "GPU-1")
    assert (warning is not None) == changed
    if warning is not None:
        assert (warning.flag, warning.device) == ("idle_changed", "GPU-1")
        assert "of GPU-1 with the model loaded was 100.0 W before the window" in warning.text


def test_what_bounds_explain_is_no_change() -> None:
    wide = Level(power_w=100.0, uncertainty_w=60.0)
    assert idle_changed_warning(wide, _levels(160.0)) is None
    assert idle_below_baseline_warning(wide, Level(power_w=50.0)) is None


def test_a_loaded_machine_does_not_idle_with_less() -> None:
    (empty, same, less) = _levels(100.0, 90.5, 89.0)
    assert idle_below_baseline_warning(empty, same) is None
    warning = idle_below_baseline_warning(empty, less)
    assert warning is not None
    assert (warning.flag, warning.text.startswith("idle power was 100.0 W before the model")) == ("idle_changed", True)


def _device(update_period_s: float | None, kind: DeviceKind = "gpu") -> DeviceEnergy:
    return DeviceEnergy(device="d", kind=kind, energy_j=1.0, source="counter", update_period_s=update_period_s)


@pytest.mark.parametrize(
    ("devices", "window_s", "warned"),
    [
        ([_device(0.1)], 1.99, True),
        ([_device(0.1)], 2.0, False),
        ([_device(0.1), _device(0.5)], 9.0, True),
        ([_device(None), _device(0.1)], 2.0, False),
        ([_device(None)], 0.1, False),
        ([_device(0.1), _device(9.0, "dram")], 2.0, False),  # memory is not in the total
        ([], 0.1, False),
    ],
)
def test_the_window_holds_twenty_periods_of_the_slowest_sensor(
    devices: list[DeviceEnergy], window_s: float, warned: bool
) -> None:
    warning = few_sensor_periods_warning(devices, window_s)
    assert (warning is not None) == warned
    assert warning is None or str(warning).startswith("few_sensor_periods: the window of ")


A100 = PowerSensor(0.1, 0.025)


@pytest.mark.parametrize(
    ("period_s", "sensor", "window_s", "said"),
    [
        (0.05, A100, 60.0, "1 moment is seen of it, standing still: mean power over 60 s may be off by up to 66.7 %"),
        (0.04, A100, 60.0, "2 moments are seen of it, standing still"),
        # A beat of 5.5 s leaves half of it, 65.993 % * 5.5 / 120 = 3.02 %, and in ten minutes a tenth of that.
        (0.0495, A100, 60.0, "wandering through it in 5.5 s: mean power over 60 s may be off by up to 3.0 %"),
        (0.0495, A100, 600.0, None),
        (0.0005, A100, 60.0, None),  # fifty periods in each look
        (0.025, A100, 60.0, None),  # a whole one
        (0.05, PowerSensor(0.1, 0.1), 60.0, None),
        (0.05, None, 60.0, None),
        (None, A100, 60.0, None),
        (0.0, A100, 60.0, None),
    ],
)
def test_a_load_in_step_with_a_part_time_sensor_is_said(
    period_s: float | None, sensor: PowerSensor | None, window_s: float, said: str | None
) -> None:
    warning = aliasing_warning(period_s, sensor, window_s)
    if said is None:
        assert warning is None
        return
    assert warning is not None
    assert str(warning).startswith("aliasing: the power sensor sees 25 of every 100 ms, ")
    assert said in str(warning)
    assert "; measure for longer" in str(warning)


@pytest.mark.parametrize(
    ("value", "limit", "decimals", "text"),
    [
        (9.999, 10.0, 1, "9.999"),
        (9.94, 10.0, 1, "9.9"),
        (3.0, 10.0, 1, "3.0"),
        (10.04, 10.0, 1, "10.04"),
        (10.0, 10.0, 1, "10.0"),
        (79.6, 80.0, 0, "79.6"),
        (5.001, 5.0, 0, "5.001"),
        (9.9999999999999, 10.0, 1, "9.9999999999999"),
    ],
)
def test_a_value_is_written_on_its_side_of_the_limit(value: float, limit: float, decimals: int, text: str) -> None:
    assert on_its_side(value, limit, decimals) == text


@given(value=st.floats(0, 1e6), limit=st.floats(0, 1e6), decimals=st.integers(0, 3))
def test_what_is_written_compares_with_the_limit_as_the_value_does(value: float, limit: float, decimals: int) -> None:
    written = float(on_its_side(value, limit, decimals))
    assert (written < limit, written > limit) == (value < limit, value > limit)


def test_a_window_that_is_just_too_short_is_not_said_to_be_long_enough() -> None:
    (short,) = collect_measurement_warnings(9.999, None, None, None, None)
    assert "was 9.999 s, under 10 s" in short
    sensor = few_sensor_periods_warning([_device(0.1)], 1.9999)
    assert sensor is not None
    assert "holds 19.999 periods" in sensor.text
    foreign = foreign_load_warning(10.04)
    assert foreign is not None
    assert foreign.flag == "foreign_load_high"
    assert "others took 10.04 %" in foreign.text


def test_what_nothing_is_known_to_see_is_said_of_the_devices_in_the_total() -> None:
    def gpu(name: str, *parts: str, headline: bool | None = None) -> DeviceEnergy:
        return DeviceEnergy(
            device=name,
            kind="gpu",
            energy_j=1.0,
            source="counter",
            uncertainty_parts_j=dict.fromkeys(parts, 0.0),
            headline=headline,
        )

    told = part_time_warning([gpu("A", "edges", "unseen"), gpu("B", "edges"), gpu("C", "unseen", headline=False)])
    assert told is not None
    assert told.flag == "sensor_sees_part_of_the_time"
    assert "what was read of A is" in told.text
    assert part_time_warning([gpu("B", "edges")]) is None
