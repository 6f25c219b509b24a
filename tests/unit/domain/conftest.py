"""Raw processes with figures that are easy to add up by hand."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import ModelDescription, RequestOutput
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyBreakdown, EnergyMeasurement, WarmupResult
from llenergymeasure.domain.process import RawProcessResult

# A busy machine is no failure of the code under test.
calm = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MakeProcess = Callable[..., RawProcessResult]
START = datetime(2026, 1, 1, tzinfo=UTC)


def request(index: int, input_tokens: int = 3, output_tokens: int = 4) -> RequestOutput:
    """A request of 0.5 s to the first token and 0.25 s to each further one."""
    times = tuple(0.5 + 0.25 * i for i in range(output_tokens))
    return RequestOutput(
        index=index,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        sent_s=0.0,
        first_token_s=0.5,
        end_s=times[-1],
        finish_reason="length",
        output_digest="d",
        token_times_s=times,
    )


def gpu(device: str, energy_j: float | None, **more: Any) -> DeviceEnergy:
    """A GPU whose energy was integrated."""
    return DeviceEnergy(**{"device": device, "kind": "gpu", "energy_j": energy_j, "source": "integrated", **more})


def measured(devices: Sequence[DeviceEnergy], seconds: float, **more: Any) -> EnergyMeasurement:
    """Energy of these devices, the total by plain addition."""
    known = [d.energy_j for d in devices if d.energy_j is not None]
    total = sum(known) if len(known) == len(devices) else None
    return EnergyMeasurement(total, seconds, 10, devices=tuple(devices), **more)


def breakdown(raw_j: float | None, power_w: float | None, seconds: float) -> EnergyBreakdown:
    """Energy less a fresh baseline; without a power it is unavailable."""
    return EnergyBreakdown(
        raw_j=raw_j,
        adjusted_j=None if raw_j is None or power_w is None else raw_j - power_w * seconds,
        baseline_power_w=power_w,
        baseline_method="unavailable" if power_w is None else "fresh",
        baseline_timestamp=None if power_w is None else 7.0,
    )


@pytest.fixture
def process() -> MakeProcess:
    """Make a raw process: ``process(1, 2, window=(10, 12), devices=[...], **fields)``."""

    def make(
        index: int = 0,
        n: int = 1,
        *,
        window: tuple[float, float] = (10.0, 12.0),
        devices: Sequence[DeviceEnergy] | None = None,
        baseline_w: float | None = None,
        **fields: Any,
    ) -> RawProcessResult:
        seconds = window[1] - window[0]
        energy = None if devices is None else measured(devices, seconds)
        defaults: dict[str, Any] = {
            "experiment_id": "e",
            "name": "run",
            "measurement_config_hash": "0123456789abcdef",
            "effective_config": {"model": "m"},
            "process_index": index,
            "n_processes": n,
            "parallelism": "single" if n == 1 else "data",
            "environment_snapshot": EnvironmentSnapshot(
                python_version="3.11.0",
                platform=f"machine {index}",
                cpu_model=None,
                n_cpus=None,
                memory_total_mb=None,
                cuda_version=None,
                driver_version=None,
            ),
            "model": ModelDescription(engine="fake", engine_version="1"),
            "prompts_digest": "d" * 64,
            "requests": (request(2 * index), request(2 * index + 1, 5, 6)),
            "start_time": START + timedelta(seconds=window[0]),
            "end_time": START + timedelta(seconds=window[1]),
            "window_start_s": window[0],
            "window_end_s": window[1],
            "energy_backend": None if energy is None else "nvml",
            "energy": energy,
            "energy_breakdown": None if energy is None else breakdown(energy.total_j, baseline_w, seconds),
            "warmup_result": WarmupResult(
                converged=True, final_cv=None, iterations_completed=5, target_cv=0.05, max_prompts=20
            ),
        }
        return RawProcessResult.model_validate({**defaults, **fields})

    return make
