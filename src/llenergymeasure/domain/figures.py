"""The blocks of a result, each worked out in one place: energy, speed, compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from llenergymeasure.domain import assembly
from llenergymeasure.domain.energy import idle_share
from llenergymeasure.domain.energy.host_energy import HostEnergy
from llenergymeasure.domain.energy.interval import EnergyInterval, energy_interval
from llenergymeasure.domain.energy.provenance import reproducibility_notes, sensor_accuracy_pct
from llenergymeasure.domain.inference import latency_statistics
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyBreakdown, FlopsResult, LatencyStatistics, sum_or_none
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.utilisation import joules_per_tflop, model_flops_utilisation
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.domain.window import InFlight, WindowCounts

# A bound as wide as what the on-board sensors themselves are off by.
_WIDE_BOUND = 0.05


@dataclass(frozen=True, kw_only=True)
class SpeedFigures:
    """What was served in the window, and how fast."""

    counts: WindowCounts
    n_failed: int
    n_cut_short: int
    n_excluded: int
    in_flight: InFlight | None
    duration_sec: float
    latency_stats: LatencyStatistics | None

    @classmethod
    def of(cls, raws: Sequence[RawProcessResult]) -> Self:
        """Of [n] processes in their order.

        Raises:
            ValueError: the window has no length.
        """
        seconds = assembly.duration_sec(raws)
        if seconds <= 0:
            raise ValueError(f"the measured window of experiment {raws[0].experiment_id} has no length")
        ended = assembly.ended_in_the_windows(raws)
        return cls(
            counts=assembly.combined_counts(raws),
            n_failed=assembly.n_requests_failed(raws),
            n_cut_short=sum(r.finish_reason == "length" for requests in ended for r in requests),
            n_excluded=assembly.n_requests_excluded(raws),
            in_flight=raws[0].in_flight if len(raws) == 1 else None,
            duration_sec=seconds,
            latency_stats=latency_statistics(ended),
        )

    @property
    def n_tokens(self) -> int:
        """Tokens read and produced."""
        return self.counts.input_tokens + self.counts.output_tokens


@dataclass(frozen=True, kw_only=True)
class ComputeFigures:
    """What the model computed."""

    flops_result: FlopsResult | None
    mfu: float | None
    peak_memory_mb: float | None

    @classmethod
    def of(cls, raws: Sequence[RawProcessResult], speed: SpeedFigures) -> Self:
        """Of [n] processes in their order."""
        flops = assembly.combined_flops(raws)
        return cls(
            flops_result=flops,
            mfu=model_flops_utilisation(raws, flops, speed.duration_sec),
            peak_memory_mb=sum_or_none([r.peak_memory_mb for r in raws]),
        )


@dataclass(frozen=True, kw_only=True)
class EnergyFigures:
    """The joules, what follows from them, and where they come from."""

    total_j: float | None
    breakdown: EnergyBreakdown | None
    per_output_token_j: float | None
    per_token_j: float | None
    per_request_j: float | None
    joules_per_tflop: float | None
    net_of_loaded_idle_j: float | None
    net_of_loaded_idle_uncertainty_j: float | None
    idle: idle_share.IdlePower | None
    uncertainty_j: float | None
    sensor_accuracy_pct: float | None
    aliasing_pct: float | None
    host: HostEnergy | None
    interval: EnergyInterval | None
    devices: tuple[DeviceEnergy, ...]
    sensor: str | None
    notes: str

    def warnings(self) -> list[MeasurementWarning]:
        """Whether the sensors leave so much open that the energy is hardly known."""
        total_j, bound_j = self.total_j, self.uncertainty_j
        if total_j is None or bound_j is None or bound_j <= _WIDE_BOUND * total_j:
            return []
        return [
            MeasurementWarning(
                "wide_energy_bound",
                f"edges of the window, ticks and integration leave {bound_j:.3g} of {total_j:.3g} J open",
                "measure for longer: raise n or max_output_tokens",
            )
        ]

    @classmethod
    def of(cls, raws: Sequence[RawProcessResult], speed: SpeedFigures, compute: ComputeFigures) -> Self:
        """Of [n] processes in their order."""
        first, counts = raws[0], speed.counts
        devices = assembly.distinct_devices(raws)
        total_j = assembly.total_energy_j(raws, devices)
        idle = idle_share.loaded_idle(raws)
        bound_j = assembly.uncertainty_j(raws, devices) if total_j is not None else None
        aliasing_pct = max((r.energy_aliasing_pct for r in raws if r.energy_aliasing_pct is not None), default=None)
        return cls(
            total_j=total_j,
            breakdown=idle_share.combined_breakdown(raws, total_j, bound_j),
            per_output_token_j=_ratio(total_j, counts.output_tokens),
            per_token_j=_ratio(total_j, speed.n_tokens),
            per_request_j=_ratio(total_j, counts.n_requests),
            joules_per_tflop=joules_per_tflop(total_j, compute.flops_result),
            net_of_loaded_idle_j=None if total_j is None or idle is None else total_j - idle.energy_j,
            net_of_loaded_idle_uncertainty_j=sum_or_none(
                [bound_j, None if idle is None else idle.energy_uncertainty_j]
            ),
            idle=idle,
            uncertainty_j=bound_j,
            sensor_accuracy_pct=sensor_accuracy_pct(devices) if total_j is not None else None,
            aliasing_pct=aliasing_pct,
            host=HostEnergy.of(devices, speed.duration_sec, len(first.environment_snapshot.gpus)),
            interval=energy_interval(total_j, bound_j, devices, aliasing_pct),
            devices=tuple(devices),
            sensor=first.energy_backend,
            notes=reproducibility_notes(
                first.energy_backend,
                devices,
                total_j,
                first.warmup_result,
                weights=first.model.weights,
                aliasing_pct=aliasing_pct,
                chosen={name: str(first.effective_config.get(name)) for name in first.as_given},
            ),
        )


def _ratio(numerator: float | None, denominator: int) -> float | None:
    return None if numerator is None or denominator == 0 else numerator / denominator
