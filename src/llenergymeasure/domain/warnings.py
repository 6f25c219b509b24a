"""What a reader of a figure has to know, as values, and what follows from it for the energy."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from llenergymeasure._telling import told

Verdict = Literal["citable", "questionable", "not_citable"]

_WRITTEN = re.compile(r"([a-z][a-z0-9]*(?:_[a-z0-9]+)*): (.*)", re.DOTALL)
# Beyond it a value is written as it is.
_MOST_DECIMALS = 12
# Of a text that begins with no flag, as a sensor or an engine from elsewhere may give.
UNNAMED = "unnamed"


@dataclass(frozen=True)
class MeasurementWarning:
    """Something that was seen, and what to do about it. It informs, it never stops a measurement.

    ``device`` is the GPU's UUID, or the name of another device, where it is about a single one; ``where`` says in which
    part of the measurement it was, such as one of several processes.
    """

    flag: str
    text: str
    advice: str = ""
    device: str | None = None
    where: str = ""

    def __post_init__(self) -> None:
        # What libraries and engines from elsewhere say is in them, and they are kept with results.
        for name in ("text", "advice", "where"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, told(value))

    def __str__(self) -> str:
        """As it is written and shown: ``flag: what was seen; what to do``."""
        advice = f"; {self.advice}" if self.advice else ""
        where = f" [{self.where}]" if self.where else ""
        return f"{self.flag}: {self.text}{advice}{where}"

    @classmethod
    def of(cls, said: "MeasurementWarning | str") -> "MeasurementWarning":
        """The warning that a written text stands for; one that is a value already is itself."""
        if isinstance(said, MeasurementWarning):
            return said
        if not isinstance(said, str):
            raise TypeError(f"{said!r:.80} is no warning: give a MeasurementWarning, or a text 'flag: what was seen'")
        found = _WRITTEN.fullmatch(said)
        return cls(UNNAMED, said) if found is None else cls(found[1], found[2])

    @classmethod
    def all_of(
        cls, said: "Iterable[MeasurementWarning | str] | MeasurementWarning | str | None"
    ) -> "tuple[MeasurementWarning, ...]":
        """The warnings that somebody gives as values or texts; a single text is one of them.

        Raises:
            TypeError: these are no warnings.
        """
        return tuple(map(cls.of, [said] if isinstance(said, str | MeasurementWarning) else said or ()))


@dataclass(frozen=True)
class Flag:
    """When a flag is raised, and the best that can be said of an energy that has it."""

    when: str
    verdict: Verdict = "citable"


_NOT: Verdict = "not_citable"
_DOUBT: Verdict = "questionable"

FLAGS: Mapping[str, Flag] = {
    "energy_unavailable": Flag("there is no energy, and why", _NOT),
    "energy_modelled": Flag("no sensor stands behind the joules", _NOT),
    "codecarbon_settings": Flag(
        "CodeCarbon has read settings of a user's file or variables that nothing overrules", _DOUBT
    ),
    "load_not_settled": Flag(
        "the window of a load began when half of the arrivals were over, and it had not settled by then",
        _DOUBT,
    ),
    "load_not_steady": Flag(
        "joules per token had not become as steady as load.until_cv asks for when arrivals ended", _DOUBT
    ),
    "trace_lengths_cut": Flag("requests of a trace were longer than the experiment lets them be, and were cut"),
    "trace_answers_may_end": Flag("answers may end before they are as long as in the trace of arrivals"),
    "idle_unavailable": Flag("the sensor may be a model, so idle power was not measured"),
    "absurd_power": Flag("power readings were zero, negative or far over the limit, and count as failed", _NOT),
    "power_may_be_stuck": Flag(
        "20 power readings of a GPU or more were all the same, and no energy counter stands beside them; or 20 in a "
        "row of a CPU's power meter, over 10 s or more",
        _DOUBT,
    ),
    "energy_counter_refused": Flag(
        "a GPU's energy counter went back, jumped, stood still, failed or covers its module, and sampled power took "
        "its place",
        _DOUBT,
    ),
    "zeus_refused": Flag("Zeus gave no figure that can be believed; NVML's is the one that counts", _DOUBT),
    "counter_disagreement": Flag(
        "a GPU's counter and its power are over 5 % apart, and more than their bounds explain; or Zeus and the timed "
        "counter are, and more than the ticks at both ends explain",
        _DOUBT,
    ),
    "energy_witness_unavailable": Flag(
        "only one reading of a GPU came through, or the other was taken too seldom, so nothing checks it", _DOUBT
    ),
    "sensor_sees_part_of_the_time": Flag(
        "nothing that was read of a GPU is known to see all of the time; "
        "[what that leaves open](methodology.md#part-time-sensors)"
    ),
    "wide_energy_bound": Flag("the bound of the energy is over 5 % of it", _DOUBT),
    "energy_of_a_part": Flag(
        "a device that several processes use was read by none of them for 99 % of the time or more", _NOT
    ),
    "windows_do_not_overlap": Flag("several processes did not measure at the same time", _NOT),
    "uneven_processes": Flag(
        "of several processes some ended more than a tenth of the time before the others, or began later; what their "
        "devices took meanwhile is not in the total",
        _DOUBT,
    ),
    "node_unmeasured": Flag("a node of an experiment was measured by another kind of sensor than the first", _NOT),
    "node_measured_longer": Flag(
        "a node that takes part in an experiment was measured for over 5 % longer than the window; what it takes while "
        "idling was taken off for that time"
    ),
    "energy_span_differs": Flag(
        "a sensor took its joules over a time that is more than 1 % off the window's", _DOUBT
    ),
    "not_in_the_total": Flag("a sensor of a row beside the total failed, or showed the counter of another socket"),
    "short_measurement_duration": Flag("the window is under 10 s", _DOUBT),
    "few_sensor_periods": Flag(
        "the window is under 20 update periods of the slowest sensor in the total", _DOUBT
    ),
    "nvml_low_sample_count": Flag("a GPU gave fewer than 10 power readings", _DOUBT),
    "aliasing": Flag(
        "tokens come in step with a power sensor that looks only part of the time; "
        "[how it is worked out](methodology.md#part-time-sensors)",
        _DOUBT,
    ),
    "foreign_load": Flag(
        "programs beside the measurement took over 5 % of the machine's processors in the window", _DOUBT
    ),
    "foreign_load_high": Flag(
        "programs beside the measurement took over 10 % of the machine's processors in the window", _NOT
    ),
    "neighbours_in_energy": Flag(
        "the joules are of more than the job was given: of a host of which it has a part, or on which its scheduler "
        "may run others, or of a GPU that is given in shards; [what is read](methodology.md#parts-of-a-node)",
        _DOUBT,
    ),
    "foreign_process": Flag(
        "another process was on a GPU in use, before loading or at the end; where the driver lists the processes of "
        "another PID namespace (a container), only one that was there before loading is known to be foreign",
        _DOUBT,
    ),
    "gpu_throttled": Flag("clocks were lowered in the window: by heat, or by the power cap or brake", _DOUBT),
    "thermal_drift_detected": Flag("a GPU's temperature moved by more than 10 C in the window", _DOUBT),
    "thermal_floor_ended_early": Flag(
        "`warmup.thermal_floor_early_end` was set, and the floor ended before its time"
    ),
    "telemetry_unavailable": Flag("the state of the GPUs could not be read, so throttling is not known", _DOUBT),
    "baseline_drift": Flag("a cached idle baseline was over 10 % off and was measured again", _DOUBT),
    "thermal_not_settled": Flag(
        "`warmup.thermal_settle_max_s` was over before every GPU's temperature had settled", _DOUBT
    ),
    "idle_unsteady": Flag(
        "load of others was seen in a window of idling by its power: adjusted or net energy have a bound that reaches "
        "to it",
        _DOUBT,
    ),
    "idle_changed": Flag(
        "idle power was another one after the window than before it, or less with the model loaded than without: "
        "others were at work on the device",
        _DOUBT,
    ),
    "baseline_unavailable": Flag("the idle baseline could not be measured, or not be taken off, and why"),
    "loaded_idle_unavailable": Flag(
        "the power of idling with the model loaded could not be measured, or not be taken off, and why"
    ),
    "negative_adjusted_energy": Flag("the idle baseline took more power than the measurement", _DOUBT),
    "power_cap_below_default": Flag("the power limit in force is under the card's default"),
    "power_limit_reached": Flag("the power limit that `device.power_limit_w` asks for lowered the clocks"),
    "device_setting_differs": Flag(
        "a knob that `device` asks for was not read back as asked: the power limit each time, a clock at least once",
        _DOUBT,
    ),
    "gpu_persistence_mode_off": Flag("the driver may unload between runs"),
    "host_bound": Flag("a GPU was busy for less than 80 % of the window"),
    "gpus_not_used": Flag(
        "GPUs are visible, and the engine runs on the CPU, such as a torch that is built without CUDA"
    ),
    "slow_precision": Flag(
        "a number format is emulated: bf16 on GPUs before Ampere and on CPUs without its instructions, bitsandbytes' "
        "8 bits before Turing, fp16 on a CPU without it"
    ),
    "warmup_not_converged": Flag("latencies never became steady in warm-up", _DOUBT),
    "warmup_failed": Flag("no run of the warm-up succeeded, so the engine was measured cold", _DOUBT),
    "compiled_in_window": Flag("torch compiled in the window, which is no inference", _DOUBT),
    "prompt_cache_used": Flag(
        "tokens of prompts were taken from an engine's cache, as `llamacpp.cache_prompt` allows, and not computed"
    ),
    "prompt_cache_on": Flag(
        "an engine was told to keep prompts for others that begin alike, as by `vllm.enable_prefix_caching`"
    ),
    "prompts_in_pieces": Flag("prompts may be longer than what an engine reads of one in a step"),
    "answers_end_by_chance": Flag("the weights are drawn and not read, and the end token ends an answer"),
    "requests_queue": Flag("an engine is given more requests at once than it was told to run at a time"),
    "tokens_in_groups": Flag(
        "an engine tells several tokens at a time, because they are drafted or held back, so that the time between "
        "tokens is that of groups"
    ),
    "not_as_deployed": Flag("an engine runs without what makes it fast where it serves, such as compilation"),
    "tokens_untold": Flag(
        "llama.cpp did not tell all token ids of an answer that ends, or has a token that ends, inside of a character; "
        "tokens are counted and timed, and the digest of such an answer is not that of another engine"
    ),
    "server_not_ours": Flag(
        "the server was running before and was not started for the experiment: what it held is in the idle baseline, "
        "and what it is is known by its own word",
        _DOUBT,
    ),
    "server_elsewhere": Flag("the server is on another machine, whose energy no sensor here reads", _NOT),
    "tokens_retokenised": Flag(
        "a server told no usage, and the text of its answers was tokenised again to count their tokens", _DOUBT
    ),
    "usage_contradicts": Flag("a server told other numbers of tokens than it sent; its usage counts", _DOUBT),
    "prompt_tokens_differ": Flag("a server read another number of tokens of a prompt than it was sent"),
    "window_not_reached": Flag("the run was too short for the window that was to be measured", _DOUBT),
    "steady_state_not_reached": Flag("throughput never became steady", _DOUBT),
    "requests_failed": Flag("some requests failed, no more than one or 1 % of them; their rows say why"),
    "requests_failed_above_share": Flag("over 1 % of the requests failed, under arrivals at their own times", _NOT),
    "overloaded": Flag(
        "requests in flight grew through the window, so more came than was served and there is no steady state; "
        "[the rule](methodology.md#overload)",
        _NOT,
    ),
    "sending_late": Flag(
        "requests were sent later than they were due, on average by over 1 % of the mean time between them", _DOUBT
    ),
    "engine_unproven": Flag(
        "the engine was tested against a recorded shape of its library's API only, and is not yet run on hardware",
        _DOUBT,
    ),
    "random_weights": Flag("the weights were drawn and not read; power depends on the values multiplied", _DOUBT),
    "sampling_not_seeded": Flag(
        "an engine draws from a generator of its own, so that the same seed may give other answers"
    ),
    "weights_left_out": Flag(
        "the files have tensors that the model of config.json has no place for, such as those of a whole layer", _DOUBT
    ),
    "beyond_context": Flag(
        "a request had more tokens than the model was made for, `max_position_embeddings` of its configuration; what "
        "it answers is not what it was trained for"
    ),
    "batch_changes_tokens": Flag(
        "requests of a batch get other tokens than each would get alone, as with recurrent models that read padding",
        _DOUBT,
    ),
    "generation_config_overridden": Flag("settings that the model brings along were not followed"),
    "prompts_truncated": Flag("prompts were cut to `max_input_tokens`"),
    "prompts_not_truncated": Flag(
        "an engine that tokenises itself read prompts of more than `max_input_tokens`"
    ),
    "system_merged": Flag(
        "the model's chat template takes no system message, which was put before the first message of the user"
    ),
    "tool_calls_left_out": Flag("the model's chat template does not write the tool calls of some prompts"),
    "template_date_fixed": Flag(
        "the model's chat template asks for the date, and is told the same one in every run (2025-01-01)"
    ),
    "dataset_too_small": Flag("there are fewer prompts than `n`"),
    "dither_left_out": Flag("`measurement.dither_s` was set, and the load has no pauses between batches"),
    "dormant_fields": Flag("settings that change nothing as the others are"),
    "memory_tight": Flag(
        "the estimate is above what is free; only before a run, in the log and with `--dry-run`"
    ),
    "phases_disturbed": Flag(
        "programs beside the measurement took over 5 % of the processors while prefill and decode were told apart"
    ),
    "phases_unresolved": Flag(
        "the interval of prefill or of decode reaches down to zero, or its windows are shorter than what the sensor "
        "resolves"
    ),
    "phases_without_bound": Flag("the intervals of the phases hold no bound of the sensor"),
    "phases_unavailable": Flag("prefill and decode were not measured apart, and why"),
    "quality_unavailable": Flag("the perplexity of a text was asked for and could not be worked out, and why"),
    "flops_unavailable": Flag("FLOPs could not be counted, and why"),
    "peak_memory_unavailable": Flag("the engine could not tell its memory, and why"),
    "model_revision_unavailable": Flag("the commit of the model could not be read, and why"),
    "weights_digest_unavailable": Flag(
        "weight files could not be read again after loading, or are of an unknown kind"
    ),
    "adapter_digest_unavailable": Flag("the same of an adapter's files"),
    "draft_digest_unavailable": Flag("the same of a draft's files"),
    "engine_cautions_unavailable": Flag("the engine failed when it was asked for its cautions"),
    "engine_environment_unavailable": Flag("the engine failed when it was asked for facts of its environment"),
    "engine_unload_failed": Flag("the engine failed while it gave the model's memory back, after the measurement"),
    "engine_warnings_unavailable": Flag("the engine failed when it was asked for its warnings"),
    "sidecar_not_written": Flag("a file beside the result could not be written"),
}  # fmt: skip

_BEST_FIRST: tuple[Verdict, ...] = ("citable", "questionable", "not_citable")


def flag_of(said: str) -> str:
    """The flag of a warning as it is written; ``unnamed`` where it begins with none."""
    found = _WRITTEN.fullmatch(said)
    return UNNAMED if found is None else found[1]


def on_its_side(value: float, limit: float, decimals: int) -> str:
    """A value with so many decimals, or with as many as keep it on its side of a limit: 9.999 is not 10.0, under 10."""
    for more in range(decimals, _MOST_DECIMALS):
        text = f"{value:.{more}f}"
        if (float(text) < limit, float(text) > limit) == (value < limit, value > limit):
            return text
    return repr(value)


def in_words(verdict: Verdict) -> str:
    """As people read it: ``not citable``."""
    return verdict.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Validity:
    """Whether the energy may be cited, and the flags that decided it."""

    verdict: Verdict
    decided_by: tuple[str, ...] = ()


def validity_of(flags: Iterable[str]) -> Validity:
    """The worst that any flag allows, and the flags that are as bad; those that nobody knows decide nothing.

    Args:
        flags: those of the warnings of a result, in their order.
    """
    known = {flag: FLAGS[flag].verdict for flag in flags if flag in FLAGS}
    worst: Verdict = max(known.values(), key=_BEST_FIRST.index, default="citable")
    if worst == "citable":
        return Validity(verdict="citable")
    return Validity(verdict=worst, decided_by=tuple(flag for flag, verdict in known.items() if verdict == worst))


def validity_of_energy(said: Iterable[object], total_j: object, *, modelled: bool) -> Validity:
    """Whether an energy may be cited, from what stands beside it alone.

    Args:
        said: the warnings of a result as they are written.
        total_j: its energy, None where there is none.
        modelled: whether no sensor is behind that.
    """
    flags = [flag_of(str(text)) for text in said]
    if total_j is None:
        flags.append("energy_unavailable")
    elif modelled:
        flags.append("energy_modelled")
    return validity_of(flags)
