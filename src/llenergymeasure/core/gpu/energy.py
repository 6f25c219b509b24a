"""Joules of GPUs over a window, from what was recorded of them.

The energy counter goes first; sampled power is its witness, and takes its place where it is refused.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llenergymeasure.core.gpu.counter import (
    ABOVE_LIMIT,
    NEAR_S,
    CounterEnergy,
    CounterRead,
    CounterRefusedError,
    PowerSeen,
    counter_energy,
)
from llenergymeasure.core.gpu.power_sensor import REFRESH_S, PowerSensor
from llenergymeasure.core.gpu.trace import PowerTrace, power_trace
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyScope
from llenergymeasure.domain.telemetry import PowerThermalSample, integrate_power_j, integration_uncertainty_j
from llenergymeasure.domain.warnings import MeasurementWarning

# Counter and integral this far apart do not describe the same window.
DISAGREEMENT_PCT = 5.0
# The worst of those that were measured (Yang et al., arXiv 2312.02741): A100 and H100.
_UNKNOWN_SENSOR = PowerSensor(0.1, 0.025)
# Where no limit can be read: more than any module so far may draw.
_NO_CARD_DRAWS_W = 5000.0
# Drivers give whole milliwatts.
_RESOLUTION_W = 0.001


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card's readings are: the fields they come from, how old power may be, the limit, the sensor behind it.

    ``power_limit_w`` and ``sensor`` are None where they are not known. ``driver`` is the name of what was asked,
    ``scope`` what its figures cover.
    """

    power_field: str
    power_lag_s: float
    power_limit_w: float | None = None
    sensor: PowerSensor | None = None
    driver: str | None = None
    scope: EnergyScope = "gpu"
    counter_field: str = "energy counter"


@dataclass(frozen=True, kw_only=True)
class GpuRecord:
    """One GPU as recorded around a window, sampled every ``interval_s``."""

    uuid: str
    card: CardFacts
    samples: Sequence[PowerThermalSample]
    counter_reads: Sequence[CounterRead]
    interval_s: float

    @property
    def power_period_s(self) -> float:
        """How often power can be new: as often as it is sampled, but not more often than the card refreshes it."""
        return max(self.interval_s, REFRESH_S if self.card.sensor is None else self.card.sensor.update_s)

    def power_limit_w(self, start_s: float, end_s: float) -> float | None:
        """The highest power limit that was in force in a window; None where none is known."""
        told = [(s.timestamp, s.power_limit_w) for s in self.samples if s.power_limit_w is not None]
        # One that was read later may have been set before that reading.
        first, last = bisect_right(told, start_s, key=_time) - 1, bisect_left(told, end_s, key=_time)
        in_force = [limit_w for _, limit_w in told[max(0, first) : last + 1]]
        if first < 0 and self.card.power_limit_w is not None:
            in_force.append(self.card.power_limit_w)
        return max(in_force, default=None)

    @property
    def unseen_s(self) -> float:
        """How long power may swing without any sample showing it: what one reading averages over."""
        averaged_s = REFRESH_S if self.card.sensor is None else self.card.sensor.window_s
        return averaged_s if self.card.power_lag_s <= REFRESH_S else self.card.power_lag_s


@dataclass(frozen=True, kw_only=True)
class GpuEnergy:
    """Energy of one GPU; ``problem`` says why there is none, ``warnings`` what is to be known of the figures."""

    row: DeviceEnergy
    warnings: tuple[MeasurementWarning, ...] = ()
    problem: str | None = None


def _time(reading: tuple[float, float]) -> float:
    return reading[0]


def gpu_energy(record: GpuRecord, start_s: float, end_s: float) -> GpuEnergy:
    """Energy of one GPU between two moments of the clock that stamped the record.

    The counter's figure goes first. One that failed, went back, jumped or stood still is replaced by the
    integral of sampled power, and the warnings say so. What neither can tell is None.
    """
    limit_w = record.power_limit_w(start_s, end_s) or _NO_CARD_DRAWS_W
    trace = power_trace(record.samples, limit_w * ABOVE_LIMIT, record.power_period_s)
    warnings: list[MeasurementWarning] = []
    n_absurd = trace.n_absurd(start_s - NEAR_S, end_s + NEAR_S)
    if n_absurd:
        warnings.append(
            MeasurementWarning(
                "absurd_power",
                f"{n_absurd} power readings of {record.uuid} were zero, negative or far over its limit and "
                "count as failed",
                "look after the driver",
                record.uuid,
            )
        )
    integral_j, integral_bound_j = _integral(trace, start_s, end_s, record)
    counter, refusal = _counter(record, start_s, end_s, trace, limit_w)
    if counter is not None:
        stuck = trace.stood_still(start_s, end_s)
        warnings += _against_witness(record.uuid, counter, integral_j, integral_bound_j, stuck)
        counter = _as_far_as_the_witness(record.card.sensor, counter, integral_j, integral_bound_j)
        row = DeviceEnergy(
            device=record.uuid,
            kind="gpu",
            energy_j=counter.energy_j,
            source="counter",
            uncertainty_j=counter.uncertainty_j,
            update_period_s=counter.tick_s,
            field=record.card.counter_field,
            witness_j=integral_j,
            sensor=record.card.driver,
            scope=record.card.scope,
        )
        return GpuEnergy(row=row, warnings=tuple(warnings))
    row = DeviceEnergy(
        device=record.uuid,
        kind="gpu",
        energy_j=integral_j,
        source="integrated",
        uncertainty_j=integral_bound_j,
        update_period_s=record.power_period_s,
        field=record.card.power_field,
        sensor=record.card.driver,
        scope=record.card.scope,
    )
    if integral_j is None:
        return GpuEnergy(row=row, warnings=tuple(warnings), problem=_why_none(record, trace, start_s, end_s, refusal))
    warnings += _may_be_stuck(record.uuid, trace, start_s, end_s)
    if refusal is not None:
        warnings.append(
            MeasurementWarning(
                "energy_counter_refused",
                f"the energy counter of {record.uuid} is not used: {refusal}; joules are the integral of sampled power",
                "look after the driver",
                record.uuid,
            )
        )
    return GpuEnergy(row=row, warnings=tuple(warnings))


def _integral(trace: PowerTrace, start_s: float, end_s: float, record: GpuRecord) -> tuple[float | None, float | None]:
    if end_s <= start_s or trace.was_lost_by(end_s):
        return None, None
    energy_j = integrate_power_j(
        trace.time_s, trace.power_w, start_s=start_s, end_s=end_s, period_s=record.power_period_s
    )
    if energy_j is None:
        return None, None
    unseen_j = integration_uncertainty_j(
        trace.time_s, trace.power_w, start_s=start_s, end_s=end_s, lag_s=record.card.power_lag_s
    )
    return energy_j, (unseen_j or 0.0) + _RESOLUTION_W * (end_s - start_s)


def _counter(
    record: GpuRecord, start_s: float, end_s: float, trace: PowerTrace, limit_w: float
) -> tuple[CounterEnergy | None, str | None]:
    """The counter's figure, or why it is refused; neither where the card has no counter."""
    reads = record.counter_reads
    if all(read.energy_j is None for read in reads):
        return None, None
    # What was read long before or after may have been another window's trouble.
    near = [r for r in reads if start_s - NEAR_S <= r.before_s and r.after_s <= end_s + NEAR_S]
    seen = trace.seen(start_s - NEAR_S, end_s + NEAR_S)
    power = PowerSeen(
        time_s=[t for t, _ in seen],
        power_w=[p for _, p in seen],
        limit_w=limit_w,
        unseen_s=record.unseen_s,
        unseen_share=(record.card.sensor or _UNKNOWN_SENSOR).unseen_share,
    )
    try:
        found = counter_energy(near, start_s, end_s, power)
    except CounterRefusedError as error:
        return None, str(error)
    if found.energy_j <= 0:
        return None, "it did not move"
    unseen_j = _never_seen_j(record.card.sensor, trace, start_s, end_s)
    return replace(found, uncertainty_j=found.uncertainty_j + unseen_j), None


def _never_seen_j(sensor: PowerSensor | None, trace: PowerTrace, start_s: float, end_s: float) -> float:
    """What a counter may miss that adds up the readings of a part-time sensor; a bound as of 95 %.

    Whether a card's counter does is not published, so cards whose sensor sees all the time are excepted
    and no others. Between two readings the unseen share of the time may be at either level of a step.
    """
    sensor = sensor or _UNKNOWN_SENSOR
    if not sensor.part_time:
        return 0.0
    sampled_j = integration_uncertainty_j(trace.time_s, trace.power_w, start_s=start_s, end_s=end_s)
    spacing_s = (trace.time_s[-1] - trace.time_s[0]) / max(1, len(trace.time_s) - 1) if trace.time_s else 0.0
    # The sensor may sample more often than it is polled: n times as many errors, each an n-th.
    shorter = min(1.0, sensor.update_s / spacing_s) if spacing_s > 0 else 1.0
    return (sampled_j or 0.0) * sensor.unseen_share * math.sqrt(shorter)


def _against_witness(
    uuid: str,
    counter: CounterEnergy,
    integral_j: float | None,
    integral_bound_j: float | None,
    stuck: str | None,
) -> list[MeasurementWarning]:
    """What sampled power says of the counter's figure; ``stuck`` is why its readings are not believed."""
    if integral_j is None:
        why = (
            f"the power of {uuid} was not read often enough" if stuck is None else f"of {uuid} {stuck}; nothing is left"
        )
        return [
            MeasurementWarning(
                "energy_witness_unavailable",
                f"{why} to check its energy counter",
                "look after the driver",
                uuid,
            )
        ]
    apart_j = abs(counter.energy_j - integral_j)
    explained_j = max(counter.energy_j * DISAGREEMENT_PCT / 100, counter.uncertainty_j + (integral_bound_j or 0.0))
    if apart_j <= explained_j:
        return []
    return [
        MeasurementWarning(
            "counter_disagreement",
            f"the energy counter of {uuid} says {counter.energy_j:.6g} J, its power integrates to "
            f"{integral_j:.6g} J ({apart_j / counter.energy_j:.1%} apart)",
            "one of the two sensors is wrong or sees only part of the time: measure for longer, and "
            "compare with a meter before citing",
            uuid,
        )
    ]


def _may_be_stuck(uuid: str, trace: PowerTrace, start_s: float, end_s: float) -> list[MeasurementWarning]:
    """Whether power with nothing beside it is always the same, which no real sensor shows for long."""
    constant_w = trace.constant_w(start_s - NEAR_S, end_s + NEAR_S)
    if constant_w is None:
        return []
    return [
        MeasurementWarning(
            "power_may_be_stuck",
            f"every power reading of {uuid} is {constant_w:g} W, and no energy counter stands beside them",
            "see whether its power changes with the load, and compare with a meter before citing",
            uuid,
        )
    ]


def _as_far_as_the_witness(
    sensor: PowerSensor | None, counter: CounterEnergy, integral_j: float | None, integral_bound_j: float | None
) -> CounterEnergy:
    """The figure with a bound that reaches to what a sensor saw that sees all of the time."""
    if sensor is None or sensor.part_time or integral_j is None or integral_bound_j is None:
        return counter
    least_j = abs(counter.energy_j - integral_j) - integral_bound_j
    return replace(counter, uncertainty_j=max(counter.uncertainty_j, least_j))


def _why_none(record: GpuRecord, trace: PowerTrace, start_s: float, end_s: float, refusal: str | None) -> str:
    n_read = len(trace.seen(start_s, end_s))
    counter = "it has no energy counter" if refusal is None else f"its energy counter is not used: {refusal}"
    stuck = trace.stood_still(start_s, end_s)
    if stuck is not None:
        return f"of {record.uuid} {stuck}; and {counter}; look after the driver"
    n_absurd = trace.n_absurd(start_s, end_s)
    absurd = f", {n_absurd} absurd ones left out" if n_absurd else ""
    return (
        f"the power of {record.uuid} was not read often enough over the {end_s - start_s:.3g} s of the window "
        f"({n_read} readings{absurd}), and {counter}; measure for longer, or look after the driver"
    )
