"""Measured and derived quantities. SI units, the unit last in the name; None is unknown."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import ConfigDict

from llenergymeasure.domain.trace import DeviceTrace, without
from llenergymeasure.domain.warnings import MeasurementWarning

EnergySource = Literal["counter", "integrated", "modelled"]
DeviceKind = Literal["gpu", "cpu", "dram", "soc", "host"]
# What the figure of a sensor covers: a GPU, a module of GPU, CPU and their memory, a processor package, memory, a
# system on a chip, the machine as it measures itself, the machine at the wall.
EnergyScope = Literal["gpu", "module", "package", "dram", "soc", "host", "wall"]
# What a reading of a device covers where its sensor does not say.
SCOPE_OF_KIND: dict[DeviceKind, EnergyScope] = {
    "gpu": "gpu",
    "cpu": "package",
    "dram": "dram",
    "soc": "soc",
    "host": "host",
}
# The part of a bound that stands for what a sensor misses that looks part of the time: where a figure has it, nothing
# that was read of the device is known to see all of the time.
UNSEEN = "unseen"
BaselineMethod = Literal["fresh", "cached", "unavailable"]
Confidence = Literal["high", "medium", "low"]
NumberFormat = Literal["fp32", "tf32", "fp16", "bf16"]
# Wherever these values are read or checked: a number that is none is refused.
FINITE = ConfigDict(allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True)
class DeviceEnergy:
    """Energy of one device over the measured window, and how it was obtained.

    ``device`` is a UUID for a GPU, else the sensor's own name. ``source`` is ``counter`` (a
    hardware energy counter), ``integrated`` (sampled power) or ``modelled`` (no
    sensor; ``basis`` says from what). ``uncertainty_j`` is the bound of what edges, ticks and
    integration leave open, not the sensor's own error; ``uncertainty_parts_j`` are its parts by what leaves them open,
    which add up to it, for they may all have the same sign: ``edges``, ``integration``, ``unseen`` (what a sensor that
    looks part of the time misses), ``lag``, ``averaging``, ``resolution``, and ``witness``, by which it was widened to
    reach a second reading. ``witness_j`` is what a second reading of the
    same device gave for the same window. ``sensor`` is the name of the one that gave the row, ``scope`` what the figure
    covers, ``headline`` whether it is part of the total, ``duration_sec`` what time the figure is of; None where that
    is still open, or was not written.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    device: str
    kind: DeviceKind
    energy_j: float | None
    source: EnergySource
    uncertainty_j: float | None = None
    uncertainty_parts_j: dict[str, float] | None = None
    update_period_s: float | None = None
    field: str | None = None
    basis: str | None = None
    witness_j: float | None = None
    sensor: str | None = None
    scope: EnergyScope | None = None
    headline: bool | None = None
    duration_sec: float | None = None

    @property
    def covers(self) -> EnergyScope:
        """What the figure covers: its scope, or what is usual for its kind of device."""
        return self.scope or SCOPE_OF_KIND[self.kind]

    @property
    def unknown(self) -> "DeviceEnergy":
        """The same device without a figure."""
        return replace(self, energy_j=None, uncertainty_j=None, uncertainty_parts_j=None)


@dataclass(frozen=True)
class EnergyMeasurement:
    """What a sensor found over one window; ``total_j`` None has its reason in ``warnings``.

    A text ``flag: what was seen; what to do`` among the warnings is taken for the warning that it stands for.
    ``trace`` is what was read, for whoever works it out again; a sensor need not have it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    total_j: float | None
    duration_sec: float
    samples: int
    per_gpu_j: dict[str, float] | None = None
    devices: tuple[DeviceEnergy, ...] = ()
    uncertainty_j: float | None = None
    warnings: tuple[MeasurementWarning, ...] = ()
    trace: tuple[DeviceTrace, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        """Make values of the texts that a sensor from elsewhere may give."""
        object.__setattr__(self, "warnings", MeasurementWarning.all_of(self.warnings))


@dataclass(frozen=True, kw_only=True)
class EnergyBreakdown:
    """Energy as sensed, and with the idle machine's share taken off; bounds where sensors and scatter tell of some."""

    raw_j: float | None
    adjusted_j: float | None
    baseline_power_w: float | None
    baseline_method: BaselineMethod
    baseline_timestamp: float | None = None
    baseline_cache_age_sec: float | None = None
    baseline_power_uncertainty_w: float | None = None
    adjusted_uncertainty_j: float | None = None


@dataclass(frozen=True, kw_only=True)
class FlopsTerms:
    """Floating-point operations of forward passes: weights, attention, output head.

    ``attention`` is None where it is of a kind that is not known, and then there is no total.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    linear: float
    attention: float | None
    head: float

    @property
    def total(self) -> float | None:
        """The three together."""
        return None if self.attention is None else self.linear + self.attention + self.head


@dataclass(frozen=True, kw_only=True)
class FlopsResult:
    """Floating-point operations, with the way they were counted.

    ``value`` is by the rule of ``method``. ``prefill`` and ``decode`` are what the model did for the same requests;
    None where part of that is not known. ``number_format`` is what matrices were multiplied in; None where there are
    several, or it is not known.
    """

    __pydantic_config__: ClassVar[ConfigDict] = FINITE

    value: float
    method: str
    confidence: Confidence
    n_parameters: int | None = None
    prefill: FlopsTerms | None = None
    decode: FlopsTerms | None = None
    number_format: NumberFormat | None = None

    @property
    def model_flops(self) -> float | None:
        """What the model did: prefill and decode together."""
        phases = [None if phase is None else phase.total for phase in (self.prefill, self.decode)]
        return sum_or_none(phases)


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Memory of a model when it holds most, in MB (10^6 bytes).

    ``kv_cache_mb`` is the cache at its largest, ``activations_mb`` what is held beside weights and cache when all
    together is most, ``overhead_mb`` the engine's libraries and what its allocator leaves unused. A part that
    cannot be told is None, with a line in ``unknown``. ``may_spill`` is true where parts may lie on other devices
    than those that the experiment measures.
    """

    weights_mb: float
    kv_cache_mb: float | None
    activations_mb: float | None
    overhead_mb: float | None
    unknown: tuple[str, ...] = ()
    may_spill: bool = False
    advice: str | None = None

    @property
    def certain_mb(self) -> float:
        """Weights and cache: what no allocator can do without."""
        return self.weights_mb + (self.kv_cache_mb or 0)

    @property
    def total_mb(self) -> float | None:
        """All of it; None when a part is unknown."""
        return sum_or_none([self.weights_mb, self.kv_cache_mb, self.activations_mb, self.overhead_mb])

    def divided_by(self, n_processes: int) -> "MemoryEstimate":
        """What one of so many processes takes, which are alike."""

        def share(mb: float | None) -> float | None:
            return None if mb is None else mb / n_processes

        return replace(
            self,
            weights_mb=self.weights_mb / n_processes,
            kv_cache_mb=share(self.kv_cache_mb),
            activations_mb=share(self.activations_mb),
            overhead_mb=share(self.overhead_mb),
        )


@dataclass(frozen=True, kw_only=True)
class WarmupResult:
    """How warm-up went, in runs of one batch each.

    ``final_cv`` and ``target_cv`` are fractions; ``final_cv`` is None when there are too few latencies.
    ``thermal_floor_wait_s`` is what was waited, less than what was asked for where the floor ended early.
    ``thermal_settled`` says whether every GPU's temperature had settled by then; None where nobody looked.
    """

    converged: bool
    final_cv: float | None
    iterations_completed: int
    target_cv: float
    max_prompts: int
    latencies_ms: tuple[float, ...] = ()
    n_failed: int = 0
    thermal_floor_wait_s: float = 0.0
    thermal_floor_ended_early: bool = False
    thermal_settled: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ThermalThrottleInfo:
    """Whether and why the device slowed itself down inside the measured window."""

    detected: bool = False
    thermal: bool = False
    power: bool = False
    sw_thermal: bool = False
    hw_thermal: bool = False
    hw_power: bool = False
    throttle_duration_sec: float = 0.0
    max_temperature_c: float | None = None


# How many independent values a percentile takes: so many that one of them lies beyond it.
VALUES_NEEDED = {"p50": 1, "p90": 10, "p95": 20, "p99": 100}


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Mean and percentiles of ``n`` values, of which ``n_independent`` came about apart from each other.

    Requests that ran in one batch, and tokens of one step, have their times together: however many they are, they are
    one observation. None where nobody wrote it down.
    """

    n: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    n_independent: int | None = None

    @classmethod
    def of(cls, values: Sequence[float], n_independent: int | None = None) -> "Distribution | None":
        """The distribution of [n] values, percentiles by linear interpolation; None for no values.

        Args:
            values: the values.
            n_independent: how many of them are; None is all.
        """
        if not values:
            return None
        p50, p90, p95, p99 = (float(p) for p in np.percentile(values, (50, 90, 95, 99)))
        n = len(values)
        n_independent = n if n_independent is None else n_independent
        return cls(n=n, mean=float(np.mean(values)), p50=p50, p90=p90, p95=p95, p99=p99, n_independent=n_independent)

    @property
    def supported(self) -> dict[str, float]:
        """The percentiles that as many independent values support, by name: those that one of them lies beyond.

        So a p90 takes 10 of them, a p95 20 and a p99 100. The median is always among them.
        """
        return {
            name: getattr(self, name)
            for name, n in VALUES_NEEDED.items()
            if name == "p50" or (self.n_independent or 0) >= n
        }


# What latencies count from: the request's own beginning, or that of the batch that it ran in with others.
LatencyOrigin = Literal["request", "batch"]


@dataclass(frozen=True, kw_only=True)
class LatencyStatistics:
    """Latencies of requests in seconds.

    TTFT and E2E run from where ``counted_from`` says (None where nobody wrote it down), E2E to the request's own last
    token. TPOT is (E2E - TTFT) / (n - 1); ITL are the gaps between a request's tokens.
    """

    ttft_s: Distribution | None
    tpot_s: Distribution | None
    itl_s: Distribution | None
    e2e_s: Distribution | None
    counted_from: LatencyOrigin | None = None


def counted_devices(devices: Sequence[DeviceEnergy]) -> list[DeviceEnergy]:
    """Those of [n] devices whose energies make the total: the GPUs if there are any, else the CPU packages.

    Where there is neither, the systems on a chip, else the machine. Memory is listed beside them and never added, and
    so is what is marked as no part of the total.
    """
    open_to_it = [d for d in devices if d.headline is not False]
    for kind in ("gpu", "cpu", "soc", "host"):
        of_this_kind = [d for d in open_to_it if d.kind == kind]
        if of_this_kind:
            return of_this_kind
    return []


def slowest_update_s(measurement: EnergyMeasurement) -> float | None:
    """The longest update period of the counted devices of a measurement; None where none says of one."""
    periods_s = (d.update_period_s for d in counted_devices(measurement.devices))
    return max((period_s for period_s in periods_s if period_s is not None), default=None)


def headline_energy_j(devices: Sequence[DeviceEnergy]) -> float | None:
    """The total of the counted ones of [n] devices; None when one is unknown, or some are sensed and some modelled."""
    counted = counted_devices(devices)
    if len({d.source == "modelled" for d in counted}) > 1:
        return None
    return sum_or_none([d.energy_j for d in counted])


def combined_uncertainty_j(devices: Sequence[DeviceEnergy]) -> float | None:
    """The sum of the bounds of the counted ones of [n] devices; None when one has none."""
    return sum_or_none([d.uncertainty_j for d in counted_devices(devices)])


def only_gpus(measurement: EnergyMeasurement, uuids: Sequence[str]) -> EnergyMeasurement:
    """A measurement without the GPUs that are not among [n] UUIDs, and what was said of them alone.

    Devices of other kinds stay. Where GPUs make the total and one of the [n] has no row, there is no total.
    """
    counted = counted_devices(measurement.devices)
    counted_gpus = {d.device for d in counted if d.kind == "gpu"}
    absent = [uuid for uuid in uuids if counted_gpus and uuid not in counted_gpus]
    rows = tuple(d for d in measurement.devices if d.kind != "gpu" or d.device in uuids)
    if rows == measurement.devices and not absent:
        return measurement
    others = {d.device for d in measurement.devices if d not in rows}
    if not any(d in rows for d in counted):
        # What the sensor listed beside its GPUs is now what it measured.
        sensors = {d.sensor for d in counted}
        rows = tuple(replace(d, headline=None) if d.headline is False and d.sensor in sensors else d for d in rows)
    total_j, bound_j = measurement.total_j, measurement.uncertainty_j
    if absent or _is_refused_as_a_whole(measurement, counted):
        total_j = bound_j = None
    elif any(d.device in others for d in counted):
        total_j, bound_j = headline_energy_j(rows), combined_uncertainty_j(rows)
    said = [
        warning
        for warning in measurement.warnings
        # Why all of them together had no energy is no reason for those that have.
        if warning.device not in others and (total_j is None or warning.flag != "energy_unavailable")
    ]
    if absent:
        seen = ", ".join(sorted(counted_gpus))
        said.append(
            MeasurementWarning("energy_unavailable", f"nothing was read of {', '.join(absent)}, only of {seen}")
        )
    now_counted = counted_devices(rows)
    return replace(
        measurement,
        total_j=total_j,
        per_gpu_j={d.device: d.energy_j for d in now_counted if d.kind == "gpu" and d.energy_j is not None},
        devices=tuple(replace(d, headline=d in now_counted) if d.headline is None and d.sensor else d for d in rows),
        uncertainty_j=bound_j,
        warnings=tuple(said),
        trace=without(measurement.trace, others),
    )


def _is_refused_as_a_whole(measurement: EnergyMeasurement, counted: Sequence[DeviceEnergy]) -> bool:
    """Whether there is no total although every row that makes it has a figure: then no part of it is believed."""
    return measurement.total_j is None and sum_or_none([d.energy_j for d in counted]) is not None


def sum_or_none(values: Sequence[float | None]) -> float | None:
    """The sum of [n] values; None when there are none or one is unknown."""
    known = [v for v in values if v is not None]
    return sum(known) if values and len(known) == len(values) else None
