"""Results of every kind, with numbers that are found nowhere else."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyBreakdown, EnergyMeasurement, WarmupResult
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.sums import mark_done
from llenergymeasure.testing import fake_environment, fake_process_result

START, END = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), datetime(2026, 3, 4, 5, 6, 9, tzinfo=UTC)


def raw_of(config: dict[str, Any] | None = None, **fields: Any) -> RawProcessResult:
    """The fake process, 3 tokens in and 4 out in 2 s, of a configuration, without warnings."""
    plan = ExperimentPlan.of(
        ExperimentConfig.model_validate({"model": "org/a-model", "name": "a run"} | (config or {}))
    )
    given = {"start_time": START, "end_time": END, "measurement_warnings": (), **fields}
    return fake_process_result(plan).model_copy(update=given)


def counted(**fields: Any) -> ExperimentResult:
    """A GPU's counter of 80 J +-1.5 J, both idles, a thermal floor."""
    gpu = GpuInfo(index=0, uuid="GPU-a", name="NVIDIA H100", power_limit_w=650.0)
    row = DeviceEnergy(
        device="GPU-a", kind="gpu", energy_j=80.0, source="counter", uncertainty_j=1.5, update_period_s=0.02,
        field="nvmlDeviceGetTotalEnergyConsumption", sensor="nvml", headline=True, duration_sec=2.0,
    )  # fmt: skip
    raw = raw_of(
        model=ModelDescription(
            engine="pytorch", engine_version="torch 9.1", devices=("GPU-a",), n_parameters=135_700_000, batch_size=7
        ),
        identity=ModelIdentity(revision="c0ffee", weights_digest="sha256:" + "1" * 64),
        environment_snapshot=fake_environment().__class__(
            **{**vars(fake_environment()), "gpus": (gpu,), "driver_version": "590.1", "cuda_version": "13.2"}
        ),
        energy_backend="nvml",
        energy=EnergyMeasurement(80.0, 2.0, 9, devices=(row,), uncertainty_j=1.5),
        energy_breakdown=EnergyBreakdown(
            raw_j=80.0, adjusted_j=55.0, baseline_power_w=12.5, baseline_method="cached",
            baseline_cache_age_sec=611.0, baseline_power_uncertainty_w=0.25, adjusted_uncertainty_j=2.0,
        ),
        idle_loaded_power_w=17.5,
        idle_loaded_power_uncertainty_w=0.75,
        warmup_result=WarmupResult(
            converged=True, final_cv=None, iterations_completed=5, target_cv=0.05, max_prompts=20,
            thermal_floor_wait_s=64.0,
        ),
        **fields,
    )  # fmt: skip
    return ExperimentResult.from_processes([raw])


def packages(**fields: Any) -> ExperimentResult:
    """Two packages by RAPL, 30 J and 11 J, without idle."""
    rows = tuple(
        DeviceEnergy(device=name, kind="cpu", energy_j=joules, source="counter", uncertainty_j=0.125, sensor="rapl")
        for name, joules in (("package-0", 30.0), ("package-1", 11.0))
    )
    energy = EnergyMeasurement(41.0, 2.0, 2, devices=rows, uncertainty_j=0.25)
    return ExperimentResult.from_processes([raw_of(energy_backend="rapl", energy=energy, **fields)])


def modelled(**fields: Any) -> ExperimentResult:
    """19 J that no sensor stands behind."""
    row = DeviceEnergy(device="cpu", kind="cpu", energy_j=19.0, source="modelled", basis="CPU load")
    energy = EnergyMeasurement(19.0, 2.0, 0, devices=(row,))
    warning = MeasurementWarning("energy_modelled", "no sensor was read", "use one")
    told = raw_of(energy_backend="codecarbon", energy=energy, measurement_warnings=(warning,), **fields)
    return ExperimentResult.from_processes([told])


def unmeasured() -> ExperimentResult:
    """No energy, and why."""
    warning = MeasurementWarning("energy_unavailable", "no sensor answered", "see llem config")
    return ExperimentResult.from_processes([raw_of(measurement_warnings=(warning,))])


def parallel() -> ExperimentResult:
    """Two processes with a GPU each, 80 J and 90 J by integration."""
    raws = []
    for index, joules in enumerate((80.0, 90.0)):
        uuid = f"GPU-{index}"
        row = DeviceEnergy(device=uuid, kind="gpu", energy_j=joules, source="integrated", sensor="nvml")
        raws.append(
            raw_of(
                model=ModelDescription(engine="pytorch", engine_version=None, devices=(uuid,)),
                energy_backend="nvml", energy=EnergyMeasurement(joules, 2.0, 9, devices=(row,)),
                process_index=index, n_processes=2, parallelism="tensor",
            ).model_copy(update={"experiment_id": "both"})
        )  # fmt: skip
    return ExperimentResult.from_processes(raws)


def saved(result: ExperimentResult, folder: Path) -> Path:
    """Its folder, with a second file at some depth."""
    (folder / ".state").mkdir(parents=True)
    (folder / ".state" / "process_0.json").write_text("{}\n")
    save_result(result, folder)
    return folder


def study(folder: Path, *results: ExperimentResult, n_failed: int = 0, n_planned: int | None = None) -> Path:
    """The folder of a study with these results."""
    for slot, result in enumerate(results):
        mark_done(saved(result, folder / "runs" / f"{slot:04d}-{result.measurement_config_hash}" / "attempt-1"))
    for slot in range(len(results), len(results) + n_failed):
        attempt = folder / "runs" / f"{slot:04d}-{'0' * 16}" / "attempt-1"
        attempt.mkdir(parents=True)
        (attempt / "failure.json").write_text("{}")
    if n_planned is not None:
        slots = ",".join(["{}"] * n_planned)
        (folder / "plan.json").write_text(f'{{"slots": [{slots}]}}')
    return folder
