"""Whether the energy may be cited, by what the figures themselves show, whatever flags the files have."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from llenergymeasure.results.verification.bundle import FIRST_WITH_SUMS, Bundle
from llenergymeasure.results.verification.devices import counted
from llenergymeasure.results.verification.findings import Report, shown
from llenergymeasure.results.verification.tables import Row

# Of energies with these nothing may be cited.
NOT_CITABLE = frozenset({
    "energy_unavailable", "energy_modelled", "absurd_power", "energy_of_a_part", "windows_do_not_overlap",
    "foreign_load_high", "requests_failed_above_share", "overloaded", "server_elsewhere", "node_unmeasured",
})  # fmt: skip
# With these the reader has to judge.
QUESTIONABLE = frozenset({
    "codecarbon_settings", "power_may_be_stuck", "energy_counter_refused", "zeus_refused", "counter_disagreement",
    "energy_witness_unavailable", "wide_energy_bound", "uneven_processes", "energy_span_differs",
    "short_measurement_duration", "few_sensor_periods", "nvml_low_sample_count", "aliasing", "foreign_load",
    "foreign_process", "gpu_throttled", "thermal_drift_detected", "telemetry_unavailable", "baseline_drift",
    "thermal_not_settled", "idle_unsteady", "idle_changed", "negative_adjusted_energy", "warmup_not_converged",
    "warmup_failed", "compiled_in_window", "window_not_reached", "steady_state_not_reached", "random_weights",
    "load_not_settled", "load_not_steady",
    "weights_left_out", "batch_changes_tokens", "device_setting_differs", "engine_unproven",
    "server_not_ours", "tokens_retokenised", "usage_contradicts",
    "sending_late", "neighbours_in_energy",
})  # fmt: skip
_SHORT_S, _FEW_PERIODS, _FEW_READINGS = 10.0, 20, 10
_DRIFT_C, _SPAN, _WIDE, _OVERLAP, _FAILED = 10.0, 0.01, 0.05, 0.9, 0.01
_FOREIGN_PCT, _MUCH_FOREIGN_PCT, _LATE = 5.0, 10.0, 0.01
# What a figure covers where its row does not say.
_USUAL = {"gpu": "gpu", "cpu": "package", "dram": "dram", "soc": "soc", "host": "host"}
# nvml.h: a power cap in software; slowdowns by hardware, by heat in software and hardware, by the power brake.
_SW_POWER_CAP = 0x4
_THROTTLED = _SW_POWER_CAP | 0x8 | 0x20 | 0x40 | 0x80


def verify_validity(bundle: Bundle, report: Report) -> None:
    """The verdict from what the figures show and from the warnings, and that no warning is missing."""
    if bundle.revision < FIRST_WITH_SUMS:
        with report.part("validity"):
            _verify_earlier(bundle, report)
        return
    with report.part("validity"):
        told = [_flag(text) for text in bundle.result["measurement_warnings"]]
        seen = list(dict.fromkeys(_shown(bundle)))
        for flag in seen:
            should = f"there should be {flag}, by the figures of the file"
            report.check_that("measurement_warnings", "nothing of it", flag in told, should)
        for flag in _EXACT:
            if flag in told and flag not in seen and len(bundle.result["process_results"]) == 1:
                report.add("differs", "measurement_warnings", f"{flag} is told, and no figure of the file shows it")
        verdict, deciding = _verdict([*told, *seen])
        report.check("validity", bundle.result["validity"], verdict)
        report.check("validity_flags", sorted(bundle.result["validity_flags"]), sorted(deciding))


def _verify_earlier(bundle: Bundle, report: Report) -> None:
    """Of an earlier revision, that the verdict is no better than figures and warnings allow."""
    said = bundle.result.get("validity")
    if said is None:
        report.unverifiable("validity", "results of this revision have no verdict")
        return
    report.unverifiable("validity", "results of this revision were judged by other rules; it may not be too good")
    if said not in _VERDICTS:
        report.damaged("validity", f"there is no verdict {shown(said)}")
        return
    told = [_flag(text) for text in bundle.result["measurement_warnings"]]
    verdict, deciding = _verdict([*told, *_shown(bundle)])
    should = f"by figures and warnings it is {verdict}: {', '.join(deciding)}"
    report.check_that("validity", said, _VERDICTS.index(said) >= _VERDICTS.index(verdict), should)
    flags = bundle.result["validity_flags"]
    report.check_that("validity_flags", flags, bool(flags) == (said != "citable"), f"validity is {said}")


_VERDICTS = ("citable", "questionable", "not_citable")
# Where the figures show that there is no reason for them, they are told for nothing.
_EXACT = ("short_measurement_duration", "wide_energy_bound", "foreign_load", "foreign_load_high", "energy_modelled",
          "energy_span_differs", "uneven_processes", "windows_do_not_overlap", "negative_adjusted_energy",
          "overloaded", "sending_late", "neighbours_in_energy")  # fmt: skip


def _flag(text: str) -> str:
    return text.partition(":")[0]


def _verdict(flags: Sequence[str]) -> tuple[str, list[str]]:
    for verdict, of in (("not_citable", NOT_CITABLE), ("questionable", QUESTIONABLE)):
        deciding = [flag for flag in dict.fromkeys(flags) if flag in of]
        if deciding:
            return verdict, deciding
    return "citable", []


def _shown(bundle: Bundle) -> Iterator[str]:
    """Flags that follow from figures, of the whole and of each process."""
    result = bundle.result
    making = counted(result["energy_devices"])
    whole, bound = result["total_energy_j"], result["energy_uncertainty_j"]
    if whole is None:
        yield "energy_unavailable"
    elif any(row["source"] == "modelled" for row in making):
        yield "energy_modelled"
    if whole is not None and bound is not None and bound > _WIDE * whole:
        yield "wide_energy_bound"
    summaries = result["process_results"]
    for summary in summaries:
        seconds, window_s = summary["duration_sec"], summary.get("energy_window_s")
        if seconds < _SHORT_S:
            yield "short_measurement_duration"
        if summary["energy_j"] is not None and window_s is not None and abs(window_s - seconds) > _SPAN * seconds:
            yield "energy_span_differs"
        periods = [row["update_period_s"] for row in making if row["update_period_s"] is not None]
        if len(summaries) == 1 and whole is not None and periods and seconds < _FEW_PERIODS * max(periods):
            yield "few_sensor_periods"
    yield from _of_the_machine(result)
    yield from _of_the_place(result["environment_snapshot"], making if whole is not None else ())
    yield from _of_the_requests(result)
    yield from _of_the_load(result.get("load") or {})
    if len(bundle.raws) > 1:
        yield from _of_the_windows(bundle.raws)
    for raw in bundle.raws_as_left:
        yield from _of_the_samples(raw)


def _of_the_machine(result: Row) -> Iterator[str]:
    foreign = result.get("foreign_cpu_pct")
    if foreign is not None and foreign > _FOREIGN_PCT:
        yield "foreign_load_high" if foreign > _MUCH_FOREIGN_PCT else "foreign_load"
    if result.get("energy_aliasing_pct") is not None:
        yield "aliasing"
    if (
        result["energy_adjusted_j"] is not None
        and result["energy_adjusted_j"] < 0
        and len(result["process_results"]) == 1
    ):
        yield "negative_adjusted_energy"
    warmup = result["warmup_result"]
    if not warmup["converged"]:
        yield "warmup_not_converged" if warmup["iterations_completed"] else "warmup_failed"


def _of_the_place(environment: Row, making: Sequence[Row]) -> Iterator[str]:
    """Whether the rows that make the total cover more than GPUs, or a GPU is given in shards.

    Args:
        environment: of the result; one of an earlier revision says nothing of a job.
        making: [n] rows.
    """
    covered = {row.get("scope") or _USUAL.get(row["kind"]) for row in making}
    job, share = environment.get("job"), environment.get("share") or {}
    shards = bool((job or {}).get("n_gpu_shards"))
    if (covered - {"gpu"} and _has_a_part(environment.get("n_cpus"), job, share)) or ("gpu" in covered and shards):
        yield "neighbours_in_energy"


def _has_a_part(n_cpus: int | None, job: Row | None, share: Row) -> bool:
    given = [share.get("n_cpus_in_set"), share.get("cpu_quota")]
    if job is not None:
        if job.get("n_cpus") is None or n_cpus is None:
            return True
        given += [job["n_cpus"], share.get("n_cpus_allowed")]
    return n_cpus is not None and any(n < n_cpus for n in given if n is not None)


def _of_the_requests(result: Row) -> Iterator[str]:
    n_failed = result.get("n_requests_failed", 0)
    # Of a run that the window cuts through nobody knows here how many there were.
    if result.get("requests_in_flight") is None and n_failed > max(
        1, _FAILED * (n_failed + result["n_requests"] + result.get("n_requests_excluded", 0))
    ):
        yield "requests_failed_above_share"


def _of_the_load(load: Row) -> Iterator[str]:
    if (load.get("overload") or {}).get("overloaded"):
        yield "overloaded"
    if (load.get("sending") or {}).get("share_of_gap", 0.0) > _LATE:
        yield "sending_late"


def _of_the_windows(raws: Sequence[Row]) -> Iterator[str]:
    starts, ends = [raw["window_start_s"] for raw in raws], [raw["window_end_s"] for raw in raws]
    common_s, whole_s = min(ends) - max(starts), max(ends) - min(starts)
    if common_s <= 0:
        yield "windows_do_not_overlap"
    elif common_s < _OVERLAP * whole_s:
        yield "uneven_processes"


def _of_the_samples(raw: Row) -> Iterator[str]:
    temperatures: dict[Any, list[float]] = defaultdict(list)
    n_power: dict[Any, int] = defaultdict(int)
    throttled = False
    # A limit that the configuration asks for is what is measured.
    limit_w = (raw["effective_config"].get("device") or {}).get("power_limit_w")
    throttling = _THROTTLED if limit_w is None else _THROTTLED & ~_SW_POWER_CAP
    for sample in raw["samples"]:
        gpu = sample["gpu_index"]
        n_power[gpu] += sample["power_w"] is not None
        throttled = throttled or bool((sample["throttle_reasons"] or 0) & throttling)
        if sample["temperature_c"] is not None:
            temperatures[gpu].append(sample["temperature_c"])
    if throttled and raw["model"]["devices"]:
        yield "gpu_throttled"
    if any(abs(values[-1] - values[0]) > _DRIFT_C for values in temperatures.values()):
        yield "thermal_drift_detected"
    if raw["model"]["devices"] and min(n_power.values(), default=0) < _FEW_READINGS:
        yield "nvml_low_sample_count"
