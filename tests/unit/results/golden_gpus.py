"""An experiment of two processes on a GPU each, of which every figure of a result can be worked out.

``python -m tests.unit.results.golden_gpus`` writes it as the golden result of the present revision, with the raw
results that it is made of. As ``recorded``, that is for a revision that no version was published with.
"""

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from llenergymeasure.config.models import ExperimentConfig, QualityConfig
from llenergymeasure.domain.energy.calibration import Calibration, ReadingProperties
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity, RequestOutput, tokens_digest
from llenergymeasure.domain.machine.place import Job, NodeShare
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyBreakdown,
    EnergyMeasurement,
    FlopsResult,
    FlopsTerms,
    ThermalThrottleInfo,
    WarmupResult,
)
from llenergymeasure.domain.phases import PhaseWindow, phases_of
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.result import SCHEMA_REVISION
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.orchestration.sidecars import write_sidecars
from llenergymeasure.results.aggregation import aggregate_processes
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.process_files import write_process_result
from llenergymeasure.results.sums import mark_done
from llenergymeasure.testing.fakes import fake_environment
from tests.unit.results.recorded import GOLDEN

FOLDER = GOLDEN / f"revision-{SCHEMA_REVISION}" / "gpus"
_NAME = "NVIDIA A100-SXM4-80GB"
_START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def raws() -> list[RawProcessResult]:
    """What the two processes measured: windows of 4.46875 and 4.5 s, which begin together."""
    return [_process(0, start_s=100.0, seconds=4.46875), _process(1, start_s=100.0, seconds=4.5)]


def _process(index: int, *, start_s: float, seconds: float) -> RawProcessResult:
    plan = ExperimentPlan.of(ExperimentConfig(model="a/model", name="golden", n=6, quality=QualityConfig()))
    began = _START + timedelta(seconds=start_s)
    return RawProcessResult(
        experiment_id="golden",
        name="golden",
        measurement_config_hash=plan.config_hash,
        effective_config=plan.config.resolved(),
        process_index=index,
        n_processes=2,
        parallelism="data",
        environment_snapshot=replace(
            fake_environment(), driver_version="570.00", cuda_version="12.8", gpus=(_gpu(0), _gpu(1)),
            engine={"a": "b"}, host="node07", boot_id="00000000-0000-0000-0000-000000000000", job=_job(),
            share=_share(),
        ),
        model=ModelDescription(
            engine="fake", engine_version="1.0", devices=(f"GPU-{index}",), n_parameters=1000, batch_size=2,
            parameters={"rank": index, "eager": True},
        ),
        identity=ModelIdentity(revision="f" * 40, weights_digest="sha256:" + "0" * 64),
        prompts_digest="1" * 64,
        requests=tuple(_request(index + 2 * i, start_s + 0.5 + (i // 2), i) for i in range(3)),
        start_time=began,
        end_time=began + timedelta(seconds=seconds),
        window_start_s=start_s,
        window_end_s=start_s + seconds,
        energy_backend="nvml",
        energy=_energy(index, seconds),
        energy_breakdown=EnergyBreakdown(
            raw_j=300.0 * seconds, adjusted_j=240.0 * seconds, baseline_power_w=60.0 + index,
            baseline_method="fresh", baseline_timestamp=1767225630.0, baseline_cache_age_sec=0.0,
            baseline_power_uncertainty_w=0.5,
        ),
        idle_loaded_power_w=80.0 + index,
        idle_loaded_power_uncertainty_w=0.75,
        energy_aliasing_pct=1.0 + index,
        dither_pause_s=0.25 + index / 4,
        flops_result=FlopsResult(
            value=8.0e6, method="2 x active non-embedding parameters x (input + output tokens)", confidence="high",
            n_parameters=1000, prefill=FlopsTerms(linear=5.0e6, attention=1.0e6, head=5.0e5),
            decode=FlopsTerms(linear=2.0e6, attention=3.0e5, head=1.0e6), number_format="bf16",
        ),
        phases=phases_of([_pair(i) for i in range(3)], 3),
        quality=None if index else _quality(),
        warmup_result=WarmupResult(
            converged=True, final_cv=0.01 * (index + 1), iterations_completed=3, target_cv=0.05, max_prompts=20,
            latencies_ms=(510.0, 500.0, 505.0), thermal_floor_wait_s=60.0, thermal_settled=True,
        ),
        thermal_throttle=ThermalThrottleInfo(
            detected=True, power=True, throttle_duration_sec=0.5 + index, max_temperature_c=60.0 + index
        ),
        peak_memory_mb=1000.0 + index,
        instrument_cpu_s=0.125,
        foreign_cpu_pct=1.5 + index,
        samples=tuple(_sample(index, start_s + i / 2) for i in range(8)),
        measurement_warnings=(MeasurementWarning("gpu_throttled", "the power cap was reached", "raise the limit"),),
    )  # fmt: skip


def _job() -> Job:
    """The third task of an array, run for the second time: all of the fake machine's four processors, and two GPUs."""
    return Job(
        scheduler="slurm", job_id="4711", array_job_id="4708", array_task_id=3, n_restarts=1, node="node07",
        node_list="node[07-08]", n_nodes=2, partition="gpu", account="energy", n_cpus=4, n_gpus=2, n_gpus_per_task="2",
        memory_mb=8388.608, end_time=_START + timedelta(hours=1),
    )  # fmt: skip


def _share() -> NodeShare:
    return NodeShare(n_cpus_allowed=4, n_cpus_in_set=4, memory_limit_mb=8388.608, gpus_shown="0,1")


def _request(index: int, sent_s: float, place: int) -> RequestOutput:
    """Answers of 2, 3 and 4 tokens, the first after 0.25 s and each further one after 0.125 s more."""
    ids = tuple(range(10 * index, 10 * index + 2 + place))
    times_s = tuple(sent_s + 0.25 + 0.125 * i for i in range(len(ids)))
    return RequestOutput(
        index=index, input_tokens=5 + index, output_tokens=len(ids), finish_reason="length" if place else "stop",
        output_digest=tokens_digest(ids), input_digest=tokens_digest(range(5 + index)), sent_s=sent_s,
        first_token_s=times_s[0], token_times_s=times_s, end_s=times_s[-1], output_ids=(ids,), batch=place // 2,
    )  # fmt: skip


def _energy(index: int, seconds: float) -> EnergyMeasurement:
    """300 W of the process's GPU by its counter; beside it the package that both see, 50 W."""
    gpu = DeviceEnergy(
        device=f"GPU-{index}", kind="gpu", energy_j=300.0 * seconds, source="counter", uncertainty_j=6.0,
        uncertainty_parts_j={"edges": 1.0, "unseen": 5.0}, update_period_s=0.1, field="NVML total energy counter",
        witness_j=299.0 * seconds, sensor="nvml", scope="gpu", headline=True, duration_sec=seconds,
    )  # fmt: skip
    package = DeviceEnergy(
        device="package-0", kind="cpu", energy_j=50.0 * seconds, source="counter", uncertainty_j=0.5,
        field="intel-rapl:0", sensor="rapl", scope="package", headline=False, duration_sec=seconds,
    )  # fmt: skip
    return EnergyMeasurement(
        total_j=gpu.energy_j, duration_sec=seconds, samples=40, devices=(gpu, package), uncertainty_j=6.0
    )


def _quality() -> QualityResult:
    """Two nats for each of 400 tokens, which stand for 1,800 bytes."""
    return QualityResult(
        text="built-in sample", text_digest="2" * 64, tokens_digest="3" * 64, nll_nats=800.0, n_scored_tokens=400,
        n_bytes=1800, n_context_tokens=512, n_stride_tokens=255,
    ).worked_out()  # fmt: skip


def _pair(number: int) -> tuple[PhaseWindow, PhaseWindow]:
    prefill = PhaseWindow(
        duration_sec=1.0 + number / 100, energy_j=300.0 + number, uncertainty_j=3.0, update_period_s=0.1,
        n_input_tokens=21, n_output_tokens=3,
    )  # fmt: skip
    return prefill, replace(prefill, duration_sec=4.0, energy_j=1200.0 + 2 * number, n_output_tokens=9)


def _gpu(index: int) -> GpuInfo:
    reading = ReadingProperties(
        field="NVML power", update_s=0.1, window_s=0.025, lag_s=0.05, unexplained=0.01, n_readings=600
    )
    calibration = Calibration(
        device=f"GPU-{index}", name=_NAME, driver_version="570.00", timestamp=1767225600.0, tool_version="0.0",
        load="squares of matrices", duration_s=90.0, power=reading, counter_tick_s=0.1, counter_fed_by="power",
        counter_unexplained={"everything": 0.5, "power": 0.01},
    )  # fmt: skip
    return GpuInfo(
        index=index, uuid=f"GPU-{index}", name=_NAME, memory_total_mb=85000.0, memory_used_mb=500.0,
        persistence_mode=True, power_limit_w=400.0, power_limit_default_w=400.0, mig_mode=False, architecture=7,
        compute_capability=(8, 0), running_pids=(), calibration=calibration,
    )  # fmt: skip


def _sample(index: int, time_s: float) -> PowerThermalSample:
    return PowerThermalSample(
        timestamp=time_s, power_w=300.0, temperature_c=60.0 + index, memory_used_mb=1000.0, memory_total_mb=85000.0,
        sm_utilisation=90.0, throttle_reasons=4, gpu_index=index, power_limit_w=400.0,
    )  # fmt: skip


def write() -> None:
    """Write the golden result, in the place of the one that is there."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    found = raws()
    save_result(aggregate_processes(found, write_sidecars(FOLDER, found)), FOLDER)
    for raw in found:
        write_process_result(raw, FOLDER / ".state")
    mark_done(FOLDER)


if __name__ == "__main__":
    write()
