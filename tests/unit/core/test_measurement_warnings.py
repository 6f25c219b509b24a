"""Warnings about the way a number was taken."""

import pytest

from llenergymeasure.core.measurement_warnings import collect_measurement_warnings

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
