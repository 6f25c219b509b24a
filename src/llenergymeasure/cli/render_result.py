"""One result as a table. A number is never shown without where it comes from."""

from collections.abc import Sequence
from pathlib import Path

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.render_load import load_rows
from llenergymeasure.cli.text import environment_line, place_rows
from llenergymeasure.domain.in_figures import NONE, bounded, number
from llenergymeasure.domain.metrics import Distribution, counted_devices
from llenergymeasure.domain.phases import Estimate, PhaseResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import in_words
from llenergymeasure.results.showing import tables
from llenergymeasure.results.showing.lines import LABEL, wrapped
from llenergymeasure.results.showing.tables import Side

# Of those that a result has; p95 is in the file.
_PERCENTILES = ("p50", "p90", "p99")
_RIGHT: list[Side] = ["right"]


def experiment(result: ExperimentResult, directory: Path | None) -> str:
    """One result in groups: what ran, what it did, latencies, energy, compute, and how far to trust it; its path last.

    Args:
        result: the result.
        directory: where it lies; None where nothing is kept.
    """
    written = "not written (no output folder)" if directory is None else str(directory)
    trust = [wrapped("validity", _validity_line(result)), *_warning_lines(result.measurement_warnings)]
    groups = [
        _lines(_what_ran(result)),
        _lines(_what_it_did(result)),
        _latencies(result),
        _lines(load_rows(result)),
        _lines([*_energy_rows(result), *_phase_rows(result)]),
        _lines([*_flops_rows(result), *_quality_rows(result)]),
        "\n".join(trust),
        # Paths are copied, so they are not broken.
        f"{'result':<{LABEL}}{in_a_line(written)}",
    ]
    return "\n\n".join(group for group in groups if group)


def _lines(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(wrapped(label, in_a_line(value)) for label, value in rows)


def _what_ran(result: ExperimentResult) -> list[tuple[str, str]]:
    return [
        ("environment", environment_line(result.environment_snapshot)),
        *place_rows(result.environment_snapshot),
        ("model", _model_line(result)),
        ("engine", f"{result.model.engine} ({result.model.engine_version or 'version unknown'})"),
        *_process_rows(result),
        ("warm-up", _warmup_line(result)),
        *_part_rows(result),
    ]


def _what_it_did(result: ExperimentResult) -> list[tuple[str, str]]:
    return [
        ("tokens", _token_line(result)),
        ("throughput", _throughput_line(result)),
        ("peak memory", NONE if result.peak_memory_mb is None else f"{number(result.peak_memory_mb)} MB"),
        *_throttle_rows(result),
    ]


def _validity_line(result: ExperimentResult) -> str:
    why = f": {', '.join(result.validity_flags)}" if result.validity_flags else ""
    return f"the energy is {in_words(result.validity)}{why}"


def _process_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    of = result.aggregation
    return [] if of is None else [("processes", f"{of.n_processes} ({of.parallelism} parallel)")]


def _model_line(result: ExperimentResult) -> str:
    config = result.effective_config
    size = "" if result.model.n_parameters is None else f", {number(result.model.n_parameters / 1e6)} M parameters"
    model = result.model
    parts = [f"{config.get('model', 'unknown model')}{size}, {config.get('precision', 'unknown precision')}"]
    parts += [f"weights not read: {model.weights}"] if model.weights else []
    parts += [f"weights of {model.dense_from} made dense"] if model.dense_from else []
    parts += [f"adapter ({model.adapter})"] if model.adapter else []
    parts += [f"weights quantised ({model.quantization})"] if model.quantization else []
    parts += [f"batch {model.batch_size}"] if model.batch_size else []
    return ", ".join(parts)


def _warmup_line(result: ExperimentResult) -> str:
    warmup = result.warmup_result
    if not warmup.iterations_completed:
        text = "none"
    else:
        cv = "" if warmup.final_cv is None else f", CV of latency {warmup.final_cv:.3f}"
        noun = "batch" if warmup.iterations_completed == 1 else "batches"
        text = f"{warmup.iterations_completed} {noun}, not in the figures{cv}"
    if warmup.thermal_floor_wait_s:
        early = ", ended early" if warmup.thermal_floor_ended_early else ""
        return f"{text}; then {warmup.thermal_floor_wait_s:.3g} s of thermal floor{early}"
    return f"{text}; no thermal floor (energy is not sensed)"


def _token_line(result: ExperimentResult) -> str:
    limit = f"{number(result.n_cut_short)} of {number(result.n_requests)} requests ended at the limit"
    return f"{number(result.input_tokens)} in, {number(result.output_tokens)} out; {limit}"


def _throughput_line(result: ExperimentResult) -> str:
    return (
        f"{number(result.tokens_per_second)} output tok/s, {number(result.total_tokens_per_second)} total tok/s, "
        f"{number(result.requests_per_second)} req/s over {number(result.duration_sec)} s"
    )


def _latencies(result: ExperimentResult) -> str:
    """A table of the kinds of latency; empty where there are none."""
    stats = result.latency_stats
    if stats is None:
        return ""
    kinds = (("TTFT", stats.ttft_s), ("TPOT", stats.tpot_s), ("ITL", stats.itl_s), ("E2E", stats.e2e_s))
    known = [(name, found) for name, found in kinds if found is not None]
    if not known:
        return ""
    fewer = any(found.n_independent not in (None, found.n) for _, found in known)
    headers = ["latency in s", "mean", *_PERCENTILES, "n", *(["independent"] if fewer else [])]
    table = tables.plain(
        [f"{headers[0]:<{LABEL - 2}}", *headers[1:]],
        [_latency(name, found, fewer=fewer) for name, found in known],
        ["left", *_RIGHT * (len(headers) - 1)],
    )
    if stats.counted_from != "batch":
        return table
    return "\n".join([table, wrapped("", "TTFT and E2E count from the start of the batch")])


def _latency(name: str, found: Distribution, *, fewer: bool) -> list[str]:
    """The mean and those percentiles that the values support; the file has all of them."""
    percentiles = [number(found.supported.get(each)) for each in _PERCENTILES]
    n_independent = found.n if found.n_independent is None else found.n_independent
    return [name, number(found.mean), *percentiles, number(found.n), *([number(n_independent)] if fewer else [])]


def _energy_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    if result.total_energy_j is None:
        return [("energy", "none measured; see the warnings")]
    origin = result.energy_origin
    accuracy = "" if result.sensor_accuracy_pct is None else f" +-{result.sensor_accuracy_pct:g} % (sensor)"
    rows = [("energy, raw", f"{number(result.total_energy_j)} J{_open(result)}{accuracy}, {origin}")]
    if result.energy_interval_parts_j:
        parts = ", ".join(f"{name} {number(j)}" for name, j in result.energy_interval_parts_j.items() if j > 0)
        rows.append(("energy, interval", f"of +- J that add up: {parts or 'none'}"))
    rows += _beyond_idling_rows(result)
    beside = [d for d in result.energy_devices if d not in counted_devices(result.energy_devices)]
    for device in beside:
        kind = "modelled" if device.source == "modelled" else "sensed"
        by = "" if device.sensor is None else f" by {device.sensor}"
        rows.append(
            (
                f"energy, {device.device}",
                f"{number(device.energy_j)} J of {device.covers}, {kind}{by}; not in the figures here",
            )
        )
    if result.energy_host_j is not None:
        host_bound = result.energy_host_uncertainty_j
        within = "" if host_bound is None else f" +-{host_bound:.2g} J (window)"
        rows.append(("energy, host", f"{number(result.energy_host_j)} J{within}: {result.energy_host_scope}"))
    rows.append(
        (
            "energy per token",
            f"{number(result.energy_per_output_token_j)} J per output token, "
            f"{number(result.avg_energy_per_token_j)} J per token in or out{_mark(result)}",
        )
    )
    if result.instrument_cpu_s:
        share_pct = 100 * result.instrument_cpu_s / result.duration_sec
        rows.append(
            ("reading sensors", f"{result.instrument_cpu_s:.3f} s of processor time, {share_pct:.2f} % of a core")
        )
    return rows


def _beyond_idling_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    rows, breakdown = [], result.energy_breakdown
    if breakdown is not None and result.energy_adjusted_j is not None:
        left = bounded(result.energy_adjusted_j, breakdown.adjusted_uncertainty_j)
        idle = bounded(result.baseline_power_w, breakdown.baseline_power_uncertainty_w)
        rows.append(("energy, adjusted", f"{left} J after the idle baseline of {idle} W"))
    if result.energy_net_of_loaded_idle_j is not None:
        left = bounded(result.energy_net_of_loaded_idle_j, result.energy_net_of_loaded_idle_uncertainty_j)
        idle = bounded(result.idle_loaded_power_w, result.idle_loaded_power_uncertainty_w)
        rows.append(("energy, net", f"{left} J after loaded idle of {idle} W"))
    if result.dither_pause_s is not None:
        share = "" if result.dither_energy_j is None else f", about {number(result.dither_energy_j)} J of them"
        rows.append(("dither", f"{number(result.dither_pause_s)} s of pauses are in the figures{share} (loaded idle)"))
    return rows


def _open(result: ExperimentResult) -> str:
    """What the measurement leaves open of the energy: one interval, in results of before revision 5 its parts."""
    if result.energy_interval_j is not None:
        low_j, high_j = result.energy_interval_j
        return f" in {number(low_j)} to {number(high_j)} J"
    bound = "" if result.energy_uncertainty_j is None else f" +-{result.energy_uncertainty_j:.2g} J (window)"
    aliasing = "" if result.energy_aliasing_pct is None else f" +-{result.energy_aliasing_pct:.2g} % (aliasing)"
    return bound + aliasing


def _part_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    if result.measurement_methodology == "total":
        return []
    span = result.steady_state_window
    when = "" if span is None else f", {span[0]:.2f} to {span[1]:.2f} s of the run"
    left_out = f"{result.n_requests_excluded} requests before and after it are not in the figures"
    return [("measured part", f"{result.measurement_methodology.replace('_', ' ')}{when}; {left_out}")]


def _phase_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    if result.phases is None:
        return []
    return [
        (f"phase {name}", _phase_line(phase, result.energy_origin))
        for name, phase in (("prefill", result.phases.prefill), ("decode", result.phases.decode))
    ]


def _phase_line(phase: PhaseResult, origin: str) -> str:
    mark = ", modelled" if "modelled" in origin else ""
    parts = [f"{_estimate(phase.energy_j)} J{mark}"] if phase.energy_j else []
    parts += [f"{_estimate(phase.duration_sec)} s"]
    parts += [f"{_estimate(phase.power_w)} W"] if phase.power_w else []
    parts += [f"{_estimate(phase.tokens_per_second)} tok/s"] if phase.tokens_per_second else []
    return "; ".join(parts) + (
        "" if phase.status == "resolved" else "; UNRESOLVED: it may be nothing, or the sensor does not resolve it"
    )


def _estimate(found: Estimate) -> str:
    return f"{number(found.value)} ({number(found.low)} to {number(found.high)})"


def _quality_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    found = result.quality
    if found is None:
        return []
    if found.perplexity is None:
        return [("quality", f"{NONE}; see the warnings")]
    bits = "" if found.bits_per_byte is None else f", {number(found.bits_per_byte)} bits per byte"
    of = f"{number(found.n_scored_tokens)} tokens of {found.text}, {number(found.n_context_tokens)} at a time"
    return [("quality", f"perplexity {number(found.perplexity)}{bits}: {of}")]


def _flops_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    flops = result.flops_result
    if flops is None:
        return [("FLOPs", NONE)]
    rows = [("FLOPs", f"{flops.value:.2e} ({flops.method}; confidence {flops.confidence})")]
    if flops.model_flops is None or flops.prefill is None or flops.decode is None:
        return rows
    parts = [
        f"{flops.model_flops:.2e}: prefill {flops.prefill.total:.2e}, decode {flops.decode.total:.2e}",
        *([] if result.joules_per_tflop is None else [f"{number(result.joules_per_tflop)} J/TFLOP{_mark(result)}"]),
        *([] if result.mfu is None else [f"MFU {100 * result.mfu:.3g} % of dense {flops.number_format}"]),
    ]
    return [*rows, ("FLOPs, model", "; ".join(parts))]


def _mark(result: ExperimentResult) -> str:
    """What stands behind a figure that joules are in, where no sensor does."""
    return " (modelled)" if "modelled" in result.energy_origin else ""


def _throttle_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    info = result.thermal_throttle
    if info is None or not info.detected:
        return []
    why = " and ".join(name for name, on in (("heat", info.thermal), ("power cap", info.power)) if on)
    return [("throttling", f"for {info.throttle_duration_sec:.1f} s ({why or 'other reason'})")]


def _warning_lines(warnings: Sequence[str]) -> list[str]:
    if not warnings:
        return [wrapped("warnings", "none")]
    return [wrapped("warnings" if i == 0 else "", warning) for i, warning in enumerate(warnings)]
