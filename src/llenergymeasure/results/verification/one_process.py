"""What the raw result of one process says twice, or cannot say."""

from datetime import datetime
from typing import Any

from llenergymeasure.results.verification.devices import counted, total
from llenergymeasure.results.verification.findings import DamageError, Report, shown
from llenergymeasure.results.verification.tables import Row

# nvml.h: slowdowns by heat, in software and in hardware.
BY_HEAT = 0x20 | 0x40
# What runs of one process say, and those of several.
_ALONE, _TOGETHER = ["single"], ["data", "tensor"]
_SAME_TIME_S = 1e-9


def check_raw(raw: Row, report: Report) -> None:
    """What one raw result says twice."""
    name, own = f"process {raw['process_index']}", raw["energy"]
    if own is not None:
        open_to_it = [row for row in own["devices"] if row["headline"] is not False and row["energy_j"] is not None]
        gpus = {row["device"]: row["energy_j"] for row in open_to_it if row["kind"] == "gpu"}
        if own["per_gpu_j"] is not None:
            report.check(f"{name} per_gpu_j", own["per_gpu_j"], gpus)
        making = counted(own["devices"])
        if own["total_j"] is not None and own["devices"]:
            report.check(f"{name} total_j", own["total_j"], total([row["energy_j"] for row in making]))
            report.check(f"{name} uncertainty_j", own["uncertainty_j"], total([row["uncertainty_j"] for row in making]))
    seconds = (moment(raw["end_time"]) - moment(raw["start_time"])).total_seconds()
    # Times of day are written in microseconds.
    report.check(f"{name} end_time", seconds, raw["window_end_s"] - raw["window_start_s"], off=2e-6)
    for sample in raw["samples"]:
        heat = bool((sample["throttle_reasons"] or 0) & BY_HEAT)
        report.check(f"{name} sample thermal_throttle", sample["thermal_throttle"], heat)
    _check_samples(name, raw, report)
    _check_bound(name, raw, report)
    known = _TOGETHER if raw["n_processes"] > 1 else _ALONE
    report.check_that(f"{name} parallelism", raw["parallelism"], raw["parallelism"] in known, f"of {known} it is one")
    for request in raw["requests"]:
        _check_first_token(f"{name} request {request['index']} first_token_s", request, raw, report)


def _check_bound(name: str, raw: Row, report: Report) -> None:
    """The bound of what is left without idling: that of the energy, and that of idle power over its window."""
    breakdown, energy, bound = raw["energy_breakdown"], raw["energy"], None
    if breakdown is None:
        return
    if energy is not None and None not in (breakdown["adjusted_j"], breakdown["baseline_power_uncertainty_w"]):
        idle_j = breakdown["baseline_power_uncertainty_w"] * energy["duration_sec"]
        bound = total([energy["uncertainty_j"], idle_j])
    report.check(f"{name} energy_breakdown.adjusted_uncertainty_j", breakdown["adjusted_uncertainty_j"], bound)


def _check_first_token(name: str, request: Row, raw: Row, report: Report) -> None:
    """When the first token was there: that of the token times, and where there are none, within request and window."""
    first_s, times = request["first_token_s"], request["token_times_s"]
    if first_s is None:
        return
    if times:
        report.check(name, first_s, times[0], off=_SAME_TIME_S)
        return
    # Where the window cuts through requests a token may have come before it.
    starts = [request["sent_s"], None if raw["in_flight"] else raw["window_start_s"]]
    ends = [request["end_s"], None if raw["in_flight"] else raw["window_end_s"]]
    holds = all(at_s is None or at_s - _SAME_TIME_S <= first_s for at_s in starts) and all(
        at_s is None or first_s <= at_s + _SAME_TIME_S for at_s in ends
    )
    report.check_that(name, first_s, holds, "that is before its request or after it, or out of the window")


def _check_samples(name: str, raw: Row, report: Report) -> None:
    """The samples of the window are among the readings that are kept of their GPUs."""
    uuids = {gpu["index"]: gpu["uuid"] for gpu in raw["environment_snapshot"]["gpus"]}
    kept: dict[tuple[str, str], dict[float, Any]] = {}
    for trace in [] if raw["energy"] is None else raw["energy"]["trace"]:
        for kind in trace["readings"]:
            kept[trace["device"], kind["kind"]] = {read[0]: read[1] for read in kind["reads"]}
    for sample in raw["samples"]:
        device = uuids.get(sample["gpu_index"])
        if device is None or (device, "power") not in kept:
            continue
        for kind, field in (("power", "power_w"), ("average", "average_power_w"), ("limit", "power_limit_w")):
            at = kept.get((device, kind), {}).get(sample["timestamp"], "no reading" if kind == "power" else None)
            report.check(f"{name} sample {field}", sample[field], at)


def moment(text: Any) -> datetime:
    """A time of day.

    Raises:
        DamageError: it is none.
    """
    if not isinstance(text, str):
        raise DamageError(f"{shown(text)} is no time")
    return datetime.fromisoformat(text)
