"""Whether two runs should have said the same, where they did not."""

from collections.abc import Iterator, Mapping
from typing import Any

from llenergymeasure.config.engines.registry import section_class
from llenergymeasure.domain.equivalence import OutputComparison
from llenergymeasure.domain.result import ExperimentResult

# The number format in which engines are held to say the same: in fewer bits two kernels that are both right often take
# another one of two likely tokens for the likelier.
EXACT = "fp32"
# The weights that decide what is said. A draft's do not: the model checks its tokens.
WEIGHTS = ("weights_digest", "adapter_digest")


def is_greedy(config: Mapping[str, Any]) -> bool:
    """Whether a resolved configuration always takes the likeliest token."""
    decoder = config.get("decoder") or {}
    return decoder.get("do_sample") is False and decoder.get("num_beams") == 1


def decoding_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a resolved configuration says of how tokens are chosen, and of how many there are at most."""
    decoder = {name: value for name, value in (config.get("decoder") or {}).items() if name != "preset"}
    return {**decoder, "max_output_tokens": config.get("max_output_tokens")}


def why_they_may_differ(first: ExperimentResult, second: ExperimentResult, found: OutputComparison) -> str | None:
    """Why two runs need not have said the same; None where they were to: one model, one text, one way to read it.

    Args:
        first: a run.
        second: another of the same prompts.
        found: their outputs compared.
    """
    runs = (first, second)
    if not all(is_greedy(run.effective_config) for run in runs):
        return "not greedy"
    if decoding_of(first.effective_config) != decoding_of(second.effective_config):
        return "other decoding"
    weights, of_other = ([getattr(run, name) for name in WEIGHTS] for run in runs)
    if any(run.model.weights is not None for run in runs):
        return "weights that were drawn"
    if None in (weights[0], of_other[0]):
        return "it is not known which weights they read"
    if found.n_inputs_by_length:
        return "inputs known by their length only"
    reasons = dict.fromkeys(reason for run in runs for reason in _of_one(run))
    if weights != of_other:
        reasons["other weight files"] = None
    return ", ".join(reasons) or None


def _of_one(run: ExperimentResult) -> Iterator[str]:
    """What keeps a run from saying what the weights say in fp32."""
    config, model = run.effective_config, run.model
    if model.quantization is not None:
        yield f"quantised: {model.quantization}"
    elif config.get("precision") != EXACT:
        yield str(config.get("precision"))
    else:
        known = None if run.flops_result is None else run.flops_result.number_format
        if known is None and model.devices:
            yield "number format not known"
        elif known not in (None, EXACT):
            yield str(known)
    engine = str(config.get("backend"))
    section, values = section_class(engine), config.get(engine) or {}
    for name in section.altering(values) if section is not None else ():
        yield f"{engine}.{name}"
    if config.get("passthrough_kwargs"):
        yield "passthrough_kwargs"
