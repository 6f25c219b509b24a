"""Results and machines as plain text. A number is never shown without where it comes from."""

import json
import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

import yaml
from tabulate import tabulate

from llenergymeasure.config.hashing import measurement_config_hash
from llenergymeasure.config.loader import FieldOrigin
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.core.energy_backends import SourceStatus
from llenergymeasure.core.gpu_info import VisibleGpus
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.equivalence import Difference, OutputComparison
from llenergymeasure.domain.experiment import ExperimentResult, StudyResult
from llenergymeasure.domain.metrics import Distribution, counted_devices
from llenergymeasure.domain.phases import Estimate, PhaseResult
from llenergymeasure.orchestration.inspection import Availability
from llenergymeasure.orchestration.memory_fit import MemoryFit, parts_of

_WIDTH = 110
_LABEL = 22
_NONE = "-"
_MOST_DIFFERENCES = 5


def experiment(result: ExperimentResult, directory: Path | None) -> str:
    """One result as a two-column table."""
    rows = [
        ("environment", _environment_line(result.environment_snapshot)),
        ("model", _model_line(result)),
        ("engine", f"{result.model.engine} ({result.model.engine_version or 'version unknown'})"),
        ("warm-up", _warmup_line(result)),
        *_part_rows(result),
        ("tokens", _token_line(result)),
        ("throughput", _throughput_line(result)),
        *_latency_rows(result),
        *_energy_rows(result),
        *_phase_rows(result),
        *_flops_rows(result),
        ("peak memory", _NONE if result.peak_memory_mb is None else f"{result.peak_memory_mb:,.0f} MB"),
        *_throttle_rows(result),
    ]
    lines = [f"{label:<{_LABEL}}{value}" for label, value in rows]
    lines += _warning_lines(result.measurement_warnings)
    lines.append(f"{'result':<{_LABEL}}{directory or 'not written (no output folder)'}")
    return "\n".join(lines)


def study(result: StudyResult) -> str:
    """A row per experiment, failures and warnings below."""
    headers = [
        "experiment",
        "requests",
        "out tok",
        "out tok/s",
        "TTFT p50 s",
        "energy J",
        "J/out tok",
        "origin",
        "output",
    ]
    letters = _output_letters(result.experiments)
    rows = [
        [
            r.name,
            r.n_requests,
            r.output_tokens,
            f"{r.tokens_per_second:.1f}",
            _seconds(r.latency_stats.ttft_s.p50 if r.latency_stats and r.latency_stats.ttft_s else None),
            _number(r.total_energy_j),
            _number(r.energy_per_output_token_j),
            r.energy_origin,
            letter,
        ]
        for r, letter in zip(result.experiments, letters, strict=True)
    ]
    rows += [[f.name, "failed", *[_NONE] * 7] for f in result.failures]
    lines = [tabulate(rows, headers=headers, disable_numparse=True)]
    if any(letter != _NONE for letter in letters):
        lines.append(
            "output: equal letters are equal tokens for the same prompts; llem compare A B tells how much differs"
        )
    for failure in result.failures:
        lines.append(f"failed: {failure.name}: {failure.error_type}: {failure.message}")
        if result.output_dir is not None:
            lines.append(f"        log: {result.output_dir}/runs/{failure.slot:04d}-*/attempt-1/log.txt")
    flags = {w.split(":")[0] for r in result.experiments for w in r.measurement_warnings}
    if flags:
        lines.append(f"warnings: {', '.join(sorted(flags))} (texts are in each result.json)")
    lines.append(f"{result.n_experiments} experiments, {len(result.failures)} failed")
    lines.append(f"results: {result.output_dir or 'not written (no output folder)'}")
    return "\n".join(lines)


def _output_letters(results: Sequence[ExperimentResult]) -> list[str]:
    """A letter for each distinct output of the same prompts, such as A or B2; none where nothing can be compared."""
    prompts = Counter(r.prompts_digest for r in results)
    groups = [digest for digest, n in prompts.items() if n > 1]
    found: dict[tuple[str, str], str] = {}
    letters = []
    for r in results:
        if r.prompts_digest not in groups:
            letters.append(_NONE)
            continue
        key = (r.prompts_digest, r.outputs_digest)
        if key not in found:
            n_known = sum(prompts_digest == r.prompts_digest for prompts_digest, _ in found)
            group = groups.index(r.prompts_digest)
            found[key] = _letter(n_known) + (str(group + 1) if len(groups) > 1 else "")
        letters.append(found[key])
    return letters


def _letter(number: int) -> str:
    """A to Z, then AA, AB and so on."""
    more, own = divmod(number, len(ascii_uppercase))
    return (_letter(more - 1) if more else "") + ascii_uppercase[own]


def plan(config: ExperimentConfig | StudyConfig, notes: Sequence[Sequence[str]]) -> str:
    """What would run, with every default filled in, and what there is to note of each experiment."""
    experiments = config.experiments if isinstance(config, StudyConfig) else [config]
    parts = []
    for number, (item, lines) in enumerate(zip(experiments, notes, strict=True), 1):
        resolved = {key: value for key, value in item.resolved().items() if key != "output_dir"}
        head = f"# experiment {number} of {len(experiments)}, hash {measurement_config_hash(item)}"
        head = "\n# ".join([head, *lines])
        parts.append(f"{head}\n{yaml.safe_dump(resolved, sort_keys=False, allow_unicode=False).strip()}")
    parts.append(f"# everything needed is here; results would go to {config.output_dir}; nothing was run")
    return "\n".join(parts)


def machine(
    environment: EnvironmentSnapshot,
    *,
    visible: VisibleGpus,
    engines: Sequence[Availability],
    sources: Sequence[SourceStatus],
    models: Sequence[Availability],
    verbose: bool,
) -> str:
    """What this machine can measure with."""
    lines = [f"{'machine':<{_LABEL}}{_environment_line(environment)}"]
    if not environment.gpus:
        lines.append(f"{'GPUs':<{_LABEL}}none (no NVIDIA driver answered)")
    for gpu in environment.gpus:
        memory = "" if gpu.memory_total_mb is None else f", {gpu.memory_total_mb / 1000:.0f} GB"
        hidden = "" if gpu.uuid in visible.uuids else ", hidden by CUDA_VISIBLE_DEVICES"
        lines.append(f"{'GPU ' + str(gpu.index):<{_LABEL}}{gpu.name}{memory}, {gpu.uuid}{hidden}")
    if visible.problem:
        lines.append(f"{'':<{_LABEL}}{visible.problem}")
    on_cpu = "usable, on the CPU only: it is built without CUDA, so no GPU is used or measured"
    lines += [_status("engine " + e.name, e.problem, on_cpu if e.uses_gpus is False else "usable") for e in engines]
    for source in sources:
        kind = "modelled, not sensed" if source.source.modelled else "sensed"
        lines.append(_status("energy " + source.name, source.problem, f"usable ({kind})"))
    best = next((s.name for s in sources if s.problem is None), "none: results will have no energy")
    lines.append(f"{'energy auto':<{_LABEL}}{best}")
    lines += [_status("packaged model", m.problem, m.name) for m in models]
    if verbose:
        lines += [f"{'package':<{_LABEL}}{name} {version}" for name, version in environment.packages.items()]
    return "\n".join(lines)


def user_file(path: Path) -> str:
    """Where the user's defaults are looked for."""
    return f"{'user file':<{_LABEL}}{path}{'' if path.exists() else ' (none yet)'}"


def defaults(origins: Sequence[FieldOrigin]) -> str:
    """Every field with the value it has unless an experiment says otherwise, and where that comes from."""
    rows = [(o.name, json.dumps(o.value), o.origin) for o in origins]
    return "\n" + tabulate(rows, headers=("field", "default here", "from"), disable_numparse=True)


def comparison(found: OutputComparison) -> str:
    """Whether two runs said the same, and where they first did not."""
    share = f"{found.n_equal_tokens} of {found.n_tokens} ({100 * found.equal_token_share:.2f} %)"
    lines = [
        f"{'requests':<{_LABEL}}{found.n_identical} of {found.n_requests} have identical outputs",
        f"{'tokens':<{_LABEL}}{share} are equal up to the first difference of their answer",
        *(_difference_line(d) for d in found.differences[:_MOST_DIFFERENCES]),
    ]
    more = len(found.differences) - _MOST_DIFFERENCES
    lines += [f"{'':<{_LABEL}}and {more} more"] if more > 0 else []
    return "\n".join([*lines, f"{'outputs':<{_LABEL}}{'identical' if found.identical else 'NOT identical'}"])


def _difference_line(found: Difference) -> str:
    tokens = [str(token) if token is not None else "the end" for token in (found.first, found.second)]
    answer = f", answer {found.answer}" if found.answer else ""
    where = f"request {found.index}{answer}, token {found.position}"
    return f"{'differs':<{_LABEL}}{where}: {tokens[0]} in the first, {tokens[1]} in the second"


def memory_lines(fit: MemoryFit) -> list[str]:
    """What an experiment will hold in memory, part by part, and what there is of it."""
    estimate, free = fit.estimate, fit.free
    free_mb = "what is free is not known" if free.free_mb is None else f"{free.free_mb:,.0f} MB are free"
    if estimate is None:
        return [f"memory: not known for this model; {free_mb} {free.where}"]
    least = "at least " if estimate.total_mb is None else ""
    needed_mb = estimate.certain_mb if estimate.total_mb is None else estimate.total_mb
    fits = "" if free.free_mb is None or needed_mb > free.free_mb else ": it fits"
    return [
        f"memory: {least}{needed_mb:,.0f} MB ({parts_of(estimate)})",
        *(f"memory: unknown {line}" for line in estimate.unknown),
        f"memory: {free_mb} {free.where}{fits}",
    ]


def _status(label: str, problem: str | None, good: str = "usable") -> str:
    text = good if problem is None else f"not usable: {problem}"
    return _wrapped(label, text)


def _wrapped(label: str, text: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _environment_line(environment: EnvironmentSnapshot) -> str:
    memory = "" if environment.memory_total_mb is None else f", {environment.memory_total_mb / 1000:.0f} GB"
    gpus = ", ".join(gpu.name for gpu in environment.gpus) or "no GPU"
    driver = f", driver {environment.driver_version}" if environment.driver_version else ""
    return (
        f"{environment.cpu_model or 'unknown CPU'}, {environment.n_cpus} CPUs{memory}, {gpus}{driver}, "
        f"Python {environment.python_version}"
    )


def _model_line(result: ExperimentResult) -> str:
    config = result.effective_config
    size = "" if result.model.n_parameters is None else f", {result.model.n_parameters / 1e6:,.1f} M parameters"
    parameters = result.model.parameters or {}
    batch, quantised = parameters.get("batch_size"), parameters.get("quantization")
    parts = [f"{config['model']}{size}, {config['precision']}"]
    parts += [f"weights quantised ({quantised})"] if quantised else []
    parts += [f"batch {batch}"] if batch else []
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
        return f"{text}; then {warmup.thermal_floor_wait_s:.4g} s of thermal floor{early}"
    return f"{text}; no thermal floor (energy is not sensed)"


def _token_line(result: ExperimentResult) -> str:
    limit = f"{result.n_cut_short} of {result.n_requests} requests ended at the limit"
    return f"{result.input_tokens} in, {result.output_tokens} out; {limit}"


def _throughput_line(result: ExperimentResult) -> str:
    return (
        f"{result.tokens_per_second:.1f} output tok/s, {result.total_tokens_per_second:.1f} total tok/s, "
        f"{result.requests_per_second:.2f} req/s over {result.duration_sec:.2f} s"
    )


def _latency_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    stats = result.latency_stats
    if stats is None:
        return []
    kinds = (("TTFT", stats.ttft_s), ("TPOT", stats.tpot_s), ("ITL", stats.itl_s), ("E2E", stats.e2e_s))
    return [(f"latency {name}", _distribution(d)) for name, d in kinds if d is not None]


def _distribution(d: Distribution) -> str:
    return f"mean {_seconds(d.mean)}, p50 {_seconds(d.p50)}, p90 {_seconds(d.p90)}, p99 {_seconds(d.p99)} s"


def _energy_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    if result.total_energy_j is None:
        return [("energy", "none measured; see the warnings")]
    origin = result.energy_origin
    bound = "" if result.energy_uncertainty_j is None else f" +-{_number(result.energy_uncertainty_j)} J (window)"
    accuracy = "" if result.sensor_accuracy_pct is None else f" +-{result.sensor_accuracy_pct:g} % (sensor)"
    aliasing = "" if result.energy_aliasing_pct is None else f" +-{result.energy_aliasing_pct:.2g} % (aliasing)"
    rows = [("energy, raw", f"{_number(result.total_energy_j)} J{bound}{accuracy}{aliasing}, {origin}")]
    if result.energy_adjusted_j is not None:
        rows.append(
            (
                "energy, adjusted",
                f"{_number(result.energy_adjusted_j)} J after the idle baseline of "
                f"{_number(result.baseline_power_w)} W",
            )
        )
    if result.energy_net_of_loaded_idle_j is not None:
        rows.append(
            (
                "energy, net",
                f"{_number(result.energy_net_of_loaded_idle_j)} J after loaded idle of "
                f"{_number(result.idle_loaded_power_w)} W",
            )
        )
    beside = [d for d in result.energy_devices if d not in counted_devices(result.energy_devices)]
    for device in beside:
        kind = "modelled" if device.source == "modelled" else "sensed"
        rows.append((f"energy, {device.device}", f"{_number(device.energy_j)} J, {kind}; not in the figures here"))
    rows.append(
        (
            "energy per token",
            f"{_number(result.energy_per_output_token_j)} J per output token, "
            f"{_number(result.avg_energy_per_token_j)} J per token in or out{_mark(result)}",
        )
    )
    if result.instrument_cpu_s:
        share_pct = 100 * result.instrument_cpu_s / result.duration_sec
        rows.append(
            ("reading sensors", f"{result.instrument_cpu_s:.3f} s of processor time, {share_pct:.2f} % of a core")
        )
    return rows


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
    return "; ".join(parts) + ("" if phase.status == "resolved" else "; UNRESOLVED: the interval includes zero")


def _estimate(found: Estimate) -> str:
    return f"{_number(found.value)} ({_number(found.low)} to {_number(found.high)})"


def _flops_rows(result: ExperimentResult) -> list[tuple[str, str]]:
    flops = result.flops_result
    if flops is None:
        return [("FLOPs", _NONE)]
    rows = [("FLOPs", f"{flops.value:.3e} ({flops.method}; confidence {flops.confidence})")]
    if flops.model_flops is None or flops.prefill is None or flops.decode is None:
        return rows
    parts = [
        f"{flops.model_flops:.3e}: prefill {flops.prefill.total:.3e}, decode {flops.decode.total:.3e}",
        *([] if result.joules_per_tflop is None else [f"{_number(result.joules_per_tflop)} J/TFLOP{_mark(result)}"]),
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
        return [f"{'warnings':<{_LABEL}}none"]
    return [_wrapped("warnings" if i == 0 else "", warning) for i, warning in enumerate(warnings)]


def _seconds(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4f}" if value < 1 else f"{value:.3f}"


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004
