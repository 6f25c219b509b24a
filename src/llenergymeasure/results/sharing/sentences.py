"""What was done for one result, in sentences. Every number in them is one that the result has.

What is absent is not claimed. A sentence of one kind is empty where there is nothing to say.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llenergymeasure.domain.energy.provenance import is_modelled
from llenergymeasure.domain.energy.scopes import SCOPE_NAMES
from llenergymeasure.domain.metrics import DeviceEnergy, counted_devices
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.warnings import in_words

_THOUSAND = 1000
# The digits of a float say nothing from about here on.
_HUGE = 1e15


def figure(value: float) -> str:
    """A number with four significant digits, or all of those before its point up to 1e15."""
    return f"{value:,.0f}" if _THOUSAND <= abs(value) < _HUGE else f"{value:,.4g}"


def bounded(value: float, bound: float | None, unit: str) -> str:
    """A number with its unit, and its bound where it has one."""
    return f"{figure(value)} {unit}" if bound is None else f"{figure(value)} {unit} (+-{figure(bound)} {unit})"


def _listed(names: Sequence[str]) -> str:
    """[n] names, equal ones counted."""
    return ", ".join(
        f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)
    )


def subject(result: ExperimentResult) -> str:
    """What was measured, and with what."""
    config, model = result.effective_config, result.model
    facts = [
        *([f"revision {result.model_revision}"] if result.model_revision else []),
        *([f"{model.n_parameters / 1e6:,.1f} M parameters"] if model.n_parameters is not None else []),
        *([f"weights not read from files: {model.weights}"] if model.weights else []),
        *([f"weights of {model.dense_from} made dense"] if model.dense_from else []),
        *([f"weights quantised: {model.quantization}"] if model.quantization else []),
        *([f"with an adapter: {model.adapter}"] if model.adapter else []),
    ]
    about = f" ({'; '.join(facts)})" if facts else ""
    precision = f" in {config['precision']}" if config.get("precision") else ""
    version = f" ({model.engine_version})" if model.engine_version else ", version not known,"
    tool = result.environment_snapshot.tool_version
    measured = "Energy, throughput and latency" if result.total_energy_j is not None else "Throughput and latency"
    return (
        f"{measured} of inference with {config.get('model', 'an unnamed model')}{about}{precision} under the engine "
        f"{model.engine}{version} were measured with LLenergyMeasure{f' {tool}' if tool else ', version not known'}."
    )


def machine(result: ExperimentResult) -> str:
    """Where it ran."""
    about, used = result.environment_snapshot, set(result.model.devices)
    parts = [about.cpu_model or "a processor of unknown name"]
    parts += [f"{about.n_cpus} logical CPUs"] if about.n_cpus is not None else []
    parts += [f"{about.memory_total_mb / _THOUSAND:.0f} GB of memory"] if about.memory_total_mb is not None else []
    parts += [f"driver {about.driver_version}"] if about.driver_version else []
    parts += [f"CUDA {about.cuda_version}"] if about.cuda_version else []
    parts += [f"Python {about.python_version}", about.platform]
    gpus = [gpu for gpu in about.gpus if gpu.uuid in used]
    if not used:
        return f"It ran on the CPU of {', '.join(parts)}; no GPU was used."
    names = [gpu.name for gpu in gpus] or [f"{len(used)} GPUs that the driver did not describe"]
    limits = sorted({gpu.power_limit_w for gpu in gpus if gpu.power_limit_w is not None})
    limit = f", power limit {' and '.join(f'{figure(watts)} W' for watts in limits)}" if limits else ""
    return f"It ran on {_listed(names)}{limit}, in a machine with {', '.join(parts)}."


def load(result: ExperimentResult) -> str:
    """What was asked of the model."""
    config = result.effective_config
    limits = [
        f"at most {config[name]} tokens {way}"
        for name, way in (("max_input_tokens", "in"), ("max_output_tokens", "out"))
        if config.get(name) is not None
    ]
    batch = f" in batches of {result.model.batch_size}" if result.model.batch_size else ""
    within = f" ({', '.join(limits)})" if limits else ""
    run = f"run{batch} {_decoding(config)}.{_arrivals(result)}{_processes(result)}"
    return f"Prompts were those of {_dataset(config)}{within}, {run}"


def _arrivals(result: ExperimentResult) -> str:
    """How requests came, as it was asked for."""
    asked = result.load
    if asked is None:
        return ""
    if asked.kind == "rate" and asked.asked_requests_per_second is not None:
        rate = figure(asked.asked_requests_per_second)
        return f" Requests arrived at {rate} per second on average, whatever became of those before."
    if asked.kind == "concurrency" and asked.n_asked_in_flight is not None:
        return f" {asked.n_asked_in_flight} requests were in flight at a time."
    return " Requests arrived as in a trace." if asked.kind == "trace" else " All requests arrived at once."


def _dataset(config: dict[str, Any]) -> str:
    given = config.get("dataset")
    if not isinstance(given, dict):
        return f"the data set {given}" if given else "a data set that is not named"
    if given.get("random") is not None:
        return "random tokens"
    in_memory = given.get("in_memory")
    if isinstance(in_memory, dict):
        return f"a list of {in_memory.get('n')} given in Python (SHA-256 {in_memory.get('sha256')})"
    source = next((given[name] for name in ("path", "hub", "name") if given.get(name)), None)
    return f"the data set {source}" if source else "a data set that is not named"


def _decoding(config: dict[str, Any]) -> str:
    decoder, seed = config.get("decoder"), config.get("random_seed")
    if not isinstance(decoder, dict):
        return "with a decoding that is not named"
    if decoder.get("do_sample"):
        names = ("temperature", "top_k", "top_p", "min_p")
        given = [f"{name} {decoder[name]}" for name in names if decoder.get(name) is not None]
        seeded = [] if seed is None else [f"seed {seed}"]
        return f"with sampling ({', '.join([*given, *seeded])})" if given or seeded else "with sampling"
    beams = decoder.get("num_beams")
    return f"with {beams} beams" if isinstance(beams, int) and beams > 1 else "with greedy decoding"


def _processes(result: ExperimentResult) -> str:
    of = result.aggregation
    if of is None:
        return ""
    return f" {of.n_processes} processes shared the work ({of.parallelism} parallel); together: {of.method}."


def preparation(result: ExperimentResult) -> str:
    """What came before the window."""
    warmup = result.warmup_result
    n = warmup.iterations_completed
    text = f"{n} {'run' if n == 1 else 'runs'} of warm-up came first, not counted" if n else "No warm-up came first"
    if warmup.thermal_floor_wait_s:
        early = ", ended early as temperatures had settled" if warmup.thermal_floor_ended_early else ""
        text += f"; then the loaded model idled for {figure(warmup.thermal_floor_wait_s)} s{early}"
    return f"{text}."


def window(result: ExperimentResult) -> str:
    """Which time the figures are of, and what was done in it."""
    kind = {"total": "the whole run", "windowed": "a window of the run", "steady_state": "the steady part of the run"}
    n_failed, in_flight = result.n_requests_failed, result.requests_in_flight
    failed = f", {n_failed} more failed" if n_failed else ""
    excluded = (
        f"; {result.n_requests_excluded} requests outside of it are not counted" if result.n_requests_excluded else ""
    )
    cut = "; requests that its edges cut through count with the tokens inside" if in_flight is not None else ""
    return (
        f"Tokens, time and energy are of one window of {figure(result.duration_sec)} s, "
        f"{kind[result.measurement_methodology]}, from {_utc(result.start_time)} to {_utc(result.end_time)} (UTC): "
        f"{result.n_requests} {'request' if result.n_requests == 1 else 'requests'}{failed}, "
        f"{result.input_tokens} tokens in and {result.output_tokens} out, "
        f"{figure(result.tokens_per_second)} output tokens per second{excluded}{cut}."
    )


def _utc(time: Any) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}"


def sensor(result: ExperimentResult) -> str:
    """Where the joules come from, and what they cover."""
    if result.total_energy_j is None:
        reasons = [warning.text for warning in result.warnings if warning.flag == "energy_unavailable"]
        return f"No energy was obtained{f': {reasons[0]}' if reasons else ''}."
    rows = counted_devices(result.energy_devices)
    text = f"The energy is {result.energy_origin}."
    if not rows:
        return text
    if is_modelled(rows):
        return f"{text} It is an estimate that no sensor stands behind, not to be compared with sensed energy."
    read = [*dict.fromkeys(row.field for row in rows if row.field is not None)]
    periods_s = sorted({row.update_period_s for row in rows if row.update_period_s is not None})
    new = f", new every {' or '.join(figure(s) for s in periods_s)} s" if periods_s else ""
    how = f" Read: {', '.join(read)}{new}." if read else ""
    accuracy = result.sensor_accuracy_pct
    gain = f" Its systematic error is about {accuracy:g} %, and in no interval here." if accuracy is not None else ""
    return f"{text}{how} It covers {_covered(rows)} alone.{gain}"


def _covered(rows: Sequence[DeviceEnergy]) -> str:
    covered = [row.covers for row in rows]
    names = dict.fromkeys(covered)
    several = [(covered.count(scope), SCOPE_NAMES[scope]) for scope in names]
    return " and ".join(f"{n} {name.several}" if n > 1 else f"the {name.one}" for n, name in several)


def energy(result: ExperimentResult) -> str:
    """How much it was, and what the measurement leaves open of that."""
    if result.total_energy_j is None:
        return ""
    per_token = result.energy_per_output_token_j
    each = "" if per_token is None else f", {figure(per_token)} J per output token"
    gross = "" if is_modelled(result.energy_devices) else ", idle power included"
    return f"It was {figure(result.total_energy_j)} J{each}{gross}{_left_open(result)}.{_beside(result)}"


def _left_open(result: ExperimentResult) -> str:
    if is_modelled(result.energy_devices):
        return ""
    if result.energy_interval_j is not None:
        low_j, high_j = result.energy_interval_j
        return f"; the measurement leaves open {figure(low_j)} to {figure(high_j)} J"
    if result.energy_uncertainty_j is not None:
        hidden = result.energy_aliasing_pct
        rhythm = "" if hidden is None else f" and the load's rhythm +-{hidden:.2g} %"
        return f"; window and ticks leave open +-{figure(result.energy_uncertainty_j)} J{rhythm}"
    return "; no bound of it is known"


def _beside(result: ExperimentResult) -> str:
    if result.energy_host_j is None:
        return ""
    told = bounded(result.energy_host_j, result.energy_host_uncertainty_j, "J")
    return f" Beside it, over other scopes, stand {told}: {result.energy_host_scope}."


def idle(result: ExperimentResult) -> str:
    """What is known of idling, which is not taken off the total."""
    parts, breakdown = [], result.energy_breakdown
    if breakdown is not None and breakdown.baseline_power_w is not None:
        method = {"fresh": "measured for this run", "cached": "taken from a measurement shortly before"}
        age_s = breakdown.baseline_cache_age_sec
        when = f"{method.get(breakdown.baseline_method, breakdown.baseline_method)}"
        when += f" ({figure(age_s)} s old)" if breakdown.baseline_method == "cached" and age_s is not None else ""
        power = bounded(breakdown.baseline_power_w, breakdown.baseline_power_uncertainty_w, "W")
        left = ""
        if breakdown.adjusted_j is not None:
            left = f", without which {bounded(breakdown.adjusted_j, breakdown.adjusted_uncertainty_j, 'J')} remain"
        parts.append(f"Idle power before the model was loaded was {power}, {when}{left}.")
    if result.idle_loaded_power_w is not None:
        power = bounded(result.idle_loaded_power_w, result.idle_loaded_power_uncertainty_w, "W")
        left_j, bound_j = result.energy_net_of_loaded_idle_j, result.energy_net_of_loaded_idle_uncertainty_j
        left = "" if left_j is None else f", without which {bounded(left_j, bound_j, 'J')} remain"
        parts.append(f"With the model loaded it was {power}{left}.")
    if not parts and result.total_energy_j is not None:
        return "Idle power was not measured."
    return " ".join(parts)


def others(result: ExperimentResult) -> str:
    """What else ran on the processors."""
    if result.foreign_cpu_pct is None:
        return ""
    return f"In the window other programs took {figure(result.foreign_cpu_pct)} % of the time of all processors."


def phases(result: ExperimentResult) -> str:
    """Whether prefill and decode were told apart."""
    found = result.phases
    return "" if found is None else f"Prefill and decode were told apart by {found.n_pairs} pairs of further windows."


def quality(result: ExperimentResult) -> str:
    """How well the model predicted a text, or why that is not known."""
    found = result.quality
    if found is None:
        return ""
    if found.perplexity is None:
        return f"How well the model predicts a text ({found.text}) was asked for and is not known: {found.why_not}."
    bits = "" if found.bits_per_byte is None else f" ({figure(found.bits_per_byte)} bits per byte of it)"
    return (
        f"After the measurement the model as it was loaded had a perplexity of {figure(found.perplexity)}{bits} on "
        f"{found.n_scored_tokens} tokens of a text ({found.text}, SHA-256 {found.text_digest}), in windows of "
        f"{found.n_context_tokens} tokens, {found.n_stride_tokens} apart."
    )


def verdict(result: ExperimentResult) -> str:
    """Whether the energy may be cited, and what was warned of."""
    flags = list(dict.fromkeys(warning.flag for warning in result.warnings))
    warned = f" Warnings of the tool: {', '.join(flags)}." if flags else " The tool gave no warning."
    if result.total_energy_j is None:
        return f"There is no energy to cite.{warned}"
    why = f" ({', '.join(result.validity_flags)})" if result.validity_flags else ""
    return f"By the tool's own rules this energy is {in_words(result.validity)}{why}.{warned}"


def identity(result: ExperimentResult) -> str:
    """By what others know whether they have the same model, prompts and devices."""
    known = {
        "weights": result.weights_digest,
        "adapter": result.adapter_digest,
        "draft": result.draft_digest,
        "prompts": result.prompts_digest,
        "inputs": result.inputs_digest,
    }
    told = ", ".join(f"{name} {value}" for name, value in known.items() if value)
    devices = f" Devices: {', '.join(result.model.devices)}." if result.model.devices else ""
    return f"Digests of what went in: {told}.{devices}"


def repeats(result: ExperimentResult) -> str:  # noqa: ARG001 - a sentence like the others
    """That a result is of one run."""
    return "It is a single run, so nothing is known of how far repeats would spread."


def digests(result: ExperimentResult) -> str:
    """Which result this is."""
    return (
        f"Digests: configuration {result.measurement_config_hash}, outputs {result.outputs_digest}. Format of the "
        f"result: {result.schema_version}, revision {result.schema_revision}; experiment {result.experiment_id}."
    )


# In the order of the paragraph: first what runs that were set up alike have in common, then what is of one run.
OF_A_SETUP: tuple[Callable[[ExperimentResult], str], ...] = (subject, machine, load, preparation, sensor, identity)
OF_A_RUN: tuple[Callable[[ExperimentResult], str], ...] = (
    window,
    others,
    energy,
    idle,
    phases,
    quality,
    verdict,
    repeats,
    digests,
)
