"""Joules of GPUs over a window, from what was recorded of them.

The energy counter goes first; sampled power is its witness, and takes its place where it is refused.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from llenergymeasure.core.gpu.average import averaged_power_energy
from llenergymeasure.core.gpu.counter import (
    ABOVE_LIMIT,
    NEAR_S,
    CounterRead,
    CounterRefusedError,
    PowerSeen,
    counter_energy,
)
from llenergymeasure.core.gpu.integral import PowerEnergy, PowerReading, power_energy, unseen_j
from llenergymeasure.core.gpu.power_sensor import (
    REFRESH_S,
    SWING_PER_MEAN_PCT,
    PowerSensor,
    found_sensor,
    sensor_of_the_counter,
)
from llenergymeasure.core.gpu.trace import PowerTrace, about_a_stuck_sensor, about_absurd_power, power_trace
from llenergymeasure.domain.energy.calibration import Calibration, ReadingProperties
from llenergymeasure.domain.metrics import UNSEEN, DeviceEnergy, EnergyScope
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning

# Counter and integral this far apart do not describe the same window.
DISAGREEMENT_PCT = 5.0
# The worst of those that were measured (Yang et al., arXiv 2312.02741): A100 and H100.
_UNKNOWN_SENSOR = PowerSensor(REFRESH_S, 0.025)
# Where no limit can be read: more than any module so far may draw.
_NO_CARD_DRAWS_W = 5000.0
# Of a load that idles half of the time: how far its power at any moment is from its mean. So far, and no further, may a
# reading be off that was taken too seldom.
_OFF_THE_MEAN = SWING_PER_MEAN_PCT / 200


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card's readings are: the fields they come from, how old power may be, the limit, the sensor behind it.

    ``power_averaged_s`` is over how long a reading of power is a mean where it is one of longer than the sensor's
    own. It, ``power_limit_w`` and ``sensor`` are None where they are not known. ``driver`` is the name of what was
    asked, ``scope`` what power covers, ``counter_scope`` what the counter covers. ``average_sensor`` is what the card's
    own average is, and ``calibration`` what was found of the card itself, which goes before what was published.
    """

    power_field: str
    power_lag_s: float
    power_averaged_s: float | None = None
    power_limit_w: float | None = None
    sensor: PowerSensor | None = None
    driver: str | None = None
    scope: EnergyScope = "gpu"
    counter_scope: EnergyScope = "gpu"
    counter_field: str = "energy counter"
    average_field: str = "average power"
    average_sensor: PowerSensor | None = None
    calibration: Calibration | None = None

    @property
    def counter_is_of_something_else(self) -> bool:
        """Whether the counter covers something else than power does: the one says nothing of the other."""
        return self.counter_scope != self.scope

    @property
    def counter_sensor(self) -> PowerSensor:
        """What the counter adds up, or the worst that is known."""
        return sensor_of_the_counter(self.calibration, self.sensor) or _UNKNOWN_SENSOR

    @property
    def found_average(self) -> ReadingProperties | None:
        """What the card's own average was found to be; None where nobody has looked."""
        return None if self.calibration is None else self.calibration.average

    @property
    def reads_of_the_end_s(self) -> float:
        """How long after a window readings are still of it."""
        late_s = 0.0 if self.found_average is None else self.found_average.lag_s + self.found_average.update_s
        return max(self.reading(0.0).oldest_s, late_s)

    def reading(self, polled_s: float) -> PowerReading:
        """What a reading of power is that is taken every ``polled_s``."""
        found = None if self.calibration is None else self.calibration.power
        if found is not None:
            return PowerReading.of(found_sensor(found), polled_s, found.lag_s)
        if self.power_averaged_s is not None:
            return PowerReading.of(PowerSensor(REFRESH_S, self.power_averaged_s), polled_s)
        if self.sensor is not None and self.power_lag_s <= REFRESH_S:
            return PowerReading.of(self.sensor, polled_s)
        return PowerReading.unknown(self.sensor or _UNKNOWN_SENSOR, self.power_lag_s, polled_s)


@dataclass(frozen=True, kw_only=True)
class GpuRecord:
    """One GPU as recorded around a window, sampled every ``interval_s``."""

    uuid: str
    card: CardFacts
    samples: Sequence[PowerThermalSample]
    counter_reads: Sequence[CounterRead]
    interval_s: float

    @property
    def reading(self) -> PowerReading:
        """What a reading of its power is."""
        return self.card.reading(self.interval_s)

    @property
    def average_sensor(self) -> PowerSensor | None:
        """What the card's own average is, as it was found, else as was published."""
        found = self.card.found_average
        return self.card.average_sensor if found is None else found_sensor(found)

    @property
    def power_period_s(self) -> float:
        """How often power can be new: as often as it is sampled, but not more often than the card refreshes it."""
        return self.reading.as_polled.update_s

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
        """How long power may swing without any sample showing it: what a reading averages, or what none looks at."""
        reading = self.reading
        return max(reading.averaged_s, reading.sensor.update_s)


@dataclass(frozen=True, kw_only=True)
class GpuEnergy:
    """Energy of one GPU; ``problem`` says why there is none, ``warnings`` what is to be known of the figures.

    ``counter_refused`` says that it has a counter which is not to be believed, ``counter_scope`` what that covers,
    where it is not what the row is of.
    """

    row: DeviceEnergy
    warnings: tuple[MeasurementWarning, ...] = ()
    problem: str | None = None
    counter_refused: bool = False
    counter_scope: EnergyScope | None = None


def _time(reading: tuple[float, float]) -> float:
    return reading[0]


def gpu_energy(record: GpuRecord, start_s: float, end_s: float) -> GpuEnergy:
    """Energy of one GPU between two moments of the clock that stamped the record.

    The counter's figure goes first. One that failed, went back, jumped or stood still is replaced by the
    integral of sampled power, and the warnings say so. What neither can tell is None.
    """
    limit_w = record.power_limit_w(start_s, end_s) or _NO_CARD_DRAWS_W
    trace = power_trace(record.samples, limit_w * ABOVE_LIMIT, record.power_period_s)
    integral = power_energy(trace, record.reading, start_s, end_s)
    averaged = _averaged(record, start_s, end_s)
    witnesses = [reading for reading in (integral, averaged) if reading is not None]
    counter, refusal = _counter(record, start_s, end_s, trace, limit_w)
    warnings = about_absurd_power(record.uuid, trace.n_absurd(start_s - NEAR_S, end_s + NEAR_S))
    if counter is not None:
        told = _by_counter(record, counter, witnesses, warnings, trace.stood_still(start_s, end_s))
        if averaged is not None and _is_better_founded(averaged, told.row):
            row = replace(_integrated_row(record, averaged), witness_j=counter.energy_j)
            # That the counter is elsewhere is why it is not the figure.
            return replace(told, row=row, warnings=tuple(w for w in told.warnings if w.flag != "counter_disagreement"))
        return told
    of_something_else = record.card.counter_scope if record.card.counter_is_of_something_else else None
    without = GpuEnergy(
        row=_integrated_row(record, None), counter_refused=refusal is not None, counter_scope=of_something_else
    )
    if integral is None:
        problem = _why_none(record, trace, start_s, end_s, refusal)
        return replace(without, warnings=tuple(warnings), problem=problem)
    warnings += about_a_stuck_sensor(record.uuid, trace.constant_w(start_s - NEAR_S, end_s + NEAR_S))
    if refusal is not None:
        warnings.append(
            MeasurementWarning(
                "energy_counter_refused",
                f"the energy counter of {record.uuid} is not used: {refusal}; joules are the integral of sampled power",
                "look after the driver" if of_something_else is None else "compare with a meter before citing",
                record.uuid,
            )
        )
    row = _integrated_row(record, integral)
    if averaged is not None and _is_better_founded(averaged, row):
        row = replace(_integrated_row(record, averaged), witness_j=integral.energy_j)
    return replace(without, row=row, warnings=tuple(warnings))


def _averaged(record: GpuRecord, start_s: float, end_s: float) -> PowerEnergy | None:
    """What the card's own average says, where it is known how long that is; proven where this card has shown it."""
    found, sensor = record.card.found_average, record.average_sensor
    # One that is no longer than a reading of power sees no more than that.
    if sensor is None or sensor.part_time or sensor.window_s <= record.reading.averaged_s:
        return None
    lag_s = 0.0 if found is None else found.lag_s
    energy = averaged_power_energy(record.samples, sensor, lag_s, (start_s, end_s))
    return None if energy is None else replace(energy, proven=found is not None)


def _is_better_founded(averaged: PowerEnergy, row: DeviceEnergy) -> bool:
    """Whether the card's own average, which leaves out no time, makes the figure in place of what leaves out some.

    It does where its bound is narrower, and where the other is further from it than that bound: looks that are in step
    with the load are all alike, and leave a bound that knows nothing of it.
    """
    if not averaged.proven or UNSEEN not in (row.uncertainty_parts_j or {}) or row.energy_j is None:
        return False
    is_narrower = averaged.bound_j < (row.uncertainty_j or 0.0)
    return is_narrower or abs(averaged.energy_j - row.energy_j) > averaged.bound_j


def _by_counter(
    record: GpuRecord,
    counter: "_Counted",
    witnesses: Sequence[PowerEnergy],
    warnings: Sequence[MeasurementWarning],
    stuck: str | None,
) -> GpuEnergy:
    """The counter's figure beside those of [n] readings of power of the same card, the first of which is shown.

    ``stuck`` is why readings of power are not believed that stood still.
    """
    parts_j = dict(counter.parts_j)
    # A witness that sees all of the time has seen what the counter may have missed.
    if any(UNSEEN not in witness.parts_j for witness in witnesses if not witness.is_average):
        parts_j.pop(UNSEEN, None)
    counter = replace(counter, parts_j=parts_j)
    apart_j = _as_far_as_the_witnesses(counter, witnesses)
    if apart_j > 0:
        parts_j = {**parts_j, "witness": apart_j}
    row = DeviceEnergy(
        device=record.uuid,
        kind="gpu",
        energy_j=counter.energy_j,
        source="counter",
        uncertainty_j=sum(parts_j.values()),
        uncertainty_parts_j=parts_j,
        update_period_s=counter.tick_s,
        field=record.card.counter_field,
        witness_j=witnesses[0].energy_j if witnesses else None,
        sensor=record.card.driver,
        scope=record.card.scope,
    )
    return GpuEnergy(row=row, warnings=(*warnings, *_against_witnesses(record.uuid, counter, witnesses, stuck)))


def _integrated_row(record: GpuRecord, integral: PowerEnergy | None) -> DeviceEnergy:
    is_average = integral is not None and integral.is_average
    average = record.average_sensor if is_average else None
    return DeviceEnergy(
        device=record.uuid,
        kind="gpu",
        energy_j=None if integral is None else integral.energy_j,
        source="integrated",
        uncertainty_j=None if integral is None else integral.bound_j,
        uncertainty_parts_j=None if integral is None else dict(integral.parts_j),
        update_period_s=record.power_period_s if average is None else average.update_s,
        field=record.card.average_field if is_average else record.card.power_field,
        sensor=record.card.driver,
        scope=record.card.scope,
    )


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """Joules by the counter, the parts of their bound, which add up, and its tick."""

    energy_j: float
    parts_j: Mapping[str, float]
    tick_s: float

    @property
    def bound_j(self) -> float:
        return sum(self.parts_j.values())


def _counter(
    record: GpuRecord, start_s: float, end_s: float, trace: PowerTrace, limit_w: float
) -> tuple["_Counted | None", str | None]:
    """The counter's figure, or why it is refused; neither where the card has no counter."""
    reads = record.counter_reads
    if all(read.energy_j is None for read in reads):
        return None, None
    if record.card.counter_is_of_something_else:
        # Nothing is left to check it by, and its figure is not of what the others are of.
        return None, f"it covers the {record.card.counter_scope}, and what is read of power the {record.card.scope}"
    # What was read long before or after may have been another window's trouble.
    near = [r for r in reads if start_s - NEAR_S <= r.before_s and r.after_s <= end_s + NEAR_S]
    seen = trace.seen(start_s - NEAR_S, end_s + NEAR_S)
    power = PowerSeen(
        time_s=[t for t, _ in seen],
        power_w=[p for _, p in seen],
        limit_w=limit_w,
        unseen_s=record.unseen_s,
        unseen_share=record.reading.sensor.unseen_share,
    )
    try:
        found = counter_energy(near, start_s, end_s, power)
    except CounterRefusedError as error:
        return None, str(error)
    if found.energy_j <= 0:
        return None, "it did not move"
    sensor = record.card.counter_sensor
    parts_j = {"edges": found.uncertainty_j}
    # Whether a counter adds up the readings of a part-time sensor is not published: it is taken to.
    if sensor.part_time:
        parts_j[UNSEEN] = unseen_j(trace, sensor, start_s, end_s)
    return _Counted(energy_j=found.energy_j, parts_j=parts_j, tick_s=found.tick_s), None


def _against_witnesses(
    uuid: str, counter: _Counted, witnesses: Sequence[PowerEnergy], stuck: str | None
) -> list[MeasurementWarning]:
    """What sampled power says of the counter's figure; ``stuck`` is why its readings are not believed."""
    if not witnesses:
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
    return [said for witness in witnesses if (said := _against_witness(uuid, counter, witness)) is not None]


def _against_witness(uuid: str, counter: _Counted, witness: PowerEnergy) -> MeasurementWarning | None:
    apart_j = abs(counter.energy_j - witness.energy_j)
    explained_j = max(counter.energy_j * DISAGREEMENT_PCT / 100, counter.bound_j + witness.bound_j)
    if apart_j <= explained_j:
        return None
    what = "its own average" if witness.is_average else "its power"
    seen = f"the energy counter of {uuid} says {counter.energy_j:.6g} J, {what} comes to {witness.energy_j:.6g}"
    apart = f"J ({apart_j / counter.energy_j:.1%} apart)"
    if witness.weak and apart_j <= explained_j + _OFF_THE_MEAN * max(counter.energy_j, witness.energy_j):
        return MeasurementWarning(
            "energy_witness_unavailable",
            f"{seen} {apart}, read too seldom to check it",
            "sample more often: energy.sample_interval_ms",
            uuid,
        )
    return MeasurementWarning(
        "counter_disagreement",
        f"{seen} {apart}",
        "one of the two sensors is wrong or sees only part of the time: measure for longer, and "
        "compare with a meter before citing",
        uuid,
    )


def _as_far_as_the_witnesses(counter: _Counted, witnesses: Sequence[PowerEnergy]) -> float:
    """By how much the counter's bound grows to reach what a witness saw, where that is further than its own bound.

    To the far end of the card's own average, for that leaves out none of the time. One that was read too seldom tells
    nothing of the kind.
    """
    apart_j = [
        apart + (witness.bound_j if witness.is_average else 0.0)
        for witness in witnesses
        if not witness.weak and (apart := abs(counter.energy_j - witness.energy_j)) > witness.bound_j
    ]
    return max(0.0, max(apart_j, default=0.0) - counter.bound_j)


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
