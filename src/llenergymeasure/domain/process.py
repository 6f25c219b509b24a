"""What one process measured: the raw material of a result."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity, RequestOutput
from llenergymeasure.domain.metrics import (
    EnergyBreakdown,
    EnergyMeasurement,
    FlopsResult,
    ThermalThrottleInfo,
    WarmupResult,
)
from llenergymeasure.domain.phases import PhasesResult
from llenergymeasure.domain.telemetry import PowerThermalSample

Methodology = Literal["total", "windowed", "steady_state"]
Parallelism = Literal["single", "data", "tensor"]


class RawProcessResult(BaseModel):
    """One process of an experiment.

    ``window_start_s`` and ``window_end_s`` are on the machine's monotonic clock, so that the windows of
    processes on one machine can be laid over each other. ``samples`` are the GPUs' states in the window, kept only
    by one of several processes, whose files beside the result are written when all have ended.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment_id: str
    name: str
    measurement_config_hash: str
    effective_config: dict[str, Any]
    process_index: int = 0
    n_processes: int = 1
    parallelism: Parallelism = "single"
    environment_snapshot: EnvironmentSnapshot
    model: ModelDescription
    identity: ModelIdentity = ModelIdentity()
    prompts_digest: str
    requests: tuple[RequestOutput, ...]
    start_time: datetime
    end_time: datetime
    window_start_s: float
    window_end_s: float
    energy_backend: str | None = None
    energy: EnergyMeasurement | None = None
    energy_breakdown: EnergyBreakdown | None = None
    idle_loaded_power_w: float | None = None
    energy_aliasing_pct: float | None = None
    flops_result: FlopsResult | None = None
    phases: PhasesResult | None = None
    measurement_methodology: Methodology = "total"
    steady_state_window: tuple[float, float] | None = None
    n_requests_excluded: int = 0
    warmup_result: WarmupResult
    thermal_throttle: ThermalThrottleInfo | None = None
    peak_memory_mb: float | None = None
    instrument_cpu_s: float | None = None
    foreign_cpu_pct: float | None = None
    timeseries: str | None = None
    requests_file: str | None = None
    outputs_file: str | None = None
    samples: tuple[PowerThermalSample, ...] = ()
    measurement_warnings: tuple[str, ...] = ()

    @property
    def duration_sec(self) -> float:
        """Length of the measured window."""
        return self.window_end_s - self.window_start_s

    @property
    def input_tokens(self) -> int:
        """Tokens read in the window."""
        return sum(r.input_tokens for r in self.requests)

    @property
    def output_tokens(self) -> int:
        """Tokens produced in the window."""
        return sum(r.output_tokens for r in self.requests)
