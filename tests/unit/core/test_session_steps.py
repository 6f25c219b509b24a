"""What is said about a window that several GPUs were watched in."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.session_steps import Window, collect_warnings
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.testing import FakeClock, FakeSampler, fake_environment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TWO = ("GPU-0", "GPU-1")


def _flags(
    samples: list[PowerThermalSample],
    devices: tuple[str, ...] = TWO,
    persistence: tuple[bool | None, ...] = (True, True),
) -> list[str]:
    """The flags of a minute's window."""
    plan = replace(ExperimentPlan.of(ExperimentConfig(model="m")), devices=devices)
    gpus = tuple(
        GpuInfo(index=i, uuid=f"GPU-{i}", name="Fake GPU", persistence_mode=mode) for i, mode in enumerate(persistence)
    )
    window = Window(NOW, NOW, FakeClock(), start_s=0.0, end_s=60.0, samples=samples)
    found: list[str] = []
    instruments = Instruments(energy=None, sampler=FakeSampler())
    collect_warnings(plan, replace(fake_environment(), gpus=gpus), window, instruments, found)
    return [warning.split(":")[0] for warning in found]


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
