"""Warnings about what the GPUs did."""

import pytest

from llenergymeasure.core.gpu.processes import ForeignProcesses
from llenergymeasure.core.gpu.warnings import (
    foreign_process_warning,
    gpu_throttled_warning,
    host_bound_warning,
    power_cap_warning,
)
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import ThermalThrottleInfo
from llenergymeasure.domain.telemetry import PowerThermalSample


def test_foreign_processes_are_named_with_the_time_they_were_seen() -> None:
    assert foreign_process_warning(ForeignProcesses()) is None
    both = foreign_process_warning(ForeignProcesses(pids_before_load=frozenset({12, 7}), pids_at_end=frozenset({7})))
    assert both is not None
    assert str(both).startswith("foreign_process: ")
    assert "before the model was loaded (PID 7, 12) and at the end of the window (PID 7)" in str(both)
    late = foreign_process_warning(ForeignProcesses(pids_at_end=frozenset({9})))
    assert late is not None
    assert "at the end of the window (PID 9)" in str(late)
    assert "before" not in str(late)


@pytest.mark.parametrize(
    ("info", "said", "unsaid"),
    [
        (
            ThermalThrottleInfo(
                detected=True, thermal=True, sw_thermal=True, throttle_duration_sec=12.34, max_temperature_c=87.0
            ),
            ["the driver's thermal limit lowered", "12.3 of 60.0 s, at most 87 C", "; improve the cooling"],
            ["power"],
        ),
        (
            ThermalThrottleInfo(detected=True, power=True, throttle_duration_sec=30.0),
            ["the power cap lowered", "30.0 of 60.0 s; this is power and not heat", "limit"],
            ["cooling", "thermal"],
        ),
        (
            ThermalThrottleInfo(detected=True, power=True, hw_power=True),
            ["the power brake of the supply lowered", "; look after the power supply"],
            ["power cap"],
        ),
        (
            ThermalThrottleInfo(detected=True, thermal=True, hw_thermal=True, power=True),
            ["the card's own thermal limit and the power cap", "; improve the cooling"],
            [],
        ),
        (ThermalThrottleInfo(detected=True), ["the card's slowdown signal"], ["thermal"]),
    ],
)
def test_throttling_says_why_how_long_and_what_to_do(
    info: ThermalThrottleInfo, said: list[str], unsaid: list[str]
) -> None:
    warning = gpu_throttled_warning(info, 60.0)
    assert warning is not None
    assert str(warning).startswith("gpu_throttled: ")
    assert [text for text in said if text not in str(warning)] == []
    assert [text for text in unsaid if text in str(warning)] == []


def test_without_throttling_nothing_is_said_of_it() -> None:
    assert gpu_throttled_warning(None, 60.0) is None
    assert gpu_throttled_warning(ThermalThrottleInfo(max_temperature_c=90.0), 60.0) is None


@pytest.mark.parametrize(
    ("limit_w", "default_w", "capped"),
    [(300.0, 400.0, True), (400.0, 400.0, False), (450.0, 400.0, False), (None, 400.0, False), (300.0, None, False)],
)
def test_a_power_limit_under_the_default_is_said(limit_w: float | None, default_w: float | None, capped: bool) -> None:
    plain = GpuInfo(index=0, uuid="GPU-a", name="G", power_limit_w=400.0, power_limit_default_w=400.0)
    other = GpuInfo(index=1, uuid="GPU-b", name="G", power_limit_w=limit_w, power_limit_default_w=default_w)
    warning = power_cap_warning([plain, other])
    assert (warning is not None) == capped
    if warning is not None:
        assert str(warning).startswith("power_cap_below_default: ")
        assert "(GPU-b 300 of 400 W)" in str(warning)


def _busy(*pct: float | None, gpu: int = 0) -> list[PowerThermalSample]:
    """A sample each second from 0 s on."""
    return [PowerThermalSample(float(i), sm_utilisation=u, gpu_index=gpu) for i, u in enumerate(pct)]


def test_a_gpu_that_waits_for_the_host_is_said() -> None:
    warning = host_bound_warning(_busy(99, 60, 80, 90, 99), 0.0, 3.0)  # 60, 80 and 90 count: 76.7 on average
    assert warning is not None
    assert str(warning).startswith(
        "host_bound: the GPU was busy 77 % of the time, under 80 %, and waited for the host, "
    )
    assert host_bound_warning(_busy(99, 60, 80, 100, 99), 0.0, 3.0) is None  # 80


def test_what_was_before_the_window_or_was_not_read_does_not_count() -> None:
    # A reading covers up to a second before it, so the one at the start tells of the idling.
    assert host_bound_warning(_busy(0, 90, 90), 0.0, 2.0) is None
    assert host_bound_warning(_busy(0, None, None), 0.0, 2.0) is None
    assert host_bound_warning(_busy(0, 0, 0), 0.0, 0.9) is None
    assert host_bound_warning([], 0.0, 60.0) is None


def test_of_several_gpus_the_idlest_is_named() -> None:
    warning = host_bound_warning([*_busy(0, 95, 95), *_busy(0, 40, 50, gpu=1)], 0.0, 2.0)
    assert warning is not None
    assert "GPU 1 was busy 45 % of the time" in str(warning)
    assert "waited for the host or another GPU" in str(warning)
