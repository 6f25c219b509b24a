"""Joules of parts of a window and of classes of requests, from readings and rows, by code of its own."""

import math
import statistics
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from llenergymeasure.results.verification.bundle import Bundle
from llenergymeasure.results.verification.devices import counted
from llenergymeasure.results.verification.findings import Report
from llenergymeasure.results.verification.power import trapezoid_j
from llenergymeasure.results.verification.readings import DeviceReadings, Numbers, Series, device_readings, read_windows
from llenergymeasure.results.verification.requests import named
from llenergymeasure.results.verification.tables import TRACE, Row, Table

_READINGS_OF_A_PART, _PARTS, _FREEDOM = 10, 3, 3
_REACH, _TOGETHER, _CLOSE = 0.01, 0.9999, 1e-6
_SUCCEEDED = ("stop", "length")

# Joules between two moments.
_Joules = Callable[[float, float], float | None]


class _Window(Protocol):
    """What is asked of the rows here."""

    rows: Sequence[Row]
    answers: Any
    start_s: float

    def tokens(self, rows: Sequence[Row], from_s: float, to_s: float) -> int: ...


def verify_parts(bundle: Bundle, window: _Window, record: Row, said: Row, report: Report) -> None:
    """Parts of the window, how much they vary, and what a request of a class takes."""
    raw = bundle.raws[0]
    first_s = min(other["window_start_s"] for other in bundle.raws)
    edges = record["sub_windows_s"]
    courses = _courses(bundle, min((b - a for a, b in pairwise(edges)), default=0.0))
    rows = said["sub_windows"]
    report.check("load.sub_windows", len(rows), max(len(edges) - 1, 0))
    parts = []
    for number, ((from_s, to_s), row) in enumerate(zip(pairwise(edges), rows, strict=False)):
        joules = [course(from_s, to_s) for course in courses] or [None]
        energy = None if None in joules else float(sum(j for j in joules if j is not None))
        n_tokens = window.tokens(window.rows, from_s - first_s, to_s - first_s)
        derived = {
            "start_s": from_s - raw["window_start_s"],
            "end_s": to_s - raw["window_start_s"],
            "part_energy_j": energy,
            "output_tokens": n_tokens,
            "energy_per_output_token_j": energy / n_tokens if energy is not None and n_tokens else None,
        }
        for name, value in derived.items():
            report.check(f"load.sub_windows[{number}].{name}", row[name], value, rel=_CLOSE, off=1e-9)
        parts.append(derived)
    each = [part["energy_per_output_token_j"] for part in parts]
    cv = None
    if len(each) >= _PARTS and None not in each and any(each):
        cv = statistics.stdev(each) / statistics.fmean(each)
    report.check("load.token_energy_cv", said["token_energy_cv"], cv, rel=1e-4, off=_CLOSE)
    report.check_that("load.why_no_cv", said["why_no_cv"], (cv is None) == (said["why_no_cv"] is not None), "a reason")
    _check_classes(bundle, window, parts, said["request_energy"], report)


def _courses(bundle: Bundle, part_s: float) -> list[_Joules]:
    """The energy of each device that makes the total; of none where one has no readings, or too few in a part."""
    making = counted(bundle.result["energy_devices"])
    if bundle.result.get("trace") is None or any(row["source"] == "modelled" for row in making):
        return []
    table = Table(bundle, named(bundle, "trace", "trace.parquet"), TRACE)
    readings = device_readings(table, read_windows(table))
    found = []
    for row in making:
        own = sorted((r for r in readings if r.device == row["device"]), key=lambda r: r.sensor != row["sensor"])
        known = [course for r in own if (course := _course(row, r)) is not None]
        if not known or part_s < _READINGS_OF_A_PART * max(known[0][1], row["update_period_s"] or 0.0):
            return []
        found.append(known[0][0])
    return found


def _course(row: Row, readings: DeviceReadings) -> tuple[_Joules, float] | None:
    """Joules between moments by what a row rests on, and how far readings are apart, or the means of."""
    facts = readings.facts
    if row["energy_j"] is None:
        return None
    if row["source"] == "counter":
        return _ticks(readings.counter.known, facts)
    if set(row["uncertainty_parts_j"] or ()) == {"averaging"}:
        window_s, update_s = facts.get("average_window_s", 0.0), facts.get("average_update_s", 0.0)
        lag_s = facts.get("average_lag_s", 0.0) + (update_s + window_s) / 2
        return _lines(readings.average.time_s, readings.average.known, lag_s, max(window_s, update_s), update_s)
    apart_s = max(facts.get("power_update_s", 0.0), facts.get("power_polled_s", 0.0))
    lag_s = facts.get("power_lag_s", 0.0)
    power = readings.power.known
    power = readings.believed_power if "power_lag_s" in facts else power.where(power.value >= 0)
    return _lines(readings.power.time_s, power, lag_s, max(apart_s, facts.get("power_averaged_s", 0.0)), apart_s)


def _lines(
    read_s: Numbers, known: Series, lag_s: float, resolution_s: float, apart_s: float
) -> tuple[_Joules, float] | None:
    """Straight lines between readings that are moved back by their lag; ``read_s`` is when failed ones were, too."""
    if read_s.size < 2:  # noqa: PLR2004 - a single reading has no line
        return None
    median_s = float(np.median(np.diff(np.unique(read_s))))
    period_s = max(resolution_s, apart_s, lag_s, median_s)
    moments = known.time_s - lag_s
    return lambda from_s, to_s: trapezoid_j(moments, known.value, from_s, to_s, period_s), resolution_s


def _ticks(reads: Series, facts: Any) -> tuple[_Joules, float] | None:
    """Straight lines between the ticks of a counter, each dated between the two reads that saw it."""
    update_s, round_j, ceiling_w = facts.get("counter_update_s", 0.0), facts.get("range_j"), facts.get("ceiling_w")
    moments: list[float] = []
    joules: list[float] = []
    believed, total = 0, 0.0
    for i in range(1, len(reads)):
        rise = float(reads.value[i] - reads.value[believed])
        rise += round_j if rise < 0 and round_j is not None else 0.0
        seconds = float(reads.ended_s[i] - reads.began_s[believed]) + 2 * update_s
        if rise < 0 or (ceiling_w is not None and rise > ceiling_w * seconds):
            continue
        if rise > 0:
            total += rise
            earliest = max(float(reads.began_s[believed]), float(reads.began_s[i]) - update_s)
            moment = (earliest + float(reads.ended_s[i])) / 2
            if moments and moment <= moments[-1]:
                joules[-1] = total
            else:
                moments.append(moment)
                joules.append(total)
        believed = i
    if len(moments) < 2:  # noqa: PLR2004 - a single tick has no line
        return None
    at, risen = np.array(moments), np.array(joules)

    def between(from_s: float, to_s: float) -> float | None:
        reach_s = max(update_s, _REACH * (to_s - from_s))
        if from_s < at[0] - reach_s or to_s > at[-1] + reach_s:
            return None
        return max(0.0, _on_lines(at, risen, to_s) - _on_lines(at, risen, from_s))

    return between, update_s


def _on_lines(at: Numbers, risen: Numbers, moment: float) -> float:
    """Between two ticks, or on the line of the two next to it beyond the first and the last."""
    if moment < at[0]:
        return float(risen[0] + (moment - at[0]) * (risen[1] - risen[0]) / (at[1] - at[0]))
    if moment > at[-1]:
        return float(risen[-1] + (moment - at[-1]) * (risen[-1] - risen[-2]) / (at[-1] - at[-2]))
    return float(np.interp(moment, at, risen))


def _check_classes(bundle: Bundle, window: _Window, parts: Sequence[Row], said: Any, report: Report) -> None:
    """Least squares of two unknowns, by their normal equations written out."""
    served = [row for row in window.rows if row["finish_reason"] in _SUCCEEDED and row["output_tokens"]]
    if not parts or not served or any(part["part_energy_j"] is None for part in parts):
        report.check("load.request_energy", said, None)
        return
    most = float(statistics.median(row["output_tokens"] for row in served))
    report.check("load.request_energy.n_most_tokens_of_short", said["n_most_tokens_of_short"], most)
    report.check("load.request_energy.n_sub_windows", said["n_sub_windows"], len(parts))
    groups = ([r for r in served if r["output_tokens"] <= most], [r for r in served if r["output_tokens"] > most])
    start_s = window.start_s
    edges = [(start_s + part["start_s"], start_s + part["end_s"]) for part in parts]
    short, long = (
        np.array([sum(window.tokens([row], *edge) / row["output_tokens"] for row in group) for edge in edges])
        for group in groups
    )
    idle_w = bundle.result["idle_loaded_power_w"]
    found = _two_unknowns(short, long, parts, idle_w)
    for name, n, row, estimate in zip(("short", "long"), (short, long), said["classes"], found, strict=True):
        where = f"load.request_energy.{name}"
        report.check(f"{where}.name", row["name"], name)
        report.check(f"{where}.n_requests", row["n_requests"], float(n.sum()), rel=_CLOSE)
        report.check(f"{where}.per_request_j", row["per_request_j"], estimate, rel=1e-4, off=1e-6)
        resolved = estimate is not None and estimate["low"] > 0
        report.check(f"{where}.status", row["status"], "resolved" if resolved else "unresolved")
        report.check_that(f"{where}.why_not", row["why_not"], resolved == (row["why_not"] is None), "a reason")


def _two_unknowns(short: Numbers, long: Numbers, parts: Sequence[Row], idle_w: float | None) -> list[Any]:
    """Joules of a short and a long request with intervals; None where nothing parts the two."""
    from scipy.special import stdtrit

    n = len(parts)
    ss, ll, sl = float(short @ short), float(long @ long), float(short @ long)
    if idle_w is None or n < 2 + _FREEDOM or not short.sum() or not long.sum() or sl >= _TOGETHER * math.sqrt(ss * ll):
        return [None, None]
    beyond = np.array([p["part_energy_j"] - idle_w * (p["end_s"] - p["start_s"]) for p in parts])
    sy, ly, whole = float(short @ beyond), float(long @ beyond), ss * ll - sl * sl
    values = ((ll * sy - sl * ly) / whole, (ss * ly - sl * sy) / whole)
    left = beyond - values[0] * short - values[1] * long
    variance = float(left @ left) / (n - 2)
    halves = [float(stdtrit(n - 2, 0.975)) * math.sqrt(variance * own / whole) for own in (ll, ss)]
    return [
        {"value": value, "low": value - half, "high": value + half} for value, half in zip(values, halves, strict=True)
    ]
