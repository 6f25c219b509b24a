"""Floating-point operations of what ``generate`` did."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.core.backends.pytorch_generation import has_draft
from llenergymeasure.core.flops import rule_and_shape, with_phases
from llenergymeasure.domain.inference import InferenceOutput
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.model_flops import ModelShape, cached_flops, recomputed_flops

# Checkpoints whose packed weights are unpacked to the activations' format and multiplied in that.
_WEIGHT_ONLY = ("gptq", "awq", "gguf")


def generation_flops(model: Any, output: InferenceOutput, generation: Any, section: PyTorchConfig) -> FlopsResult:
    """FLOPs over all requests of ``output``, every beam counted; drafts and guidance are not.

    Args:
        model: the loaded model.
        output: what was generated.
        generation: transformers' generation settings in effect.
        section: the engine's settings.

    Returns:
        2 N per token of ``output``, and what was run for it term by term; confidence is low, and there are no
        terms, where part of the work is not known.
    """
    sequences = list(_sequences(output, generation.num_beams))
    n_tokens, said = output.input_tokens + output.output_tokens, ""
    if generation.use_cache is False:
        n_tokens = sum(recomputed_tokens(p, n) for p, n in sequences)
        said = "; without a cache every token reads all before it"
    elif generation.num_beams > 1:
        n_tokens = sum(p + n for p, n in sequences)
        said = "; every beam counts"
    result, architecture = rule_and_shape(model, n_tokens)
    result = replace(result, method=result.method + said, number_format=number_format(model))
    if has_draft(section):
        return replace(result, method=f"{result.method}; drafted tokens not counted", confidence="low")
    if generation.guidance_scale is not None and generation.guidance_scale != 1:
        return replace(result, method=f"{result.method}; guidance's second run not counted", confidence="low")
    shape = None if architecture is None else _as_run(architecture, model, with_cache=generation.use_cache is not False)
    if shape is None or not sequences:
        return result
    count = recomputed_flops if generation.use_cache is False else cached_flops
    return with_phases(result, [count(shape, p, n) for p, n in sequences])


def recomputed_tokens(n_input: int, n_output: int) -> int:
    """Tokens that the model reads for one request without a cache: p + (p + 1) + ... + (p + n - 1)."""
    return n_output * n_input + n_output * (n_output - 1) // 2


def number_format(model: Any) -> NumberFormat | None:
    """What the loaded model's matrices are multiplied in; None where they are quantised and not unpacked for it."""
    import torch

    dtype = _product_dtype(model)
    if dtype == torch.float32:
        # torch's name for true fp32 is highest; both others let CUDA take TF32.
        return "fp32" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    names: dict[Any, NumberFormat] = {torch.float16: "fp16", torch.bfloat16: "bf16"}
    return names.get(dtype)


def _product_dtype(model: Any) -> Any:
    import torch

    settings = getattr(model.config, "quantization_config", None)
    if settings is None:
        return model.dtype
    stored = settings if isinstance(settings, dict) else settings.to_dict()
    method = stored.get("quant_method")
    method = getattr(method, "value", method)
    if method == "bitsandbytes" and stored.get("load_in_4bit"):
        return getattr(torch, stored["bnb_4bit_compute_dtype"])
    if method == "torchao" and "WeightOnly" in type(getattr(settings, "quant_type", None)).__name__:
        return model.dtype
    return model.dtype if method in _WEIGHT_ONLY or stored.get("dequantize") else None


def _sequences(output: InferenceOutput, n_beams: int) -> Iterator[tuple[int, int]]:
    """Tokens read and produced of every row that ``generate`` made: a beam, or an answer to a request.

    All beams are as long as the longest answer; what a search looked at beyond it is not known here.
    """
    for request in output.requests:
        for length in [max(request.answer_lengths)] * n_beams if n_beams > 1 else request.answer_lengths:
            yield request.input_tokens, length


def _as_run(shape: ModelShape, model: Any, *, with_cache: bool) -> ModelShape | None:
    """The shape with the model's adapter; None where it cannot be run as ``generate`` runs most models."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    understood = inspect.signature(plain.forward).parameters
    # transformers asks for the scores of the last token alone, and for a cache, of a model that understands it.
    if "logits_to_keep" not in understood or (with_cache and "past_key_values" not in understood):
        return None
    adapter = (p for name, p in model.named_parameters() if ".lora_A." in name or ".lora_B." in name)
    return replace(shape, n_linear_weights=shape.n_linear_weights + sum(p.numel() for p in adapter))
