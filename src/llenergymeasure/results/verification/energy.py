"""Joules of each device from its readings, and the rows of the result held against them."""

from collections.abc import Mapping, Sequence

import numpy as np

from llenergymeasure.results.verification.bundle import Bundle
from llenergymeasure.results.verification.counter import RefusedError, counter_joules
from llenergymeasure.results.verification.findings import DamageError, Report, shown
from llenergymeasure.results.verification.power import (
    Derived,
    average_joules,
    power_joules,
    trapezoid_j,
    unseen_j,
)
from llenergymeasure.results.verification.raw_results import check_trace_copies
from llenergymeasure.results.verification.readings import DeviceReadings, Series, device_readings, read_windows
from llenergymeasure.results.verification.requests import named
from llenergymeasure.results.verification.tables import TRACE, Row, Table

# Of a bound that rests on how well ticks were timed, so far from what is derived it may be.
_BOUND_WITHIN = 3.0
# What follows from readings by the same formula.
_CLOSE = 1e-6
_ROUNDING_J = 1e-6
# One sensor after the other looks at the clock where a window begins and ends.
_SAME_WINDOW_S = 0.002
# Reads are kept in joules, and were counted in microjoules.
_SUM = 1e-9
_RESOLUTION_W = 0.001
# Where RAPL's limit is not known, a bound may hold more.
_NO_LIMIT_W = 2000.0


def verify_readings(bundle: Bundle, report: Report) -> None:
    """The rows of devices against what their readings come to."""
    rows: Sequence[Row] = bundle.result["energy_devices"]
    readings: list[DeviceReadings] = []
    if bundle.result.get("trace") is None:
        if any(raw["energy"] is not None and raw["energy"]["trace"] for raw in bundle.raws):
            report.damaged("trace.parquet", "the raw results have readings, and the result has no table of them")
    else:
        with report.part("trace.parquet"):
            table = Table(bundle, named(bundle, "trace", "trace.parquet"), TRACE)
            windows = read_windows(table)
            check_trace_copies(bundle, table, windows, report)
            readings = device_readings(table, windows)
    for number, row in enumerate(rows):
        with report.part(f"energy_devices[{number}]"):
            _verify_row(f"energy_devices[{number}]", row, readings, report)


def _verify_row(name: str, row: Row, readings: Sequence[DeviceReadings], report: Report) -> None:
    of_device = [r for r in readings if r.device == row["device"]]
    sensor = row.get("sensor")
    own = [r for r in of_device if r.sensor == sensor and _is_of(r, row)]
    if row["energy_j"] is None:
        report.unverifiable(f"{name}.energy_j", "there is no figure; measurement_warnings are to say why")
        return
    if row["source"] == "modelled":
        report.unverifiable(f"{name}.energy_j", "a model gave it, and there are no readings behind it")
        return
    if not own:
        beside = [r for r in of_device if _is_gpu(r)]
        if sensor == "zeus" and beside:
            _verify_plain_difference(name, row, beside[0], report)
            return
        if of_device and any(r.sensor == sensor for r in of_device):
            report.add("differs", f"{name}.duration_sec", f"no readings are of a window of {row['duration_sec']} s")
            return
        report.unverifiable(
            f"{name}.energy_j", f"no readings of sensor {shown(sensor)} are kept for {shown(row['device'])}"
        )
        return
    one = own[0]
    if _is_gpu(one):
        _verify_gpu(name, row, one, report)
    elif len(one.counter):
        _verify_rising_counter(name, row, one, report)
    else:
        _verify_meter(name, row, one, report)


def _is_gpu(readings: DeviceReadings) -> bool:
    return "power_lag_s" in readings.facts


def _is_of(readings: DeviceReadings, row: Row) -> bool:
    """Whether readings are of the window that a row says it is of."""
    said: float = row["duration_sec"]
    return abs(said - readings.seconds) <= _SAME_WINDOW_S


def _verify_plain_difference(name: str, row: Row, readings: DeviceReadings, report: Report) -> None:
    """A counter read once at either end: as far off as its own row says, by what the ticks of the same card come to."""
    counter = _counter_or_none(readings)
    if counter is None and row["headline"] is False:
        why = "it is of a counter that is not to be believed, and no part of the total"
        report.unverifiable(f"{name}.energy_j", why)
        return
    derived = counter or power_joules(readings)
    if derived is None:
        report.unverifiable(f"{name}.energy_j", "the readings beside it give no figure")
        return
    report.check(f"{name}.energy_j", row["energy_j"], derived.energy_j, off=row["uncertainty_j"] or derived.bound_j)


def _counter_or_none(readings: DeviceReadings) -> Derived | None:
    try:
        return counter_joules(readings)[0]
    except RefusedError:
        return None


def _verify_gpu(name: str, row: Row, readings: DeviceReadings, report: Report) -> None:
    power, average = power_joules(readings), average_joules(readings)
    parts = row["uncertainty_parts_j"]
    if row["source"] == "counter":
        try:
            counter, tick_s = counter_joules(readings)
        except RefusedError as error:
            report.add(
                "differs", f"{name}.source", f"the counter made the figure, and it is not to be believed: {error}"
            )
            return
        open_j = row["uncertainty_j"] if counter.sharp else max(row["uncertainty_j"], counter.bound_j)
        report.check(f"{name}.energy_j", row["energy_j"], counter.energy_j, off=open_j)
        if counter.sharp:
            report.check(f"{name}.update_period_s", row["update_period_s"], tick_s, rel=0.05, off=_SAME_WINDOW_S)
        _verify_witness(name, row, _joules(power or average), report)
        _verify_counter_parts(name, parts, counter, power, readings, report, tick_s)
        return
    derived = average if set(parts) == {"averaging"} else power
    if derived is None:
        report.add("differs", f"{name}.energy_j", f"the file says {row['energy_j']}, and the readings give none")
        return
    if derived is average and not readings.facts.get("average_is_proven"):
        report.add("differs", f"{name}.source", "the card's own average made the figure, and nothing was found of it")
    report.check(f"{name}.energy_j", row["energy_j"], derived.energy_j, rel=_CLOSE)
    for part in sorted({*parts, *derived.parts_j}):
        said, found = parts.get(part), derived.parts_j.get(part)
        report.check(f"{name}.uncertainty_parts_j.{part}", said, found, rel=_CLOSE, off=_ROUNDING_J)
    if row["witness_j"] is not None:
        _verify_other_reading(name, row, readings, power, report)


def _verify_witness(name: str, row: Row, derived: float | None, report: Report) -> None:
    """A second reading; the measurement may have had a reason not to believe what was read."""
    if row["witness_j"] is None and derived is not None:
        report.unverifiable(f"{name}.witness_j", f"none is told, and what was read comes to {derived:.6g} J")
        return
    report.check(f"{name}.witness_j", row["witness_j"], derived, rel=_CLOSE)


def _verify_other_reading(name: str, row: Row, readings: DeviceReadings, power: Derived | None, report: Report) -> None:
    """What stands beside the card's own average: its counter, else its power."""
    counter = _counter_or_none(readings) if readings.facts.get("counter_covers_power", 1.0) else None
    beside = counter or power
    off = 0.0 if counter is None else _BOUND_WITHIN * counter.bound_j
    report.check(f"{name}.witness_j", row["witness_j"], _joules(beside), rel=_CLOSE, off=off)


def _joules(derived: Derived | None) -> float | None:
    return None if derived is None else derived.energy_j


def _verify_counter_parts(
    name: str, parts: Mapping[str, float], counter: Derived, power: Derived | None, readings: DeviceReadings,
    report: Report, tick_s: float,
) -> None:  # fmt: skip
    edges_j, derived_j = parts["edges"], counter.parts_j["edges"]
    # What leaves more open than a whole tick was not timed, whatever was read near it.
    is_timed = counter.sharp and derived_j <= counter.energy_j / readings.seconds * tick_s
    if is_timed:
        least_j, most_j = derived_j / _BOUND_WITHIN, derived_j * _BOUND_WITHIN + counter.ticks_j
        holds = least_j <= edges_j <= most_j
        should = f"edges and ticks leave {derived_j:.4g} J open: it should be from {least_j:.4g} to {most_j:.4g} J"
        report.check_that(f"{name}.uncertainty_parts_j.edges", edges_j, holds, should)
    else:
        report.unverifiable(f"{name}.uncertainty_parts_j.edges", "the ticks at an edge of the window were not timed")
    sees_all = power is not None and "unseen" not in power.parts_j
    window_s, update_s = readings.fact("counter_window_s"), readings.fact("counter_update_s")
    expected = None
    if window_s < update_s and not sees_all:
        believed = readings.believed_power
        span_s = (readings.start_s, readings.end_s)
        expected = unseen_j(believed.time_s, believed.value, span_s, window_s, update_s)
    said = parts.get("unseen")
    report.check(f"{name}.uncertainty_parts_j.unseen", said, expected, rel=_CLOSE, off=_ROUNDING_J)
    if power is None:
        return
    # By as much as the power is further from it than either bound.
    apart_j = abs(power.energy_j - counter.energy_j)
    said, is_weak = parts.get("witness", 0.0), _is_read_too_seldom(readings)
    needed_j = 0.0 if is_weak or apart_j <= power.bound_j else max(0.0, apart_j - edges_j - (expected or 0.0))
    slack_j = edges_j + derived_j
    # The card's own average may ask for more.
    average = average_joules(readings)
    most_j = needed_j if average is None else max(needed_j, abs(average.energy_j - counter.energy_j) + average.bound_j)
    holds = needed_j - slack_j <= said <= most_j + slack_j
    report.check_that(f"{name}.uncertainty_parts_j.witness", said, holds, f"a second reading is {apart_j:.4g} J away")
    strange = set(parts) - {"edges", "unseen", "witness"}
    if strange:
        raise DamageError(f"uncertainty_parts_j has {sorted(strange)[0]}, which no counter has")


def _is_read_too_seldom(readings: DeviceReadings) -> bool:
    return readings.fact("power_polled_s") > readings.fact("power_update_s") * (1 + 1e-6)


def _verify_rising_counter(name: str, row: Row, readings: DeviceReadings, report: Report) -> None:
    """A counter that is new every millisecond and goes round: what it rose by from the start to the last read."""
    reads = readings.counter.known
    before = np.flatnonzero(reads.ended_s <= readings.start_s)
    if not before.size or reads.ended_s[-1] < readings.end_s - 0.1:
        raise DamageError("its counter was not read at both ends of the window")
    energy_j = _risen_j(reads, int(before[-1]), readings.facts)
    if energy_j is None:
        raise DamageError("its counter went back, or rose by more than can be")
    report.check(f"{name}.energy_j", row["energy_j"], energy_j, rel=_SUM)
    # Two reads may each be a refresh old, at mean power.
    span_s = float(reads.ended_s[-1] - reads.began_s[before[-1]])
    least_j = 2 * readings.fact("counter_update_s") * energy_j / span_s
    said = row["uncertainty_j"]
    holds = said is not None and said >= least_j * (1 - _CLOSE)
    if readings.facts.get("ceiling_w", _NO_LIMIT_W) < _NO_LIMIT_W:
        holds = holds and said <= least_j * (1 + _CLOSE)
    report.check_that(f"{name}.uncertainty_j", said, holds, f"two refreshes of the counter are {least_j:.6g} J")


def _risen_j(reads: Series, first: int, facts: Mapping[str, float]) -> float | None:
    """What a counter rose by; a read that cannot be is passed over, and None where the last one cannot be."""
    round_j, ceiling_w = facts.get("range_j"), facts.get("ceiling_w", _NO_LIMIT_W)
    risen_j, believed, is_last_believed = 0.0, first, True
    for i in range(first + 1, reads.value.size):
        rise_j = float(reads.value[i] - reads.value[believed])
        if rise_j < 0 and round_j is not None:
            rise_j += round_j
        seconds = float(reads.ended_s[i] - reads.began_s[believed]) + 2 * facts.get("counter_update_s", 0.0)
        is_last_believed = 0 <= rise_j <= ceiling_w * seconds
        if is_last_believed:
            risen_j, believed = risen_j + rise_j, i
    return risen_j if is_last_believed else None


def _verify_meter(name: str, row: Row, readings: DeviceReadings, report: Report) -> None:
    """A meter that is read once in each of its averages; readings are stamped with their middles."""
    known = readings.power.known
    spacing_s = max(readings.fact("power_polled_s"), float(np.median(np.diff(readings.power.time_s))))
    energy_j = trapezoid_j(known.time_s, known.value, readings.start_s, readings.end_s, spacing_s)
    report.check(f"{name}.energy_j", row["energy_j"], energy_j, rel=_CLOSE)
    least_j, most_j = _RESOLUTION_W * readings.seconds, 2 * float(known.value.max()) * readings.seconds
    said = row["uncertainty_j"]
    holds = said is not None and least_j <= said <= most_j
    report.check_that(f"{name}.uncertainty_j", said, holds, f"it should lie between {least_j:.4g} and {most_j:.4g} J")
