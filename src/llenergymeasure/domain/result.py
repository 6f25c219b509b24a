"""Results: what is kept, cited and compared.

Field names and units are the file format (``schema_version``). Absent is None, with the reason in
``measurement_warnings``. Properties are other names for fields and are not written to files.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from llenergymeasure.domain import assembly, in_short
from llenergymeasure.domain.assembly import Aggregation, ProcessSummary
from llenergymeasure.domain.energy import idle_share
from llenergymeasure.domain.energy.attached import AttachedLog
from llenergymeasure.domain.energy.provenance import energy_origin, rests_on_a_model
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.equivalence import inputs_digest, outputs_digest
from llenergymeasure.domain.figures import ComputeFigures, EnergyFigures, SpeedFigures
from llenergymeasure.domain.inference import ModelDescription
from llenergymeasure.domain.meaning.fields import definitions_in
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
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.study.run_key import RunKey
from llenergymeasure.domain.under_load.figures import load_of, load_warnings
from llenergymeasure.domain.under_load.load_result import LoadResult
from llenergymeasure.domain.warnings import MeasurementWarning, Verdict, validity_of_energy
from llenergymeasure.domain.window import InFlight

# Counts up whenever fields are added to the file; none is ever taken away or given another meaning under one
# schema_version. Files of every revision are kept in tests/golden and must stay readable.
#   1  as first published; the file does not name it
#   2  schema_revision, validity, validity_flags, n_requests_failed, requests_in_flight, environment_snapshot.engine;
#      sensor, scope and headline in energy_devices; in requests.parquet due_s, sent_s, end_s and error
#   3  batch_size, weights, quantization, adapter and chat_template in model, which stood among its parameters
#   4  n_independent in the figures of latency_stats, and counted_from beside them; energy_window_s, counted_devices,
#      baseline_power_w and idle_loaded_power_w in process_results
#   5  duration_sec in energy_devices; energy_host_j, energy_host_uncertainty_j and energy_host_scope; attached_logs;
#      bounds of idle power and of what is left without it: baseline_power_uncertainty_w and adjusted_uncertainty_j in
#      energy_breakdown, idle_loaded_power_uncertainty_w, energy_net_of_loaded_idle_uncertainty_j, both bounds in
#      process_results; thermal_settled in warmup_result; update_period_s in pairs of phases; dither_pause_s,
#      dither_energy_j; energy_interval_j and energy_interval_parts_j; trace; dense_from in model;
#      uncertainty_parts_j in energy_devices; calibration in the GPUs of environment_snapshot; definitions, which say by
#      version how each derived figure was worked out (domain/meaning has them, with those of the revisions before)
#   6  quality; run_key
#   7  load; in requests.parquet cached_tokens, error_kind, counted_by, chunk_times_s and ttft_from_sending_s
#   8  host, boot_id, job and share in environment_snapshot; host in process_results; arrivals_digest in load
SCHEMA_REVISION = 8


class ExperimentResult(BaseModel):  # noqa: PLW1641 - a mapping among the fields has no hash either
    """One measured experiment."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["2.0"]
    schema_revision: int = 1
    definitions: dict[str, int] = {}
    experiment_id: str
    name: str
    measurement_config_hash: str
    effective_config: dict[str, Any]
    run_key: RunKey | None = None
    start_time: datetime
    end_time: datetime

    total_energy_j: float | None
    energy_adjusted_j: float | None
    energy_per_output_token_j: float | None
    avg_energy_per_token_j: float | None
    energy_per_request_j: float | None
    energy_net_of_loaded_idle_j: float | None
    energy_net_of_loaded_idle_uncertainty_j: float | None = None
    idle_loaded_power_w: float | None
    idle_loaded_power_uncertainty_w: float | None = None
    baseline_power_w: float | None
    energy_breakdown: EnergyBreakdown | None
    energy_uncertainty_j: float | None
    sensor_accuracy_pct: float | None
    energy_aliasing_pct: float | None = None
    energy_host_j: float | None = None
    energy_host_uncertainty_j: float | None = None
    energy_host_scope: str | None = None
    dither_pause_s: float | None = None
    dither_energy_j: float | None = None
    energy_interval_j: tuple[float, float] | None = None
    energy_interval_parts_j: dict[str, float] | None = None
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
    quality: QualityResult | None = None
    load: LoadResult | None = None
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
    trace: str | None = None
    attached_logs: tuple[AttachedLog, ...] = ()
    process_results: list[ProcessSummary]
    aggregation: Aggregation | None

    _folder: Path | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _definitions_follow_from_the_revision(cls, data: Any) -> Any:
        """Of files that do not name them."""
        if not isinstance(data, Mapping) or "definitions" in data:
            return data
        revision = data.get("schema_revision", 1)
        # Anything else is refused by the field itself.
        return {**data, "definitions": definitions_in(revision if isinstance(revision, int) else 1)}

    @model_validator(mode="before")
    @classmethod
    def _validity_follows_from_the_warnings(cls, data: Any) -> Any:
        """Worked out anew wherever a result is made or read: no file is believed that calls itself citable."""
        if not isinstance(data, Mapping):
            return data
        told, total_j = data.get("measurement_warnings"), data.get("total_energy_j")
        modelled = total_j is not None and rests_on_a_model(data.get("energy_devices") or ())
        # Anything else is refused by the field itself.
        found = validity_of_energy(told if isinstance(told, (list, tuple)) else (), total_j, modelled=modelled)
        return {**data, "validity": found.verdict, "validity_flags": list(found.decided_by)}

    @property
    def folder(self) -> Path | None:
        """Where it lies, as whoever read or kept it knows; in no file, and no part of what two results have alike."""
        return self._folder

    def kept_in(self, folder: Path | None) -> Self:
        """The same result, which knows its folder."""
        copy = self.model_copy()
        copy._folder = folder
        return copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ExperimentResult):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in ExperimentResult.model_fields)

    def __repr__(self) -> str:
        return in_short.experiment(self)

    __str__ = __repr__

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
        speed = SpeedFigures.of(raws)
        compute = ComputeFigures.of(raws, speed)
        energy = EnergyFigures.of(raws, speed, compute)
        warmup = assembly.combined_warmup(raws)
        load = load_of(raws, energy.total_j, energy.idle.power_w if energy.idle else None)
        warnings = [*assembly.combined_warnings(raws), *energy.warnings(), *load_warnings(load), *files.warnings]
        return cls(
            schema_version="2.0",
            schema_revision=SCHEMA_REVISION,
            definitions=definitions_in(SCHEMA_REVISION),
            experiment_id=first.experiment_id,
            name=first.name,
            measurement_config_hash=first.measurement_config_hash,
            effective_config=first.effective_config,
            start_time=min(r.start_time for r in raws),
            end_time=max(r.end_time for r in raws),
            total_energy_j=energy.total_j,
            energy_adjusted_j=energy.breakdown.adjusted_j if energy.breakdown else None,
            energy_per_output_token_j=energy.per_output_token_j,
            avg_energy_per_token_j=energy.per_token_j,
            energy_per_request_j=energy.per_request_j,
            joules_per_tflop=energy.joules_per_tflop,
            energy_net_of_loaded_idle_j=energy.net_of_loaded_idle_j,
            energy_net_of_loaded_idle_uncertainty_j=energy.net_of_loaded_idle_uncertainty_j,
            idle_loaded_power_w=energy.idle.power_w if energy.idle else None,
            idle_loaded_power_uncertainty_w=energy.idle.power_uncertainty_w if energy.idle else None,
            baseline_power_w=energy.breakdown.baseline_power_w if energy.breakdown else None,
            energy_breakdown=energy.breakdown,
            energy_uncertainty_j=energy.uncertainty_j,
            sensor_accuracy_pct=energy.sensor_accuracy_pct,
            energy_aliasing_pct=energy.aliasing_pct,
            energy_host_j=energy.host.energy_j if energy.host else None,
            energy_host_uncertainty_j=energy.host.uncertainty_j if energy.host else None,
            energy_host_scope=energy.host.scope if energy.host else None,
            dither_pause_s=idle_share.dither_pause_s(raws),
            dither_energy_j=idle_share.dither_energy_j(raws),
            energy_interval_j=energy.interval.ends_j if energy.interval else None,
            energy_interval_parts_j=dict(energy.interval.parts_j) if energy.interval else None,
            energy_devices=energy.devices,
            energy_backend=energy.sensor,
            reproducibility_notes=energy.notes,
            n_requests=speed.counts.n_requests,
            n_requests_failed=speed.n_failed,
            requests_in_flight=speed.in_flight,
            n_cut_short=speed.n_cut_short,
            input_tokens=speed.counts.input_tokens,
            output_tokens=speed.counts.output_tokens,
            total_tokens=speed.n_tokens,
            duration_sec=speed.duration_sec,
            tokens_per_second=speed.counts.output_tokens / speed.duration_sec,
            total_tokens_per_second=speed.n_tokens / speed.duration_sec,
            requests_per_second=speed.counts.n_requests / speed.duration_sec,
            latency_stats=speed.latency_stats,
            flops_result=compute.flops_result,
            mfu=compute.mfu,
            phases=first.phases,
            quality=first.quality,
            load=load,
            measurement_methodology=first.measurement_methodology,
            steady_state_window=first.steady_state_window if len(raws) == 1 else None,
            n_requests_excluded=speed.n_excluded,
            peak_memory_mb=compute.peak_memory_mb,
            instrument_cpu_s=sum_or_none([r.instrument_cpu_s for r in raws]),
            foreign_cpu_pct=max((r.foreign_cpu_pct for r in raws if r.foreign_cpu_pct is not None), default=None),
            thermal_throttle=assembly.combined_throttle(raws),
            warmup_result=warmup,
            warmup_excluded_samples=warmup.iterations_completed,
            measurement_warnings=list(map(str, warnings)),
            environment_snapshot=first.environment_snapshot,
            model=assembly.whole_model(raws),
            run_key=first.run_key,
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
            trace=files.trace,
            process_results=assembly.summaries(raws),
            aggregation=assembly.aggregation(raws),
        )
