"""Results: what is kept, cited and compared.

Field names and units are the file format (``schema_version``). Absent is None, with the reason in
``measurement_warnings``. Properties are other names for fields and are not written to files.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from llenergymeasure.domain import assembly
from llenergymeasure.domain.assembly import Aggregation, ProcessSummary
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.equivalence import inputs_digest, outputs_digest
from llenergymeasure.domain.inference import ModelDescription, latency_statistics
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyBreakdown,
    FlopsResult,
    LatencyStatistics,
    ThermalThrottleInfo,
    WarmupResult,
    sum_or_none,
)
from llenergymeasure.domain.phases import PhasesResult
from llenergymeasure.domain.process import Methodology, RawProcessResult, Sidecars
from llenergymeasure.domain.provenance import energy_origin, reproducibility_notes, sensor_accuracy_pct
from llenergymeasure.domain.utilisation import joules_per_tflop, model_flops_utilisation
from llenergymeasure.domain.warnings import MeasurementWarning, Verdict, validity_of
from llenergymeasure.domain.window import InFlight

# Counts up whenever fields are added to the file; none is ever taken away or given another meaning under one
# schema_version. Files of every revision are kept in tests/golden and must stay readable.
#   1  as first published; the file does not name it
#   2  schema_revision, validity, validity_flags, n_requests_failed, requests_in_flight, environment_snapshot.engine;
#      in requests.parquet due_s, sent_s, end_s and error
SCHEMA_REVISION = 2

__all__ = ["ExperimentFailure", "ExperimentResult", "RawProcessResult", "StudyResult"]


class ExperimentResult(BaseModel):
    """One measured experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["2.0"]
    schema_revision: int = 1
    experiment_id: str
    name: str
    measurement_config_hash: str
    effective_config: dict[str, Any]
    start_time: datetime
    end_time: datetime

    total_energy_j: float | None
    energy_adjusted_j: float | None
    energy_per_output_token_j: float | None
    avg_energy_per_token_j: float | None
    energy_per_request_j: float | None
    energy_net_of_loaded_idle_j: float | None
    idle_loaded_power_w: float | None
    baseline_power_w: float | None
    energy_breakdown: EnergyBreakdown | None
    energy_uncertainty_j: float | None
    sensor_accuracy_pct: float | None
    energy_aliasing_pct: float | None = None
    energy_devices: tuple[DeviceEnergy, ...]
    energy_backend: str | None

    n_requests: int
    n_requests_failed: int = 0
    requests_in_flight: InFlight | None = None
    n_cut_short: int
    input_tokens: int
    output_tokens: int
    total_tokens: int
    duration_sec: float
    tokens_per_second: float
    total_tokens_per_second: float
    requests_per_second: float
    latency_stats: LatencyStatistics | None
    flops_result: FlopsResult | None
    phases: PhasesResult | None = None
    joules_per_tflop: float | None = None
    mfu: float | None = None
    peak_memory_mb: float | None

    instrument_cpu_s: float | None = None
    foreign_cpu_pct: float | None = None
    thermal_throttle: ThermalThrottleInfo | None
    warmup_result: WarmupResult
    warmup_excluded_samples: int
    measurement_methodology: Methodology = "total"
    steady_state_window: tuple[float, float] | None = None
    n_requests_excluded: int = 0
    measurement_warnings: list[str]
    validity: Verdict = "citable"
    validity_flags: list[str] = []
    reproducibility_notes: str

    environment_snapshot: EnvironmentSnapshot
    model: ModelDescription
    prompts_digest: str
    inputs_digest: str | None = None
    outputs_digest: str
    model_revision: str | None = None
    weights_digest: str | None = None
    adapter_digest: str | None = None
    draft_digest: str | None = None
    timeseries: str | None
    requests: str | None
    outputs: str | None = None
    process_results: list[ProcessSummary]
    aggregation: Aggregation | None

    @model_validator(mode="before")
    @classmethod
    def _validity_follows_from_the_warnings(cls, data: Any) -> Any:
        """Worked out anew wherever a result is made or read: no file is believed that calls itself citable."""
        if not isinstance(data, Mapping):
            return data
        flags = [MeasurementWarning.of(str(text)).flag for text in data.get("measurement_warnings") or ()]
        if data.get("total_energy_j") is None and "energy_unavailable" not in flags:
            flags.append("energy_unavailable")
        found = validity_of(flags)
        return {**data, "validity": found.verdict, "validity_flags": list(found.decided_by)}

    @property
    def warnings(self) -> list[MeasurementWarning]:
        """What ``measurement_warnings`` says, as values."""
        return [MeasurementWarning.of(text) for text in self.measurement_warnings]

    @property
    def energy_total_j(self) -> float | None:
        """The same as ``total_energy_j``."""
        return self.total_energy_j

    @property
    def total_flops(self) -> float | None:
        """The same as ``flops_result.value``."""
        return self.flops_result.value if self.flops_result else None

    @property
    def model_flops(self) -> float | None:
        """The same as ``flops_result.model_flops``."""
        return self.flops_result.model_flops if self.flops_result else None

    @property
    def energy_origin(self) -> str:
        """Where the joules come from, in plain words."""
        return energy_origin(self.energy_backend if self.total_energy_j is not None else None, self.energy_devices)

    @classmethod
    def from_json(cls, path: str | Path) -> "ExperimentResult":
        """The result in a ``result.json``, in the folder that holds one, or in that of an experiment in a study.

        Raises:
            ConfigError: the file is missing, torn, or of another schema version.
        """
        # The one reader lives above this layer; this method only lends it a convenient name.
        from llenergymeasure.results.persistence import load_result

        return load_result(Path(path))

    @classmethod
    def from_processes(cls, raw: Sequence[RawProcessResult], files: Sidecars | None = None) -> Self:
        """Put the processes of one experiment together; one process is the case n = 1.

        Args:
            raw: what the processes measured.
            files: what was written beside the result; None for nothing.

        Raises:
            ValueError: no process, one missing, of different experiments, or a window without length.
        """
        raws = assembly.in_order(raw)
        first, files = raws[0], files or Sidecars()
        requests = assembly.distinct_requests(raws)
        counts = assembly.combined_counts(raws)
        n_input, n_output, n_requests = counts.input_tokens, counts.output_tokens, counts.n_requests
        seconds = assembly.duration_sec(raws)
        flops = assembly.combined_flops(raws)
        warmup = assembly.combined_warmup(raws)
        warnings = [*assembly.combined_warnings(raws), *files.warnings]
        if seconds <= 0:
            raise ValueError(f"the measured window of experiment {first.experiment_id} has no length")
        return cls(
            schema_version="2.0",
            schema_revision=SCHEMA_REVISION,
            experiment_id=first.experiment_id,
            name=first.name,
            measurement_config_hash=first.measurement_config_hash,
            effective_config=first.effective_config,
            start_time=min(r.start_time for r in raws),
            end_time=max(r.end_time for r in raws),
            **_energy_fields(raws, n_input, n_output, n_requests),
            n_requests=n_requests,
            n_requests_failed=assembly.n_requests_failed(raws),
            requests_in_flight=first.in_flight if len(raws) == 1 else None,
            n_cut_short=sum(r.finish_reason == "length" for r in requests),
            input_tokens=n_input,
            output_tokens=n_output,
            total_tokens=n_input + n_output,
            duration_sec=seconds,
            tokens_per_second=n_output / seconds,
            total_tokens_per_second=(n_input + n_output) / seconds,
            requests_per_second=n_requests / seconds,
            latency_stats=latency_statistics(assembly.ended_in_the_window(raws)),
            flops_result=flops,
            mfu=model_flops_utilisation(raws, flops, seconds),
            phases=first.phases,
            measurement_methodology=first.measurement_methodology,
            steady_state_window=first.steady_state_window if len(raws) == 1 else None,
            n_requests_excluded=assembly.n_requests_excluded(raws),
            peak_memory_mb=sum_or_none([r.peak_memory_mb for r in raws]),
            instrument_cpu_s=sum_or_none([r.instrument_cpu_s for r in raws]),
            foreign_cpu_pct=max((r.foreign_cpu_pct for r in raws if r.foreign_cpu_pct is not None), default=None),
            thermal_throttle=assembly.combined_throttle(raws),
            warmup_result=warmup,
            warmup_excluded_samples=warmup.iterations_completed,
            measurement_warnings=list(map(str, warnings)),
            environment_snapshot=first.environment_snapshot,
            model=assembly.whole_model(raws),
            prompts_digest=first.prompts_digest,
            inputs_digest=inputs_digest(requests),
            outputs_digest=outputs_digest(requests),
            model_revision=first.identity.revision,
            weights_digest=first.identity.weights_digest,
            adapter_digest=first.identity.adapter_digest,
            draft_digest=first.identity.draft_digest,
            timeseries=files.timeseries,
            requests=files.requests,
            outputs=files.outputs,
            process_results=assembly.summaries(raws),
            aggregation=_aggregation(raws),
        )


class ExperimentFailure(BaseModel):
    """An experiment of a study that gave no result."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    slot: int
    name: str
    measurement_config_hash: str
    error_type: str
    message: str


class StudyResult(BaseModel):
    """The experiments of a study, in the order they were run; failed ones apart."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["2.0"] = "2.0"
    name: str
    start_time: datetime
    end_time: datetime
    experiments: list[ExperimentResult]
    failures: list[ExperimentFailure]
    output_dir: Path | None = None

    @property
    def n_experiments(self) -> int:
        """Experiments that were tried."""
        return len(self.experiments) + len(self.failures)


def _aggregation(raws: Sequence[RawProcessResult]) -> Aggregation | None:
    if len(raws) == 1:
        return None
    return Aggregation(n_processes=len(raws), parallelism=raws[0].parallelism, method="sum over devices")


def _ratio(numerator: float | None, denominator: int) -> float | None:
    return None if numerator is None or denominator == 0 else numerator / denominator


def _energy_fields(raws: Sequence[RawProcessResult], n_input: int, n_output: int, n_requests: int) -> dict[str, Any]:
    """Everything that follows from the joules, and where they come from."""
    first = raws[0]
    devices = assembly.distinct_devices(raws)
    total_j = assembly.total_energy_j(raws, devices)
    breakdown = assembly.combined_breakdown(raws, total_j)
    idle = assembly.loaded_idle(raws)
    aliasing_pct = max((r.energy_aliasing_pct for r in raws if r.energy_aliasing_pct is not None), default=None)
    return {
        "total_energy_j": total_j,
        "energy_adjusted_j": breakdown.adjusted_j if breakdown else None,
        "energy_per_output_token_j": _ratio(total_j, n_output),
        "avg_energy_per_token_j": _ratio(total_j, n_input + n_output),
        "energy_per_request_j": _ratio(total_j, n_requests),
        "joules_per_tflop": joules_per_tflop(total_j, assembly.combined_flops(raws)),
        "energy_net_of_loaded_idle_j": None if total_j is None or idle is None else total_j - idle.energy_j,
        "idle_loaded_power_w": idle.power_w if idle else None,
        "baseline_power_w": breakdown.baseline_power_w if breakdown else None,
        "energy_breakdown": breakdown,
        "energy_uncertainty_j": assembly.uncertainty_j(raws, devices) if total_j is not None else None,
        "sensor_accuracy_pct": sensor_accuracy_pct(devices) if total_j is not None else None,
        "energy_aliasing_pct": aliasing_pct,
        "energy_devices": tuple(devices),
        "energy_backend": first.energy_backend,
        "reproducibility_notes": reproducibility_notes(
            first.energy_backend,
            devices,
            total_j,
            first.warmup_result,
            weights=(first.model.parameters or {}).get("weights"),
            aliasing_pct=aliasing_pct,
        ),
    }
