"""The steps around the window, and what is said about a window that GPUs were watched in."""

import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.session_steps import collect_warnings, thermal_floor
from llenergymeasure.core.session_warnings import aliasing_pct, warnings_of_the_window
from llenergymeasure.core.window.meter import Window
from llenergymeasure.domain.energy.calibration import Calibration
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.inference import InferenceOutput, RequestOutput
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, EnergySource, WarmupResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.telemetry import SW_POWER_CAP, PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.testing import FakeClock, FakeEnergy, FakeSampler, fake_environment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TWO = ("GPU-0", "GPU-1")


def _flags(
    samples: list[PowerThermalSample],
    devices: tuple[str, ...] = TWO,
    persistence: tuple[bool | None, ...] = (True, True),
) -> list[str]:
    """The flags of a minute's window."""
    plan = ExperimentPlan.of(ExperimentConfig(model="m"), devices=devices)
    gpus = tuple(
        GpuInfo(index=i, uuid=f"GPU-{i}", name="Fake GPU", persistence_mode=mode) for i, mode in enumerate(persistence)
    )
    window = Window(NOW, NOW, start_s=0.0, end_s=60.0, samples=samples)
    found: list[MeasurementWarning] = []
    instruments = Instruments(energy=None, sampler=FakeSampler())
    collect_warnings(plan, replace(fake_environment(), gpus=gpus), window, instruments, found)
    return [warning.flag for warning in found]


def _samples(
    n: int, *, powers: tuple[float | None, ...] = (100.0, 100.0), temperatures: tuple[tuple[float, float], ...] = ()
) -> list[PowerThermalSample]:
    """[n] rounds over the GPUs, temperatures going from the first to the second of a pair."""
    ends = temperatures or ((40.0, 40.0),) * len(powers)
    return [
        PowerThermalSample(float(i), power, first + (last - first) * i / max(n - 1, 1), gpu_index=gpu)
        for i in range(n)
        for gpu, (power, (first, last)) in enumerate(zip(powers, ends, strict=True))
    ]


@pytest.mark.parametrize(
    ("n", "flags"), [(9, ["nvml_low_sample_count"]), (10, []), (0, ["nvml_low_sample_count", "telemetry_unavailable"])]
)
def test_samples_are_counted_per_gpu(n: int, flags: list[str]) -> None:
    assert _flags(_samples(n)) == flags


def test_one_gpu_with_few_samples_is_not_hidden_by_the_others() -> None:
    one_lost = [s for s in _samples(20) if s.gpu_index == 0 or s.timestamp < 2]
    assert _flags(one_lost) == ["nvml_low_sample_count"]


def test_a_failed_read_is_no_power_sample() -> None:
    assert _flags(_samples(20, powers=(100.0, None))) == ["nvml_low_sample_count"]


def test_gpus_of_different_but_steady_temperature_have_not_drifted() -> None:
    assert _flags(_samples(20, temperatures=((40.0, 41.0), (62.0, 61.0)))) == []


def test_one_gpu_that_drifts_is_not_hidden_by_the_others() -> None:
    assert _flags(_samples(20, temperatures=((50.0, 50.0), (42.0, 58.0)))) == ["thermal_drift_detected"]


def test_one_gpu_without_persistence_mode_is_enough_and_unused_gpus_do_not_matter() -> None:
    assert _flags(_samples(20), persistence=(True, False)) == ["gpu_persistence_mode_off"]
    assert _flags(_samples(20, powers=(100.0,)), devices=("GPU-0",), persistence=(True, False)) == []


def test_without_a_gpu_nothing_about_gpus_is_said() -> None:
    assert _flags([], devices=(), persistence=()) == []


A100 = GpuInfo(
    index=0,
    uuid="GPU-0",
    name="NVIDIA A100-SXM4-80GB",
    architecture=7,
    power_limit_w=400.0,
    power_limit_default_w=400.0,
    running_pids=(),
)


def _about(
    gpu: GpuInfo = A100,
    samples: list[PowerThermalSample] | None = None,
    *,
    token_s: float = 0.0137,
    window_s: float = 60.0,
    source: EnergySource = "counter",
    interval_ms: int = 100,
    pids: list[int] | None = None,
    tick_s: float = 0.1,
) -> list[str]:
    """Warnings about a window on one A100, by default a good one; the counter ticks every 100 ms."""
    plan, window = _window(
        samples, token_s=token_s, window_s=window_s, source=source, interval_ms=interval_ms, tick_s=tick_s
    )
    return list(map(str, warnings_of_the_window(plan, [gpu], window, pids)))


def _window(
    samples: list[PowerThermalSample] | None = None,
    *,
    token_s: float = 0.0137,
    window_s: float = 60.0,
    source: EnergySource = "counter",
    interval_ms: int = 100,
    tick_s: float = 0.1,
) -> tuple[ExperimentPlan, Window]:
    """A window on GPU-0, by default a good one."""
    config = ExperimentConfig.model_validate({"model": "m", "energy": {"sample_interval_ms": interval_ms}})
    plan = ExperimentPlan.of(config, devices=("GPU-0",))
    request = RequestOutput(
        index=0,
        input_tokens=1,
        output_tokens=5,
        sent_s=0.0,
        first_token_s=token_s,
        end_s=5 * token_s,
        finish_reason="stop",
        output_digest="",
        token_times_s=tuple(token_s * (i + 1) for i in range(5)),
    )
    row = DeviceEnergy(device="GPU-0", kind="gpu", energy_j=1.0, source=source, update_period_s=tick_s)
    window = Window(NOW, NOW, start_s=0.0, end_s=window_s)
    window.samples = _busy() if samples is None else samples
    window.energy = EnergyMeasurement(1.0, window_s, 600, devices=(row,))
    window.output = InferenceOutput(requests=(request,))
    return plan, window


def _busy(pct: float = 95.0, reasons: int = 0) -> list[PowerThermalSample]:
    return [
        PowerThermalSample(float(i), 300.0, 60.0, sm_utilisation=pct, throttle_reasons=reasons, gpu_index=0)
        for i in range(61)
    ]


def test_a_good_window_gets_no_warning() -> None:
    assert _about(pids=[os.getpid()]) == []


@pytest.mark.parametrize(
    ("found", "flag"),
    [
        (_about(pids=[os.getpid(), 1]), "foreign_process"),
        (_about(replace(A100, running_pids=(1,))), "foreign_process"),
        (_about(samples=_busy(reasons=SW_POWER_CAP)), "gpu_throttled"),
        (_about(replace(A100, power_limit_w=300.0)), "power_cap_below_default"),
        (_about(samples=_busy(pct=79.0)), "host_bound"),
        (_about(tick_s=3.1), "few_sensor_periods"),
        (_about(token_s=0.05), "aliasing"),
        (_about(replace(A100, architecture=None), token_s=0.05), "aliasing"),
        (_about(replace(A100, name="NVIDIA GeForce RTX 4090"), token_s=0.04, source="integrated", interval_ms=1000),
         "aliasing"),
    ],
)  # fmt: skip
def test_each_fault_of_a_window_has_its_warning_and_no_other(found: list[str], flag: str) -> None:
    assert [warning.split(": ")[0] for warning in found] == [flag]
    assert "; " in found[0]


def test_what_aliasing_may_hide_is_a_figure_too() -> None:
    plan, window = _window(token_s=0.05)
    (warning,) = _about(token_s=0.05)
    pct = aliasing_pct(plan, [A100], window)
    assert pct is not None
    assert f"up to {pct:.1f} %" in warning
    assert aliasing_pct(*_window_on_an_a100()) is None


def _paused(n_batches: int, *, paused_s: float | None = 2.0) -> tuple[list[str], float | None]:
    """A window in step with its sensor, with pauses of up to 0.1 s after each of so many batches."""
    plan, window = _window(token_s=0.05)
    config = ExperimentConfig.model_validate({"model": "m", "measurement": {"dither_s": 0.1}})
    window.units, window.dither_pause_s = [()] * n_batches, paused_s
    plan = ExperimentPlan.of(config, devices=plan.devices)
    return list(map(str, warnings_of_the_window(plan, [A100], window, None))), aliasing_pct(plan, [A100], window)


def test_the_warning_of_aliasing_knows_of_pauses() -> None:
    # Of 200 / 3 % in each batch 2 / sqrt(3 x 40) is left, 12.2 %; without pauses all.
    (warning,), pct = _paused(40)
    assert pct == pytest.approx(200 / 3 * 2 / 120**0.5)
    assert "of 40 with pauses of up to 0.1 s: mean power over 60 s may be off by up to 12.2 %" in warning
    assert _paused(40, paused_s=None)[1] == pytest.approx(200 / 3)
    # 58 s in 6000 batches are none of a tenth of a second: under one per cent is left.
    assert _paused(6000) == ([], None)


CALIBRATED = Calibration(
    device="GPU-0", name="A100", driver_version="1", timestamp=0.0, tool_version="2", load="test", duration_s=30.0,
    counter_tick_s=0.1, counter_fed_by="everything",
)  # fmt: skip


def test_what_leaves_out_none_of_the_time_is_in_step_with_nothing() -> None:
    counts_all = replace(A100, calibration=CALIBRATED)
    assert len(_about(token_s=0.05)) == 1
    assert _about(counts_all, token_s=0.05) == []
    assert len(_about(counts_all, token_s=0.05, source="integrated")) == 1
    plan, window = _window(token_s=0.05, source="integrated")
    assert window.energy is not None
    averaged = replace(window.energy.devices[0], uncertainty_parts_j={"averaging": 0.1})
    window.energy = replace(window.energy, devices=(averaged,))
    assert warnings_of_the_window(plan, [A100], window, None) == []
    assert aliasing_pct(plan, [A100], window) is None


def _window_on_an_a100() -> tuple[ExperimentPlan, list[GpuInfo], Window]:
    plan, window = _window()
    return plan, [A100], window


def test_a_card_whose_sensor_nobody_knows_or_that_looks_all_the_time_cannot_alias() -> None:
    assert _about(replace(A100, name="NVIDIA A10"), token_s=0.05) == []
    assert _about(replace(A100, name="NVIDIA GeForce RTX 4090"), token_s=0.04, source="integrated") == []


class _Watching(FakeSampler):
    """Samples every second since its clock's start: 80 W and 40 C."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock

    def get_samples(self) -> list[PowerThermalSample]:
        return [PowerThermalSample(float(i), 80.0, 40.0, gpu_index=0) for i in range(int(self.clock()) + 1)]


@pytest.mark.parametrize(
    ("fields", "waited_s", "settled", "flags"),
    [
        ({"thermal_floor_early_end": True}, 60.0, True, []),
        ({"thermal_floor_early_end": True, "thermal_floor_seconds": 600}, 60.0, True, ["thermal_floor_ended_early"]),
        ({"thermal_floor_seconds": 45}, 45.0, None, []),
        ({"thermal_floor_seconds": 45, "thermal_settle_max_s": 300}, 60.0, True, []),
        ({"thermal_floor_seconds": 45, "thermal_settle_max_s": 50}, 50.0, False, ["thermal_not_settled"]),
        ({}, 60.0, None, []),
    ],
)
def test_the_floor_has_another_length_by_request_only_and_says_so(
    fields: dict[str, object], waited_s: float, settled: bool | None, flags: list[str]
) -> None:
    clock = FakeClock()
    plan = ExperimentPlan.of(ExperimentConfig.model_validate({"model": "m", "warmup": fields}))
    instruments = Instruments(
        energy=FakeEnergy(clock, 80.0, log=clock.log), sampler=_Watching(clock), clock=clock, sleep=clock.sleep
    )
    before = WarmupResult(
        converged=False, final_cv=0.2, iterations_completed=2, target_cv=0.05, max_prompts=2, latencies_ms=(1.0, 2.0)
    )
    warnings: list[MeasurementWarning] = []
    result, idling = thermal_floor(replace(plan, devices=("GPU-0",)), before, instruments, warnings)
    assert result == replace(
        before,
        thermal_floor_wait_s=waited_s,
        thermal_floor_ended_early="thermal_floor_ended_early" in flags,
        thermal_settled=settled,
    )
    assert idling is not None
    assert idling.whole.power_w == pytest.approx(80.0)
    assert (clock.log[0], clock.log[-1], clock()) == ("energy on", "energy off", waited_s)
    assert [w.flag for w in warnings] == flags
