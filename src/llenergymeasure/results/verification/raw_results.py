"""What the processes left, held against the result and the tables that were made of it: two copies must be one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from llenergymeasure.results.verification.bundle import Bundle
from llenergymeasure.results.verification.devices import counted
from llenergymeasure.results.verification.findings import Report, first_difference, shown
from llenergymeasure.results.verification.one_process import BY_HEAT, check_raw, moment
from llenergymeasure.results.verification.quality import FIRST_WITH_QUALITY
from llenergymeasure.results.verification.requests import Served, named
from llenergymeasure.results.verification.tables import TIMESERIES, TRACE, Row, Table

# What the result has of the first process as it is, by its place there.
COPIED: Mapping[str, tuple[str, ...]] = {
    "experiment_id": ("experiment_id",),
    "name": ("name",),
    "measurement_config_hash": ("measurement_config_hash",),
    "effective_config": ("effective_config",),
    "environment_snapshot": ("environment_snapshot",),
    "prompts_digest": ("prompts_digest",),
    "run_key": ("run_key",),
    "energy_backend": ("energy_backend",),
    "measurement_methodology": ("measurement_methodology",),
    "phases": ("phases",),
    "model_revision": ("identity", "revision"),
    "weights_digest": ("identity", "weights_digest"),
    "adapter_digest": ("identity", "adapter_digest"),
    "draft_digest": ("identity", "draft_digest"),
}
# What it has of the only process as it is.
COPIED_OF_ONE = (
    "model", "warmup_result", "thermal_throttle", "steady_state_window", "flops_result", "peak_memory_mb",
    "instrument_cpu_s", "foreign_cpu_pct", "energy_aliasing_pct", "dither_pause_s", "start_time", "end_time",
    "idle_loaded_power_w", "idle_loaded_power_uncertainty_w", "n_requests_excluded", "n_requests_failed",
)  # fmt: skip
# nvml.h
_POWER_CAP, _POWER_BRAKE = 0x4, 0x80
_THROTTLED = BY_HEAT | _POWER_CAP | 0x8 | _POWER_BRAKE
_TIMES = ("due_s", "sent_s", "end_s")
_ALIKE_SINCE = ("error_kind", "cached_tokens", "counted_by")
_ALIKE = ("index", "input_tokens", "output_tokens", "finish_reason", "output_digest", "input_digest", "batch", "error")


def verify_raws(bundle: Bundle, served: Served | None, report: Report) -> None:
    """The raw results against everything that was made of them."""
    if not bundle.raws:
        return
    with report.part("result.json"):
        _check_copies(bundle, report)
    with report.part("measurement_warnings"):
        _check_warnings(bundle, report)
    if served is not None:
        with report.part("requests.parquet"):
            _check_requests(bundle, served, report)
    with report.part("timeseries.parquet"):
        _check_timeseries(bundle, report)
    with report.part("energy_devices"):
        _check_devices(bundle, report)


def _alike(name: str, said: Any, derived: Any, report: Report) -> None:
    found = first_difference(said, derived)
    if found is None:
        report.n_agreed += 1
        return
    where, one, other = found
    report.add(
        "differs",
        f"{name}{'.' if where and where[0] != '[' else ''}{where}",
        f"result.json says {shown(one)}, the raw result {shown(other)}",
    )


def _check_copies(bundle: Bundle, report: Report) -> None:
    result, raws = bundle.result, bundle.raws
    for field, place in COPIED.items():
        if field == "run_key" and bundle.revision < FIRST_WITH_QUALITY:
            continue  # of the same revision
        value: Any = raws[0]
        for part in place:
            value = value[part]
        _alike(field, result.get(field), value, report)
    if len(raws) == 1:
        for field in COPIED_OF_ONE:
            _alike(field, result.get(field), raws[0][field], report)
        _alike("requests_in_flight", result.get("requests_in_flight"), raws[0]["in_flight"], report)
        _check_throttle(result["thermal_throttle"], raws[0]["samples"], report)
        _alike(
            "energy_breakdown",
            _without_bound(result["energy_breakdown"]),
            _without_bound(raws[0]["energy_breakdown"]),
            report,
        )
    else:
        _check_combined(bundle, report)
    for raw in bundle.raws_as_left:
        check_raw(raw, report)
    span_s = max(raw["window_end_s"] for raw in raws) - min(raw["window_start_s"] for raw in raws)
    report.check("duration_sec", result["duration_sec"], span_s)
    for raw, row in zip(raws, result["process_results"], strict=True):
        _check_summary(raw, row, report)


def _check_throttle(said: Any, samples: Sequence[Row], report: Report) -> None:
    """Why and for how long clocks were lowered, by the bits of each sample, which last until its GPU's next one."""
    if all(sample["throttle_reasons"] is None for sample in samples):
        report.check("thermal_throttle", said, None)
        return
    bits, seconds, last = 0, defaultdict[Any, float](float), dict[Any, Row]()
    for sample in samples:
        gpu, before = sample["gpu_index"], last.get(sample["gpu_index"])
        bits |= sample["throttle_reasons"] or 0
        if before is not None and (before["throttle_reasons"] or 0) & _THROTTLED:
            seconds[gpu] += sample["timestamp"] - before["timestamp"]
        last[gpu] = sample
    derived = {
        "detected": bool(bits & _THROTTLED),
        "thermal": bool(bits & BY_HEAT),
        "power": bool(bits & (_POWER_CAP | _POWER_BRAKE)),
        "sw_thermal": bool(bits & 0x20),
        "hw_thermal": bool(bits & 0x40),
        "hw_power": bool(bits & _POWER_BRAKE),
        "throttle_duration_sec": max(seconds.values(), default=0.0),
        "max_temperature_c": max((s["temperature_c"] for s in samples if s["temperature_c"] is not None), default=None),
    }
    for name, value in derived.items():
        report.check(f"thermal_throttle.{name}", said[name], value)


def _without_bound(breakdown: Any) -> Any:
    """The bound of what is left without idling is worked out when all processes are there."""
    return breakdown and {name: value for name, value in breakdown.items() if name != "adjusted_uncertainty_j"}


def _check_combined(bundle: Bundle, report: Report) -> None:
    """Of several processes what the result has of all together."""
    result, raws = bundle.result, bundle.raws
    tensor = raws[0]["parallelism"] == "tensor"
    report.check("start_time", result["start_time"], min((raw["start_time"] for raw in raws), key=moment))
    report.check("end_time", result["end_time"], max((raw["end_time"] for raw in raws), key=moment))
    for field in ("peak_memory_mb", "instrument_cpu_s"):
        values = [raw[field] for raw in raws]
        report.check(field, result.get(field), None if None in values else sum(values))
    for field in ("foreign_cpu_pct", "energy_aliasing_pct", "dither_pause_s"):
        values = [raw[field] for raw in raws if raw[field] is not None]
        report.check(field, result.get(field), max(values, default=None))
    for field in ("n_requests_excluded", "n_requests_failed"):
        values = [raw[field] for raw in raws]
        report.check(field, result.get(field), values[0] if tensor else sum(values))
    n_nodes = len({raw.get("node") for raw in raws})
    method = "sum over devices" if n_nodes == 1 else f"sum over devices of {n_nodes} nodes"
    said = {"n_processes": len(raws), "parallelism": raws[0]["parallelism"], "method": method}
    report.check("aggregation", result["aggregation"], said)


def _check_summary(raw: Row, row: Row, report: Report) -> None:
    name, energy, breakdown = f"process_results[{raw['process_index']}]", raw["energy"], raw["energy_breakdown"] or {}
    devices = [] if energy is None else energy["devices"]
    expected = {
        "process_index": raw["process_index"],
        "duration_sec": raw["window_end_s"] - raw["window_start_s"],
        "energy_j": None if energy is None else energy["total_j"],
        "devices": [device["device"] for device in devices],
        "counted_devices": None if energy is None else [device["device"] for device in counted(devices)],
        "energy_window_s": None if energy is None else energy["duration_sec"],
        "baseline_power_w": breakdown.get("baseline_power_w"),
        "baseline_power_uncertainty_w": breakdown.get("baseline_power_uncertainty_w"),
        "idle_loaded_power_w": raw["idle_loaded_power_w"],
        "idle_loaded_power_uncertainty_w": raw["idle_loaded_power_uncertainty_w"],
    }
    if "host" in row:
        expected["host"] = raw.get("node")
    for field, value in expected.items():
        report.check(f"{name}.{field}", row[field], value)


def _check_warnings(bundle: Bundle, report: Report) -> None:
    """Every warning of a process stands in the result."""
    told = bundle.result["measurement_warnings"]
    for said in dict.fromkeys(told):
        report.check_that("measurement_warnings", said, told.count(said) == 1, "it is there twice")
    for raw in bundle.raws:
        of_sensors = [] if raw["energy"] is None else raw["energy"]["warnings"]
        for warning in [*raw["measurement_warnings"], *of_sensors]:
            advice = f"; {warning['advice']}" if warning["advice"] else ""
            text = f"{warning['flag']}: {warning['text']}{advice}"
            there = any(said == text or said.startswith(f"{text} [") for said in told)
            if there:
                report.n_agreed += 1
            else:
                report.add(
                    "differs",
                    "measurement_warnings",
                    f"process {raw['process_index']} has one that result.json has not: {shown(text)}",
                )
    if len(bundle.raws) == 1:
        known = {f"{w['flag']}: {w['text']}" for w in bundle.raws[0]["measurement_warnings"]}
        for said in told:
            made = said.split(":")[0] in ("wide_energy_bound", "sidecar_not_written", "overloaded", "sending_late")
            holds = made or any(said.startswith(text) for text in known)
            report.check_that("measurement_warnings", said, holds, "the raw result has no such warning")


def _check_requests(bundle: Bundle, served: Served, report: Report) -> None:
    raws = bundle.raws[:1] if bundle.raws[0]["parallelism"] == "tensor" else bundle.raws
    requests = sorted((request for raw in raws for request in raw["requests"]), key=lambda request: request["index"])
    report.check("requests.parquet rows", [row["index"] for row in served.rows], [r["index"] for r in requests])
    first_s = min(raw["window_start_s"] for raw in bundle.raws)
    for row, request in zip(served.rows, requests, strict=False):
        name = f"request {row['index']}"
        for field in _ALIKE:
            report.check(f"{name} {field}", row[field], request[field])
        for field in _ALIKE_SINCE if served.has_parts else ():
            report.check(f"{name} {field}", row[field], request[field])
        for field in _TIMES:
            value = None if request[field] is None else request[field] - first_s
            report.check(f"{name} {field}", row[field], value, off=1e-9)
        began = request["sent_s"] if request["due_s"] is None else request["due_s"]
        kinds = ("token_times_s", "chunk_times_s") if served.has_parts else ("token_times_s",)
        for field in kinds:
            latencies = [] if began is None else [time_s - began for time_s in request[field]]
            report.check(f"{name} {field}", row[field], latencies, off=1e-9)
        times = request["token_times_s"]
        if not times and request["first_token_s"] is not None and began is not None:
            report.check(f"{name} ttft_s", row["ttft_s"], request["first_token_s"] - began, off=1e-9)
    if bundle.result.get("outputs") is not None:
        answers = served.read_answers(bundle) or {}
        for request in requests:
            report.check(
                f"request {request['index']} answers", answers.get(request["index"], []), request["output_ids"]
            )


def _check_timeseries(bundle: Bundle, report: Report) -> None:
    """Means of each second and GPU, from the samples."""
    if bundle.result["timeseries"] is None:
        report.unverifiable("timeseries.parquet", "it was not written")
        return
    table = Table(bundle, named(bundle, "timeseries", "timeseries.parquet"), TIMESERIES)
    reader: dict[Any, int] = {}
    for raw in bundle.raws:
        for sample in raw["samples"]:
            reader.setdefault(sample["gpu_index"], raw["process_index"])
    samples = [s for raw in bundle.raws for s in raw["samples"] if reader[s["gpu_index"]] == raw["process_index"]]
    first_s = min((sample["timestamp"] for sample in samples), default=0.0)
    seconds: dict[tuple[float, int], list[Row]] = defaultdict(list)
    for sample in samples:
        seconds[float(int(sample["timestamp"] - first_s)), sample["gpu_index"] or 0].append(sample)
    derived = [_second(*key, seconds[key]) for key in sorted(seconds)]
    rows = table.rows()
    report.check("timeseries.parquet rows", len(rows), len(derived))
    for row, expected in zip(rows, derived, strict=False):
        for column, value in expected.items():
            # Means are kept in single precision.
            rel = 1e-6 if isinstance(value, float) else 0.0
            name = f"timeseries.parquet {column} at {expected['timestamp_s']:g} s"
            report.check(name, row[column], value, rel=rel)
    if samples:
        start_s = min(raw["window_start_s"] for raw in bundle.raws) - first_s
        report.check("timeseries.parquet window_start_s", float(table.metadata["window_start_s"]), start_s, off=1e-9)


def _second(second: float, gpu: int, samples: Sequence[Row]) -> Row:
    def mean(name: str) -> float | None:
        values = [sample[name] for sample in samples if sample[name] is not None]
        return float(np.float32(sum(values) / len(values))) if values else None

    told = [sample["throttle_reasons"] for sample in samples if sample["throttle_reasons"] is not None]
    bits = None if not told else int(np.bitwise_or.reduce(np.array(told, dtype=np.int64)))
    return {
        "timestamp_s": second,
        "gpu_index": gpu,
        "power_w": mean("power_w"),
        "temperature_c": mean("temperature_c"),
        "memory_used_mb": mean("memory_used_mb"),
        "memory_total_mb": mean("memory_total_mb"),
        "sm_utilisation_pct": mean("sm_utilisation"),
        "throttle_reasons": bits,
    }


def _check_devices(bundle: Bundle, report: Report) -> None:
    """Rows of devices are those of the process that read each for longest."""
    chosen: dict[tuple[str, Any], tuple[float, Row]] = {}
    for raw in bundle.raws:
        for row in [] if raw["energy"] is None else raw["energy"]["devices"]:
            key = (row["device"], row["sensor"] if row["headline"] is False else None)
            if key not in chosen or raw["energy"]["duration_sec"] > chosen[key][0]:
                chosen[key] = (raw["energy"]["duration_sec"], row)
    attached = [log["device"] for log in bundle.result.get("attached_logs") or []]
    rows = [row for row in bundle.result["energy_devices"] if row["device"] not in attached]
    _alike("energy_devices", rows, [row for _, row in chosen.values()], report)


def check_trace_copies(bundle: Bundle, table: Table, windows: Sequence[Row], report: Report) -> None:
    """The table of readings against those in the raw results, row by row."""
    if not bundle.raws:
        return
    columns: dict[str, list[Any]] = {name: [] for name in TRACE}
    expected_windows = []
    for raw in bundle.raws:
        for trace in [] if raw["energy"] is None else raw["energy"]["trace"]:
            fields = ("device", "sensor", "start_s", "end_s", "facts")
            expected_windows.append({"process": raw["process_index"], **{name: trace[name] for name in fields}})
            for kind in trace["readings"]:
                for time_s, value, began_s, ended_s in kind["reads"]:
                    row = (
                        raw["process_index"],
                        trace["device"],
                        trace["sensor"],
                        kind["kind"],
                        time_s,
                        began_s,
                        ended_s,
                        value,
                    )
                    for name, cell in zip(TRACE, row, strict=True):
                        columns[name].append(cell)
    _alike("trace.parquet windows", list(windows), expected_windows, report)
    for name, expected in columns.items():
        said = table.column(name)
        if said == expected:
            report.n_agreed += 1
            continue
        place = next(
            (i for i, (a, b) in enumerate(zip(said, expected, strict=False)) if a != b), min(len(said), len(expected))
        )
        one, other = (shown(column[place]) if place < len(column) else "no such row" for column in (said, expected))
        report.add("differs", f"trace.parquet {name}", f"row {place} says {one}, the raw result {other}")
