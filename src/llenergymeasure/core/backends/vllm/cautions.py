"""What will run under vLLM, and not as one would think."""

from collections.abc import Iterator

from llenergymeasure.config.engines import VLLMConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.cautions import emulated_on_the_cpu
from llenergymeasure.core.backends.vllm.parameters import section_of
from llenergymeasure.domain.warnings import MeasurementWarning


def cautions_of(
    config: ExperimentConfig, *, on_cpu: bool = False, native: frozenset[str] | None = None
) -> Iterator[MeasurementWarning]:
    """One for each thing that a reader of the figures should know.

    Args:
        config: the experiment.
        on_cpu: whether the installed vLLM is made for CPUs.
        native: number formats that the CPU does not emulate; None is not known.
    """
    section = section_of(config)
    if on_cpu:
        yield from emulated_on_the_cpu(config.precision, native)
    yield from _of_prompts(config, section)
    yield from _of_answers(config, section)
    yield from _of_speed(config, section, on_cpu=on_cpu)


def _of_prompts(config: ExperimentConfig, section: VLLMConfig) -> Iterator[MeasurementWarning]:
    if section.enable_prefix_caching:
        yield MeasurementWarning(
            "prompt_cache_on",
            "of prompts that begin alike, vLLM computes what they share once (vllm.enable_prefix_caching), the chat "
            "template's beginning among it, so energy and time to a first token are not those of whole prompts",
            "remove it to have every prompt read",
        )
    drawn, most = config.dataset.random, config.max_input_tokens
    longest = most if drawn is None else drawn.input_tokens.span(most)[1]
    limits = {name: getattr(section, name) for name in ("max_num_batched_tokens", "long_prefill_token_threshold")}
    limits = {name: limit for name, limit in limits.items() if limit is not None and limit < longest}
    if limits and section.enable_chunked_prefill is not False:
        name = min(limits, key=lambda each: limits[each])
        yield MeasurementWarning(
            "prompts_in_pieces",
            f"vllm.{name} is {limits[name]}, and prompts have up to {longest} tokens: longer ones than it are read in "
            "several steps, each of which waits for the others' tokens",
            "raise it where prompts are to be read at once",
        )


def _of_answers(config: ExperimentConfig, section: VLLMConfig) -> Iterator[MeasurementWarning]:
    if section.load_format == "dummy" and not config.decoder.ignore_eos and config.dataset.random is None:
        yield MeasurementWarning(
            "answers_end_by_chance",
            "the weights are drawn (vllm.load_format: dummy) and the end token ends an answer, so how long answers get "
            "is chance",
            "set decoder.ignore_eos: true",
        )
    at_a_time = [n for n in (section.max_num_seqs, section.max_num_active_seqs) if n is not None]
    if at_a_time and config.n > min(at_a_time):
        yield MeasurementWarning(
            "requests_queue",
            f"vLLM is given {config.n} requests at once and runs {min(at_a_time)} at a time: what the others wait is "
            "in their time to a first token",
            "read that as time in a queue, or raise vllm.max_num_seqs",
        )
    drafts = section.spec_method is not None or section.spec_model is not None
    if drafts or (section.stream_interval or 1) > 1:
        cause = "tokens are drafted" if drafts else f"vllm.stream_interval is {section.stream_interval}"
        yield MeasurementWarning(
            "tokens_in_groups",
            f"{cause}, so that several are there at a time, and the time between tokens is zero within a group",
            "go by the time per output token",
        )


def _of_speed(config: ExperimentConfig, section: VLLMConfig, *, on_cpu: bool) -> Iterator[MeasurementWarning]:
    given = {"enforce_eager": section.enforce_eager, "optimization_level": section.optimization_level == 0,
             "compilation_mode": section.compilation_mode == 0}  # fmt: skip
    off = next((name for name, is_off in given.items() if is_off), None)
    if off is not None:
        yield MeasurementWarning(
            "not_as_deployed",
            f"vllm.{off}: {str(getattr(section, off)).lower()} has vLLM compile nothing, which takes more time and "
            "energy for a token than vLLM's own default",
            "remove it to measure what people run",
        )
    elif on_cpu and config.lora is not None:
        yield MeasurementWarning(
            "not_as_deployed",
            "on a CPU vLLM compiles nothing beside an adapter, so it is slower by more than the adapter's own work",
            "hold it against a run without the adapter that has vllm.enforce_eager: true",
        )
