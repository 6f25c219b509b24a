"""Floating-point operations of a forward pass, from the model's architecture.

The rule of 2 N per token is that of Kaplan et al. 2020 (arXiv 2001.08361, table 1) and of the PaLM
report (arXiv 2204.02311, appendix B): a multiply and an add per weight that takes part in it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llenergymeasure.core.checkpoint.architecture import active_weights, skeleton, weights_and_shape
from llenergymeasure.domain.metrics import Confidence, FlopsResult, NumberFormat
from llenergymeasure.domain.model_flops import ModelShape, PhaseFlops, cached_flops, total_of

_FLOPS_PER_PARAMETER = 2


def estimate_flops_palm(model: Any, n_input_tokens: int, n_output_tokens: int, batch_size: int = 1) -> FlopsResult:
    """2 x N x tokens, N being the weights that multiply activations in the layers.

    N leaves out token and position embeddings and the output head, tied or not, counts weights of a block that is
    shared as often as it runs, and of a mixture's experts those that a token visits. It is read from the
    architecture where the model has a transformers configuration, so packed (quantised) weights count as what they
    stand for.

    Args:
        model: a ``torch.nn.Module``.
        n_input_tokens: tokens read per sequence.
        n_output_tokens: tokens produced per sequence.
        batch_size: sequences.

    Returns:
        FLOPs in ``value``; ``confidence`` is high for a known dense architecture, medium for a mixture of
        experts (its router is taken to visit the configured number), low when tensors had to be counted, or
        all experts, or when nobody could see how often each part runs. Beside it ``prefill`` and ``decode`` of so many
        sequences of just these lengths, with a cache.
    """
    result, shape = rule_and_shape(model, (n_input_tokens + n_output_tokens) * batch_size)
    if shape is None:
        return result
    return with_phases(result, [cached_flops(shape, n_input_tokens, n_output_tokens)] * batch_size)


def rule_and_shape(
    model: Any, n_tokens: int, *, trust_remote_code: bool = False
) -> tuple[FlopsResult, ModelShape | None]:
    """2 x N x ``n_tokens`` as ``estimate_flops_palm`` has it, without terms, and the shape to work those out by.

    Args:
        model: a ``torch.nn.Module``.
        n_tokens: tokens of all sequences together.
        trust_remote_code: as ``skeleton``.

    Returns:
        The result; and the shape, None for an architecture that transformers does not know or that cannot be run
        without weights, or a mixture of which nobody knows how many experts a token visits.
    """
    architecture = skeleton(getattr(model, "config", None), trust_remote_code=trust_remote_code)
    weights, shape = (active_weights(model), None) if architecture is None else weights_and_shape(architecture)
    confidence: Confidence = "medium" if weights.is_mixture else "high"
    if architecture is None or not (weights.experts_known and weights.uses_known):
        confidence = "low"
    result = FlopsResult(
        value=float(_FLOPS_PER_PARAMETER * weights.n_parameters * n_tokens),
        method="2 x active non-embedding parameters x (input + output tokens)",
        confidence=confidence,
        n_parameters=weights.n_parameters,
    )
    return result, shape


def with_phases(result: FlopsResult, phases: Sequence[PhaseFlops]) -> FlopsResult:
    """A result with what [n] sequences took in its terms."""
    total = total_of(phases)
    return replace(result, prefill=total.prefill, decode=total.decode)


def described_flops(
    architecture: Any,
    sequences: Sequence[tuple[int, int]],
    number_format: NumberFormat | None,
    *,
    scores_prompts: bool = False,
    beside: tuple[int, int] = (0, 0),
) -> FlopsResult:
    """FLOPs of a model of which only the architecture is at hand, run with a cache.

    Args:
        architecture: the model without weights, as ``skeleton`` makes it of a transformers configuration.
        sequences: [n] tokens read and tokens produced of each.
        number_format: what matrices are multiplied in.
        scores_prompts: whether the output head runs on every token of a prompt, and not on its last alone.
        beside: weights of an adapter beside the layers, and beside the output head; in the terms, not in 2 N.

    Returns:
        As ``estimate_flops_palm`` over all sequences.
    """
    result, shape = rule_and_shape(architecture, sum(n_read + n_made for n_read, n_made in sequences))
    result = replace(result, number_format=number_format)
    if shape is None or not sequences:
        return result
    shape = replace(
        shape,
        n_linear_weights=shape.n_linear_weights + beside[0],
        n_head_weights=shape.n_head_weights + beside[1],
    )
    phases = [cached_flops(shape, n_read, n_made, scores_prompt=scores_prompts) for n_read, n_made in sequences]
    return with_phases(result, phases)
