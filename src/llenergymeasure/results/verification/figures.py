"""What follows from joules, tokens and time: each figure by its own formula, once more."""

import statistics
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from llenergymeasure.results.verification.bundle import Bundle
from llenergymeasure.results.verification.devices import counted, total
from llenergymeasure.results.verification.findings import DamageError, Report
from llenergymeasure.results.verification.tables import Row

_TERA = 1e12
_ACCURACY_PCT = 5.0
_SAME_WINDOW = 0.01
# The rule of two operations for each weight and token.
_RULE = "2 x active non-embedding parameters x (input + output tokens)"
_ALONE = ("wall", "host", "soc")
_SCOPES = {"gpu": "gpu", "cpu": "package", "dram": "dram", "soc": "soc", "host": "host"}
_SINCE_INTERVAL, _SINCE_WINDOWS = 5, 4
_LEAST_PAIRS, _FEWEST_UPDATES, _OPEN_SHARE = 3, 10, 0.5


def verify_figures(bundle: Bundle, report: Report) -> None:
    """Totals, what is left without idling, rates, FLOPs and phases."""
    with report.part("energy"):
        _check_energy(bundle, report)
    with report.part("idle"):
        _check_idle(bundle, report)
    with report.part("rates"):
        _check_rates(bundle, report)
    with report.part("flops_result"):
        _check_flops(bundle, report)
    with report.part("phases"):
        _check_phases(bundle, report)
    with report.part("warmup_result"):
        _check_warmup(bundle, report)


def _ratio(value: float | None, by: float) -> float | None:
    return None if value is None or not by else value / by


def _check_energy(bundle: Bundle, report: Report) -> None:
    result = bundle.result
    rows: list[Row] = result["energy_devices"]
    making = counted(rows)
    for number, row in enumerate(rows):
        parts = row.get("uncertainty_parts_j")
        if parts is not None:
            report.check(f"energy_devices[{number}].uncertainty_j", row["uncertainty_j"], float(sum(parts.values())))
        if row.get("headline") is not None:
            report.check(f"energy_devices[{number}].headline", row["headline"], row in making)
        for name in ("energy_j", "uncertainty_j", "witness_j"):
            if row.get(name) is not None and row[name] < 0:
                raise DamageError(f"energy_devices[{number}].{name} is less than nothing")
    said = result["total_energy_j"]
    whole = said if not rows else total([row["energy_j"] for row in making])
    if len({row["source"] == "modelled" for row in making}) > 1:
        whole = None
    energies = [summary["energy_j"] for summary in result["process_results"]]
    if None in energies:
        whole = None
    elif not rows and said is not None:
        report.unverifiable("total_energy_j", "the sensor named no devices")
    report.check("total_energy_j", said, whole)
    if len(energies) == 1:
        report.check("process_results[0].energy_j", energies[0], whole)
        said_counted = result["process_results"][0].get("counted_devices")
        if said_counted is not None:
            report.check("process_results[0].counted_devices", said_counted, [row["device"] for row in making])
    bound = None if said is None else total([row["uncertainty_j"] for row in making])
    if not rows:
        bound = result["energy_uncertainty_j"]
    report.check("energy_uncertainty_j", result["energy_uncertainty_j"], bound)
    on_board = bool(making) and all(row["kind"] == "gpu" and row["source"] != "modelled" for row in making)
    accuracy = _ACCURACY_PCT if on_board and said is not None else None
    report.check("sensor_accuracy_pct", result["sensor_accuracy_pct"], accuracy)
    if bundle.revision >= _SINCE_INTERVAL:
        _check_interval(result, making, bound, report)
        _check_host(result, rows, making, report)


def _check_interval(result: Row, making: Sequence[Row], bound: float | None, report: Report) -> None:
    said_j, whole = result["energy_interval_j"], result["total_energy_j"]
    if whole is None or bound is None or any(row["source"] == "modelled" for row in making):
        report.check("energy_interval_j", said_j, None)
        report.check("energy_interval_parts_j", result["energy_interval_parts_j"], None)
        return
    parts: dict[str, float] = {}
    for row in making:
        for name, part in (row["uncertainty_parts_j"] or {"stated": row["uncertainty_j"]}).items():
            parts[name] = parts.get(name, 0.0) + part
    if not making:
        parts = {"stated": bound}
    half = bound
    if result["energy_aliasing_pct"] is not None:
        parts["aliasing"] = whole * result["energy_aliasing_pct"] / 100
        half += parts["aliasing"]
    report.check("energy_interval_parts_j", result["energy_interval_parts_j"], parts)
    report.check("energy_interval_j", said_j, [max(0.0, whole - half), whole + half])


def _scope(row: Row) -> str:
    scope: str = row.get("scope") or _SCOPES[row["kind"]]
    return scope


def _check_host(result: Row, rows: Sequence[Row], making: Sequence[Row], report: Report) -> None:
    parts = _parts_of_the_host(rows, making)
    seconds = result["duration_sec"]
    known = bool(parts) and all(
        row["source"] != "modelled"
        and row["energy_j"] is not None
        and row["duration_sec"] is not None
        and abs(row["duration_sec"] - seconds) <= _SAME_WINDOW * seconds
        for row in parts
    )
    report.check("energy_host_j", result["energy_host_j"], total([r["energy_j"] for r in parts]) if known else None)
    bound = total([row["uncertainty_j"] for row in parts]) if known else None
    report.check("energy_host_uncertainty_j", result["energy_host_uncertainty_j"], bound)


def _parts_of_the_host(rows: Sequence[Row], making: Sequence[Row]) -> list[Row]:
    """Rows that hold nothing in common and make a machine; empty where there is no such set."""
    one_each: dict[tuple[str, str], Row] = {}
    for row in [*making, *(row for row in rows if row not in making)]:
        one_each.setdefault((row["device"], _scope(row)), row)
    by_scope: dict[str, list[Row]] = {}
    for row in one_each.values():
        by_scope.setdefault(_scope(row), []).append(row)
    alone = next((by_scope[scope] for scope in _ALONE if scope in by_scope), None)
    if alone is not None:
        return alone if len(alone) == 1 else []
    modules, gpus = by_scope.get("module", []), by_scope.get("gpu", [])
    if modules and gpus:
        return []
    parts = modules or [row for row in one_each.values() if _scope(row) in ("gpu", "package", "dram")]
    scopes = {_scope(row) for row in parts}
    twice = any(len({r["sensor"] for r in parts if _scope(r) == scope}) > 1 for scope in scopes - {"gpu"})
    return parts if scopes & {"module", "package"} and not twice else []


def _idle(result: Row, power: str, bound: str) -> tuple[float, float, float | None, float | None] | None:
    """Idle watts and their joules over the windows, of each set of devices once, and the bounds of both."""
    longest: dict[frozenset[str], Row] = {}
    for summary in result["process_results"]:
        if summary["energy_window_s"] is None:
            return None
        devices = frozenset(summary["counted_devices"])
        if devices not in longest or summary["energy_window_s"] > longest[devices]["energy_window_s"]:
            longest[devices] = summary
    rows = list(longest.values())
    distinct = len(frozenset[str]().union(*longest))
    watts = total([row[power] for row in rows])
    if watts is None or sum(map(len, longest)) != distinct:
        return None
    joules = float(sum(row[power] * row["energy_window_s"] for row in rows))
    bounds = [row[bound] for row in rows]
    bound_j = None if None in bounds else float(sum(row[bound] * row["energy_window_s"] for row in rows))
    return watts, joules, total(bounds), bound_j


def _check_idle(bundle: Bundle, report: Report) -> None:
    result = bundle.result
    breakdown, whole, bound = result["energy_breakdown"], result["total_energy_j"], result["energy_uncertainty_j"]
    for name, inner in (("energy_adjusted_j", "adjusted_j"), ("baseline_power_w", "baseline_power_w")):
        report.check(name, result[name], None if breakdown is None else breakdown[inner])
    if bundle.revision < _SINCE_WINDOWS:
        report.unverifiable(
            "energy_adjusted_j", "results of this revision do not say how long idling was taken off for"
        )
        return
    if breakdown is not None:
        report.check("energy_breakdown.raw_j", breakdown["raw_j"], whole)
        idle = _idle(result, "baseline_power_w", "baseline_power_uncertainty_w")
        adjusted = None if whole is None or idle is None else whole - idle[1]
        report.check("energy_adjusted_j", result["energy_adjusted_j"], adjusted)
        if whole is not None and idle is not None:
            report.check("baseline_power_w", result["baseline_power_w"], idle[0])
        limit = None if None in (whole, idle) else total([bound, idle and idle[3]])
        report.check("energy_breakdown.adjusted_uncertainty_j", breakdown.get("adjusted_uncertainty_j"), limit)
    idle = _idle(result, "idle_loaded_power_w", "idle_loaded_power_uncertainty_w")
    report.check("idle_loaded_power_w", result["idle_loaded_power_w"], None if idle is None else idle[0])
    net = None if idle is None or whole is None else whole - idle[1]
    report.check("energy_net_of_loaded_idle_j", result["energy_net_of_loaded_idle_j"], net)
    if bundle.revision >= _SINCE_INTERVAL:
        report.check("idle_loaded_power_uncertainty_w", result["idle_loaded_power_uncertainty_w"], idle and idle[2])
        limit = None if idle is None or bound is None or idle[3] is None else bound + idle[3]
        said = result["energy_net_of_loaded_idle_uncertainty_j"]
        report.check("energy_net_of_loaded_idle_uncertainty_j", said, limit)


def _check_rates(bundle: Bundle, report: Report) -> None:
    result, whole = bundle.result, bundle.result["total_energy_j"]
    seconds = result["duration_sec"]
    if not seconds > 0:
        raise DamageError(f"duration_sec is {seconds}")
    n_input, n_output, n_requests = (result[name] for name in ("input_tokens", "output_tokens", "n_requests"))
    derived: Mapping[str, Any] = {
        "total_tokens": n_input + n_output,
        "tokens_per_second": n_output / seconds,
        "total_tokens_per_second": (n_input + n_output) / seconds,
        "requests_per_second": n_requests / seconds,
        "energy_per_output_token_j": _ratio(whole, n_output),
        "avg_energy_per_token_j": _ratio(whole, n_input + n_output),
        "energy_per_request_j": _ratio(whole, n_requests),
        "warmup_excluded_samples": result["warmup_result"]["iterations_completed"],
    }
    for name, value in derived.items():
        report.check(name, result[name], value)
    summaries = result["process_results"]
    tensor = (result["aggregation"] or {}).get("parallelism") == "tensor"
    for name in ("input_tokens", "output_tokens"):
        each = [summary[name] for summary in summaries]
        report.check(f"process_results.{name}", each[0] if tensor else sum(each), result[name])
    if len(summaries) == 1:
        report.check("process_results[0].duration_sec", summaries[0]["duration_sec"], seconds)
        span = datetime.fromisoformat(result["end_time"]) - datetime.fromisoformat(result["start_time"])
        # Times of day are written in microseconds.
        report.check("end_time", span.total_seconds(), seconds, off=2e-6)
    pause, power = result.get("dither_pause_s"), [summary.get("idle_loaded_power_w") for summary in summaries]
    if len(summaries) == 1 and bundle.revision >= _SINCE_INTERVAL:
        idled = None if pause is None or power[0] is None else pause * power[0]
        report.check("dither_energy_j", result["dither_energy_j"], idled)


def _check_flops(bundle: Bundle, report: Report) -> None:
    result, flops = bundle.result, bundle.result["flops_result"]
    whole = result["total_energy_j"]
    if flops is None:
        report.check("joules_per_tflop", result.get("joules_per_tflop"), None)
        report.check("mfu", result.get("mfu"), None)
        return
    n_parameters = flops.get("n_parameters")
    if n_parameters is not None and flops["method"].startswith(_RULE):
        n_tokens = result["input_tokens"] + result["output_tokens"]
        report.check("flops_result.value", flops["value"], 2.0 * n_parameters * n_tokens)
    else:
        report.unverifiable(
            "flops_result.value", f"it was counted by {flops['method']}, not by the rule of two per weight"
        )
    terms = [flops.get("prefill"), flops.get("decode")]
    sums = [None if t is None or t["attention"] is None else t["linear"] + t["attention"] + t["head"] for t in terms]
    done = total(sums)
    report.check(
        "joules_per_tflop",
        result.get("joules_per_tflop"),
        None if whole is None or not done else whole / (done / _TERA),
    )
    if all(term is not None for term in terms):
        _check_terms(terms, report)
    if not done or not result["model"]["devices"]:
        report.check("mfu", result.get("mfu"), None)
    elif result.get("mfu") is not None:
        report.check_that("mfu", result["mfu"], 0 < result["mfu"] < 1, "no card does more than it can")
        report.unverifiable("mfu", "what the cards can do at most is not in these files")


def _check_terms(terms: Sequence[Any], report: Report) -> None:
    for name, term in zip(("prefill", "decode"), terms, strict=True):
        for part, value in term.items():
            holds = value is None or (value >= 0 and value % 2 == 0)
            report.check_that(f"flops_result.{name}.{part}", value, holds, "a multiply and an add are two operations")


def _check_warmup(bundle: Bundle, report: Report) -> None:
    warmup = bundle.result["warmup_result"]
    latencies, final = warmup["latencies_ms"], warmup["final_cv"]
    n = bundle.result["effective_config"].get("warmup", {}).get("window_size")
    if bundle.result["aggregation"] is not None or not isinstance(n, int) or isinstance(n, bool):
        return
    report.check("warmup_result.iterations_completed", warmup["iterations_completed"], len(latencies))
    mean = statistics.fmean(latencies[-n:]) if n and len(latencies) >= n else 0.0
    report.check("warmup_result.final_cv", final, statistics.pstdev(latencies[-n:]) / mean if mean > 0 else None)


def _check_phases(bundle: Bundle, report: Report) -> None:
    """Prefill and decode from the pairs of windows that are kept."""
    phases = bundle.result.get("phases")
    if phases is None:
        return
    if bundle.revision < _SINCE_INTERVAL:
        report.unverifiable("phases", "in results of this revision their intervals are by another rule")
        return
    pairs = phases["pairs"]
    report.check("phases.n_pairs", phases["n_pairs"], len(pairs))
    prefill = [_reading(pair["prefill"]) for pair in pairs]
    full = [_reading(pair["full"]) for pair in pairs]
    decode = [
        (f[0] - p[0], None if None in (f[1], p[1]) else f[1] - p[1], None if None in (f[2], p[2]) else f[2] + p[2])
        for p, f in zip(prefill, full, strict=True)
    ]
    slow = [pair["prefill"] for pair in pairs]
    every = [*slow, *(pair["full"] for pair in pairs)]
    for name, readings, windows in (("prefill", prefill, slow), ("decode", decode, every)):
        derived = _phase(phases[name]["n_tokens"], readings, _slowest(windows))
        for field, value in derived.items():
            report.check(f"phases.{name}.{field}", phases[name][field], value)


def _reading(window: Row) -> tuple[float, Any, Any]:
    return window["duration_sec"], window["energy_j"], window["uncertainty_j"]


def _slowest(windows: Sequence[Row]) -> float | None:
    return max(
        (w["update_period_s"] for w in windows if w["uncertainty_j"] is None and w.get("update_period_s") is not None),
        default=None,
    )


def _phase(n_tokens: int, readings: Sequence[tuple[float, Any, Any]], slowest: float | None) -> dict[str, Any]:
    seconds = [reading[0] for reading in readings]
    joules = [reading[1] for reading in readings]
    duration = _mean(seconds, [])
    sure = _is_resolved(duration)
    energy = power = per_token = None
    seen = True
    if None not in joules:
        bounds = [reading[2] or 0.0 for reading in readings]
        energy = _mean(joules, bounds)
        seen = statistics.fmean(bounds) <= _OPEN_SHARE * abs(energy["value"])
        seen = seen and (slowest is None or duration["value"] >= _FEWEST_UPDATES * slowest)
        if sure and min(seconds) > 0:
            watts = [j / s for j, s in zip(joules, seconds, strict=True)]
            power = _mean(watts, [b / s for b, s in zip(bounds, seconds, strict=True)])
        if n_tokens:
            per_token = {name: None if edge is None else edge / n_tokens for name, edge in energy.items()}
    rate = None
    if sure and n_tokens:
        rate = {
            "value": n_tokens / duration["value"],
            "low": n_tokens / duration["high"],
            "high": n_tokens / duration["low"],
        }
    return {
        "duration_sec": duration,
        "energy_j": energy,
        "power_w": power,
        "energy_per_token_j": per_token,
        "tokens_per_second": rate,
        "status": "resolved" if seen and _is_resolved(energy or duration) else "unresolved",
    }


def _is_resolved(estimate: Mapping[str, Any]) -> bool:
    return estimate["low"] is not None and estimate["low"] > 0


def _mean(values: Sequence[float], bounds: Sequence[float]) -> dict[str, Any]:
    """Mean with Student's interval of 95 %, and the mean of what bounds leave open added to it."""
    from scipy.special import stdtrit

    mean, n = statistics.fmean(values), len(values)
    if n < _LEAST_PAIRS:
        return {"value": mean, "low": None, "high": None}
    half = float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / n**0.5
    half += statistics.fmean(bounds) if bounds else 0.0
    return {"value": mean, "low": mean - half, "high": mean + half}
