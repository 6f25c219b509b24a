"""The form of ``result.json``: which fields there are, and what each may hold."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llenergymeasure.results.verification.bundle import FIRST_WITH_LOAD, FIRST_WITH_PLACE, FIRST_WITH_SUMS, Bundle
from llenergymeasure.results.verification.definitions import versions_in
from llenergymeasure.results.verification.findings import Report, first_difference, is_number, shown
from llenergymeasure.results.verification.quality import FIRST_WITH_QUALITY

# A letter for each kind: n number, i count, s text, o object, l list, b truth; ? may be null.
FIELDS: Mapping[str, str] = {
    "schema_version": "s", "experiment_id": "s", "name": "s", "measurement_config_hash": "s", "effective_config": "o",
    "start_time": "s", "end_time": "s", "total_energy_j": "n?", "energy_adjusted_j": "n?",
    "energy_per_output_token_j": "n?", "avg_energy_per_token_j": "n?", "energy_per_request_j": "n?",
    "energy_net_of_loaded_idle_j": "n?", "idle_loaded_power_w": "n?", "baseline_power_w": "n?",
    "energy_breakdown": "o?", "energy_uncertainty_j": "n?", "sensor_accuracy_pct": "n?", "energy_devices": "l",
    "energy_backend": "s?", "n_requests": "i", "n_cut_short": "i", "input_tokens": "i", "output_tokens": "i",
    "total_tokens": "i", "duration_sec": "n", "tokens_per_second": "n", "total_tokens_per_second": "n",
    "requests_per_second": "n", "latency_stats": "o?", "flops_result": "o?", "peak_memory_mb": "n?",
    "thermal_throttle": "o?", "warmup_result": "o", "warmup_excluded_samples": "i", "measurement_warnings": "l",
    "reproducibility_notes": "s", "environment_snapshot": "o", "model": "o", "prompts_digest": "s",
    "outputs_digest": "s", "timeseries": "s?", "requests": "s?", "process_results": "l", "aggregation": "o?",
}  # fmt: skip
# What earlier revisions may not have.
LATER: Mapping[str, str] = {
    "schema_revision": "i", "energy_net_of_loaded_idle_uncertainty_j": "n?", "idle_loaded_power_uncertainty_w": "n?",
    "energy_aliasing_pct": "n?", "energy_host_j": "n?", "energy_host_uncertainty_j": "n?", "energy_host_scope": "s?",
    "dither_pause_s": "n?", "dither_energy_j": "n?", "energy_interval_j": "l?", "energy_interval_parts_j": "o?",
    "n_requests_failed": "i", "requests_in_flight": "o?", "phases": "o?", "joules_per_tflop": "n?", "mfu": "n?",
    "instrument_cpu_s": "n?", "foreign_cpu_pct": "n?", "measurement_methodology": "s", "steady_state_window": "l?",
    "n_requests_excluded": "i", "validity": "s", "validity_flags": "l", "inputs_digest": "s?", "model_revision": "s?",
    "weights_digest": "s?", "adapter_digest": "s?", "draft_digest": "s?", "outputs": "s?", "trace": "s?",
    "attached_logs": "l", "definitions": "o", "quality": "o?", "run_key": "o?", "load": "o?",
}  # fmt: skip
# Of those the ones that not even the first revision with all of the others has.
_SINCE: Mapping[str, int] = {"quality": FIRST_WITH_QUALITY, "run_key": FIRST_WITH_QUALITY, "load": FIRST_WITH_LOAD}
# What came with each revision, by its place: a file that has any of it is of no earlier one.
_CAME_WITH: Mapping[int, tuple[str, ...]] = {
    FIRST_WITH_PLACE: (
        *(f"environment_snapshot.{name}" for name in ("host", "boot_id", "job", "share")), "process_results.host",
        "load.arrivals_digest",
    ),
    FIRST_WITH_LOAD: ("load",),
    FIRST_WITH_QUALITY: ("quality", "run_key"),
    FIRST_WITH_SUMS: (
        "definitions", "trace", "energy_interval_j", "energy_interval_parts_j", "dither_pause_s", "dither_energy_j",
        "energy_net_of_loaded_idle_uncertainty_j", "idle_loaded_power_uncertainty_w",
        "energy_breakdown.baseline_power_uncertainty_w", "energy_breakdown.adjusted_uncertainty_j",
        "process_results.baseline_power_uncertainty_w", "process_results.idle_loaded_power_uncertainty_w",
        "warmup_result.thermal_settled", "environment_snapshot.gpus.calibration",
        "phases.pairs.prefill.update_period_s", "phases.pairs.full.update_period_s",
    ),
    4: (
        "latency_stats.counted_from", "latency_stats.ttft_s.n_independent", "latency_stats.e2e_s.n_independent",
        "process_results.energy_window_s", "process_results.counted_devices", "process_results.baseline_power_w",
        "process_results.idle_loaded_power_w",
    ),
    3: ("model.batch_size", "model.weights", "model.quantization", "model.adapter", "model.chat_template"),
    2: ("validity", "validity_flags", "n_requests_failed", "requests_in_flight", "environment_snapshot.engine"),
}  # fmt: skip
# A log may be attached to a file of any revision, and writes these.
_OF_A_LOG = (
    "energy_host_j", "energy_host_uncertainty_j", "energy_host_scope",
    "energy_devices.duration_sec", "energy_devices.uncertainty_parts_j",
)  # fmt: skip
_OF_LATENCIES = {"ttft_s", "tpot_s", "itl_s", "e2e_s", "counted_from"}
_OF_A_PROCESS = {
    "process_index", "input_tokens", "output_tokens", "duration_sec", "energy_j", "devices", "energy_window_s",
    "counted_devices", "baseline_power_w", "baseline_power_uncertainty_w", "idle_loaded_power_w",
    "idle_loaded_power_uncertainty_w", "host",
}  # fmt: skip
# The files that a result names, by the field.
TABLES: Mapping[str, str] = {
    "requests": "requests.parquet", "outputs": "outputs.parquet", "timeseries": "timeseries.parquet",
    "trace": "trace.parquet",
}  # fmt: skip
# Sentences for people, made of what is verified; nobody else can say them again word by word.
SENTENCES = ("reproducibility_notes", "energy_host_scope")


def check_form(bundle: Bundle, report: Report) -> None:
    """That every field is there and of its kind."""
    result = bundle.result
    for name, kind in {**FIELDS, **LATER}.items():
        if name not in result:
            if name in FIELDS or bundle.revision >= _SINCE.get(name, FIRST_WITH_SUMS):
                report.damaged(name, "it is not there")
        elif not _is_of(result[name], kind):
            report.damaged(name, f"it is {shown(result[name])}, which is of another kind than it should be")
        else:
            report.n_agreed += 1
    _check_age(bundle, report)
    if bundle.revision >= FIRST_WITH_SUMS and "definitions" in result:
        found = first_difference(result["definitions"], versions_in(bundle.revision))
        where, said, known = found or ("", "", "")
        should = f"{shown(known)} is the version of this revision"
        report.check_that(f"definitions.{where}".rstrip("."), said, found is None, should)
    for name in _unknown(result):
        report.unverifiable(name, "this field is not known here")
    for name, file in TABLES.items():
        if result.get(name) is None and file in bundle.files:
            report.damaged(file, f"result.json says that there is none, in {name}")
    for name in SENTENCES:
        if result.get(name):
            report.unverifiable(name, "it is a sentence for people; the figures in it are verified where they stand")


def _unknown(result: Mapping[str, Any]) -> Iterator[str]:
    """Places of fields that no revision has."""
    yield from sorted(set(result) - set(FIELDS) - set(LATER))
    stats, rows = result.get("latency_stats"), result.get("process_results")
    for name, inner, known in (
        ("latency_stats", stats, _OF_LATENCIES),
        *(
            (f"process_results[{i}]", row, _OF_A_PROCESS)
            for i, row in enumerate(rows if isinstance(rows, list) else ())
        ),
    ):
        if isinstance(inner, dict):
            yield from (f"{name}.{field}" for field in sorted(set(inner) - known))


def _check_age(bundle: Bundle, report: Report) -> None:
    """That a file has nothing that came after the revision it says it is of."""
    log = bundle.result.get("attached_logs")
    for came, places in _CAME_WITH.items():
        marks = (*places, *_OF_A_LOG) if came == FIRST_WITH_SUMS and not log else places
        newer = [name for name in marks if _has(bundle.result, name.split("."))]
        if came > bundle.revision and newer:
            report.damaged("schema_revision", f"it is {bundle.revision}, and {newer[0]} came with {came}")


def _has(value: Any, place: Sequence[str]) -> bool:
    """Whether there is something at a place, in lists in any of their rows."""
    if not place:
        return True
    if isinstance(value, list):
        return any(_has(row, place) for row in value)
    return isinstance(value, dict) and place[0] in value and _has(value[place[0]], place[1:])


def _is_of(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("?")
    kinds = {"s": str, "o": dict, "l": list, "b": bool}
    letter = kind[0]
    if letter == "n":
        return is_number(value)
    if letter == "i":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, kinds[letter])
