"""Floating-point operations of a forward pass, from the model's architecture.

The rule of 2 N per token is that of Kaplan et al. 2020 (arXiv 2001.08361, table 1) and of the PaLM
report (arXiv 2204.02311, appendix B): a multiply and an add per weight that takes part in it.
"""

import copy
import re
from typing import Any, Literal

from llenergymeasure.domain.metrics import FlopsResult

_FLOPS_PER_PARAMETER = 2
_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts")


def estimate_flops_palm(model: Any, n_input_tokens: int, n_output_tokens: int, batch_size: int = 1) -> FlopsResult:
    """2 x N x tokens, N being the weights that multiply activations in the layers.

    N leaves out token and position embeddings and the output head, tied or not, and counts of a
    mixture's experts those that a token visits. It is read from the architecture where the model has a
    transformers configuration, so packed (quantised) weights count as what they stand for.

    Args:
        model: a ``torch.nn.Module``.
        n_input_tokens: tokens read per sequence.
        n_output_tokens: tokens produced per sequence.
        batch_size: sequences.

    Returns:
        FLOPs in ``value``; ``confidence`` is high for a known dense architecture, medium for a mixture of
        experts (its router is taken to visit the configured number), low when tensors had to be counted.
    """
    architecture = skeleton(getattr(model, "config", None))
    n_parameters, mixture = _active_parameters(model if architecture is None else architecture)
    confidence: Literal["high", "medium", "low"] = "high"
    if mixture:
        confidence = "medium"
    if architecture is None:
        confidence = "low"
    tokens = (n_input_tokens + n_output_tokens) * batch_size
    return FlopsResult(
        value=float(_FLOPS_PER_PARAMETER * n_parameters * tokens),
        method="2 x active non-embedding parameters x tokens",
        confidence=confidence,
        n_parameters=n_parameters,
    )


def skeleton(config: Any) -> Any:
    """The same architecture without weights; None when the model is not one of transformers' own."""
    if config is None or not hasattr(config, "to_dict"):
        return None
    import torch
    from transformers import AutoModelForCausalLM

    plain = copy.deepcopy(config)
    if hasattr(plain, "quantization_config"):
        del plain.quantization_config
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(plain)
    except (ValueError, AttributeError, TypeError, ImportError, RuntimeError):
        return None  # an architecture of the model's own code; its tensors are counted instead


def _active_parameters(model: Any) -> tuple[int, bool]:
    import torch

    embeddings = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if head is not None:
        embeddings |= {id(parameter) for parameter in head.parameters()}
    share = _expert_share(getattr(model, "config", None))
    total = 0.0
    mixture = False
    for name, parameter in model.named_parameters():
        if id(parameter) in embeddings:
            continue
        routed = re.search(r"\.experts\.", name) is not None
        mixture = mixture or routed
        total += parameter.numel() * (share if routed else 1)
    return round(total), mixture


def _expert_share(config: Any) -> float:
    """The share of the routed experts that one token visits."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    visited = getattr(text, "num_experts_per_tok", None)
    there_are = next((n for name in _EXPERT_COUNTS if (n := getattr(text, name, None))), None)
    return visited / there_are if visited and there_are else 1.0
