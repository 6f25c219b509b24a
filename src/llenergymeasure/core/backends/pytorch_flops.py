"""Floating-point operations of what ``generate`` did."""

from dataclasses import replace
from typing import Any

from llenergymeasure.core.flops import estimate_flops_palm
from llenergymeasure.domain.inference import InferenceOutput
from llenergymeasure.domain.metrics import FlopsResult


def generation_flops(model: Any, output: InferenceOutput, generation: Any, *, has_draft: bool) -> FlopsResult:
    """2 N per token over all requests of ``output``, every beam counted; drafts and guidance are not.

    Args:
        model: the loaded model.
        output: what was generated.
        generation: transformers' generation settings in effect.
        has_draft: tokens were drafted.

    Returns:
        FLOPs; confidence is low where part of the work is not counted.
    """
    n_beams = generation.num_beams
    if generation.use_cache is False:
        n_tokens = sum(recomputed_tokens(r.input_tokens, r.output_tokens) for r in output.requests)
        result = estimate_flops_palm(model, n_tokens, 0, n_beams)
        result = replace(result, method=f"{result.method}; without a cache every token reads all before it")
    else:
        result = estimate_flops_palm(model, output.input_tokens, output.output_tokens, n_beams)
    if has_draft:
        result = replace(result, method=f"{result.method}; drafted tokens not counted", confidence="low")
    if generation.guidance_scale is not None and generation.guidance_scale != 1:
        result = replace(result, method=f"{result.method}; guidance's second run not counted", confidence="low")
    return result


def recomputed_tokens(n_input: int, n_output: int) -> int:
    """Tokens that the model reads for one request without a cache: p + (p + 1) + ... + (p + n - 1)."""
    return n_output * n_input + n_output * (n_output - 1) // 2
