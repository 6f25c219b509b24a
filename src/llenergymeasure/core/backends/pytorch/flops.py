"""Floating-point operations of what ``generate`` did."""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.core.backends.pytorch.generation import has_draft
from llenergymeasure.core.flops import rule_and_shape, with_phases
from llenergymeasure.domain.inference import InferenceOutput
from llenergymeasure.domain.metrics import FlopsResult, NumberFormat
from llenergymeasure.domain.model_flops import ModelShape, cached_flops, recomputed_flops

# Checkpoints whose packed weights are unpacked to the activations' format and multiplied in that.
_WEIGHT_ONLY = ("gptq", "awq", "gguf")


def generation_flops(model: Any, output: InferenceOutput, generation: Any, section: PyTorchConfig) -> FlopsResult:
    """FLOPs over all requests of ``output``; drafts and guidance are in none of them.

    Args:
        model: the loaded model.
        output: what was generated.
        generation: transformers' generation settings in effect.
        section: the engine's settings.

    Returns:
        2 N per token of ``output`` however they came about, and what was run for them term by term; confidence is
        low, and there are no terms, where part of the work is not known.
    """
    result, architecture = rule_and_shape(
        model, output.input_tokens + output.output_tokens, trust_remote_code=section.trust_remote_code
    )
    result = replace(result, number_format=number_format(model))
    if has_draft(section):
        return replace(result, method=f"{result.method}; drafted tokens not counted", confidence="low")
    if generation.guidance_scale is not None and generation.guidance_scale != 1:
        return replace(result, method=f"{result.method}; guidance's second run not counted", confidence="low")
    if _unpacks_its_adapter(model):
        return replace(result, method=f"{result.method}; the adapter's own work not counted", confidence="low")
    sequences = list(_sequences(output, generation.num_beams))
    shape = None if architecture is None else _as_run(architecture, model, with_cache=generation.use_cache is not False)
    if shape is None or not sequences:
        return result
    count = recomputed_flops if generation.use_cache is False else cached_flops
    return with_phases(result, [count(shape, p, n) for p, n in sequences])


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


def _unpacks_its_adapter(model: Any) -> bool:
    """Whether an adapter multiplies its matrices out at each pass, as DoRA does for the norm of the whole weight."""
    return any(getattr(settings, "use_dora", False) for settings in getattr(model, "peft_config", {}).values())


def _as_run(shape: ModelShape, model: Any, *, with_cache: bool) -> ModelShape | None:
    """The shape with the model's adapter; None where it cannot be run as ``generate`` runs most models."""
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    understood = inspect.signature(plain.forward).parameters
    # transformers asks for the scores of the last token alone, and for a cache, of a model that understands it.
    if "logits_to_keep" not in understood or (with_cache and "past_key_values" not in understood):
        return None
    head = plain.get_output_embeddings()
    of_head = {id(p) for p in head.parameters()} if head is not None else set()
    adapter = [p for name, p in model.named_parameters() if ".lora_A." in name or ".lora_B." in name]
    # What stands beside the head runs as often as the head does.
    n_beside_head = sum(p.numel() for p in adapter if id(p) in of_head)
    return replace(
        shape,
        n_linear_weights=shape.n_linear_weights + sum(p.numel() for p in adapter) - n_beside_head,
        n_head_weights=shape.n_head_weights + n_beside_head,
    )
