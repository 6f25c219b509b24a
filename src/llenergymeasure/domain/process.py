"""What one process measured: the raw material of a result."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity, RequestOutput
from llenergymeasure.domain.load_record import LoadRecord
from llenergymeasure.domain.metrics import (
    EnergyBreakdown,
    EnergyMeasurement,
    FlopsResult,
    ThermalThrottleInfo,
    WarmupResult,
)
from llenergymeasure.domain.phases import PhasesResult
from llenergymeasure.domain.quality import QualityResult
from llenergymeasure.domain.study.run_key import RunKey
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.domain.window import InFlight, WindowCounts, counts_between, counts_of

Methodology = Literal["total", "windowed", "steady_state"]
Parallelism = Literal["single", "data", "tensor"]


@dataclass(frozen=True, kw_only=True)
class Sidecars:
    """Names of the files beside a result, each None where it was not written, and why."""

    timeseries: str | None = None
    requests: str | None = None
    outputs: str | None = None
    trace: str | None = None
    warnings: tuple[MeasurementWarning, ...] = ()


class ProcessEnd(BaseModel):
    """How a process that failed ended: its exit code, minus the signal that killed it, and Unix time."""

    model_config = ConfigDict(frozen=True)

    process_index: int
    exit_code: int
    time_s: float


class RawProcessResult(BaseModel):
    """One process of an experiment.

    ``window_start_s`` and ``window_end_s`` are on the machine's monotonic clock, so that the windows of
    processes on one machine can be laid over each other. ``samples`` are the GPUs' states in the window.
    ``requests`` are those that were in flight in it; where an edge of the window cut through some (``in_flight``), only
    a part of their tokens is the window's. ``load`` is how they arrived, None where they came in batches or all at once
    without being asked to. ``as_given`` are settings that were left to the machine, as they were
    written. ``node`` is the host's name where several nodes run the experiment, and ``idle_by_device_w`` what its
    devices take with the model loaded, in watts with their bound: of nodes that attend it is wanted for each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment_id: str
    name: str
    measurement_config_hash: str
    effective_config: dict[str, Any]
    as_given: dict[str, str] = {}
    run_key: RunKey | None = None
    process_index: int = 0
    n_processes: int = 1
    parallelism: Parallelism = "single"
    node: str | None = None
    idle_by_device_w: dict[str, tuple[float, float | None]] = {}
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
    idle_loaded_power_uncertainty_w: float | None = None
    energy_aliasing_pct: float | None = None
    dither_pause_s: float | None = None
    flops_result: FlopsResult | None = None
    phases: PhasesResult | None = None
    quality: QualityResult | None = None
    measurement_methodology: Methodology = "total"
    steady_state_window: tuple[float, float] | None = None
    n_requests_excluded: int = 0
    in_flight: InFlight | None = None
    load: LoadRecord | None = None
    n_requests_failed: int = 0
    warmup_result: WarmupResult
    thermal_throttle: ThermalThrottleInfo | None = None
    peak_memory_mb: float | None = None
    instrument_cpu_s: float | None = None
    foreign_cpu_pct: float | None = None
    samples: tuple[PowerThermalSample, ...] = ()
    measurement_warnings: tuple[MeasurementWarning, ...] = ()

    @property
    def attends(self) -> bool:
        """Whether it measured a node that takes part in what the first one runs."""
        return self.node is not None and self.process_index > 0

    @property
    def duration_sec(self) -> float:
        """Length of the measured window."""
        return self.window_end_s - self.window_start_s

    @property
    def counts(self) -> WindowCounts:
        """Requests and tokens of the window: of requests that an edge cut through, what lies inside of it."""
        if self.in_flight is None:
            return counts_of(self.requests)
        return counts_between(self.requests, self.window_start_s, self.window_end_s)
