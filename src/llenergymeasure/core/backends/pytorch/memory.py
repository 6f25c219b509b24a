"""What a transformers model will take of memory, from its description alone."""

import inspect
import math
from dataclasses import replace
from typing import Any

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.workload import LoRAConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.core.backends.pytorch.loading import (
    has_cuda,
    read_draft_description,
    read_model_description,
    weight_bits,
)
from llenergymeasure.core.backends.pytorch.memory_terms import (
    SCORES_BEAMS,
    SCORES_GREEDY,
    SCORES_PROCESSED,
    SCORES_SAMPLED,
    SCORES_SORTED,
    Widths,
    Work,
    estimate,
    libraries_mb,
    sum_of,
)
from llenergymeasure.core.backends.pytorch.placement import may_leave_the_gpus
from llenergymeasure.core.backends.pytorch.processes import layout_of
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.checkpoint.files import adapter_files, adapter_folder
from llenergymeasure.core.checkpoint.source import describe_source
from llenergymeasure.core.memory.shape import BYTES_PER_VALUE, LayerCache, probe_cache, quantised_weights
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.domain.plan import ProcessLayout
from llenergymeasure.exceptions import first_line

_STATIC = ("static", "offloaded_static")
# Bits of a scale, and of a zero point, of a group of quantised values, in the precision of the rest.
_GROUP_BITS = 32
_GROUPED, _TORCHAO_GROUP = "int4_weight_only", 128  # the default of its Int4WeightOnlyConfig
_BNB_BLOCK, _BNB_SCALE_BITS = 64, 32
_CACHE_BITS, _CACHE_GROUP, _CACHE_WHOLE = 4, 64, 128  # QuantizedLayer's defaults
_SORTING = ("top_p", "typical_p", "top_h", "eta_cutoff", "epsilon_cutoff")
_PROCESSING = ("repetition_penalty", "no_repeat_ngram_size", "min_output_tokens")
_PACKED_ON_CPU = (
    "slack: what packing and unpacking quantised values leaves on a CPU; seen were 140 to 240 MB for a model of 455 MB"
)
_NO_ADAPTER = "adapter: it is not here yet, so its weights are not counted"
_NO_WIDTHS = "activations: this architecture does not say how wide it is in words known here"


def estimate_model(config: ExperimentConfig) -> MemoryEstimate | None:
    """Of the model with its draft and adapter, in all processes; None for an architecture unknown to transformers.

    Of a model that is split, activations are counted as if each process had those of the whole, an upper bound: hidden
    states and scores are whole in each, what lies between them is not.
    """
    section = section_of(config)
    on_gpu = has_cuda() and section.device_map not in ("cpu", {"": "cpu"})
    # What the checks before this could not fetch is not waited for again.
    here = config.model_copy(update={"passthrough_kwargs": {**config.passthrough_kwargs, "local_files_only": True}})
    description = read_model_description(here, describe_source(config.model))
    model = _estimate_one(config, description, on_gpu=on_gpu, is_draft=False)
    drafts = []
    if section.assistant_model is not None:
        draft = read_draft_description(here, describe_source(section.assistant_model))
        drafts.append(_estimate_one(config, draft, on_gpu=on_gpu, is_draft=True))
    known_drafts = [draft for draft in drafts if draft is not None]
    if model is None or len(known_drafts) < len(drafts):
        return None
    layout = layout_of(config)
    together = sum_of([*_of_all(model, layout), *known_drafts * layout.n_processes])
    overhead, adapter_mb = together.overhead_mb, _adapter_mb(config.lora)
    return replace(
        together,
        weights_mb=together.weights_mb + (adapter_mb or 0.0) * section.n_shares,
        unknown=together.unknown if adapter_mb is not None else (*together.unknown, _NO_ADAPTER),
        overhead_mb=None if overhead is None else overhead + layout.n_processes * libraries_mb(on_gpu=on_gpu),
        may_spill=on_gpu and may_leave_the_gpus(section),
    )


def _of_all(model: MemoryEstimate, layout: ProcessLayout) -> list[MemoryEstimate]:
    """The model in all processes: those that share the layers hold one among them, others one each."""
    if layout.parallelism != "tensor":
        return [model] * layout.n_processes
    activations = model.activations_mb
    return [replace(model, activations_mb=None if activations is None else activations * layout.n_processes)]


def _estimate_one(config: ExperimentConfig, description: Any, *, on_gpu: bool, is_draft: bool) -> MemoryEstimate | None:
    section = section_of(config)
    model = skeleton(description, trust_remote_code=section.trust_remote_code)
    if model is None:
        return None
    bits = _bits(section, description, is_draft=is_draft)
    is_stored = getattr(description, "quantization_config", None) is not None
    n_quantised = 0 if bits is None else quantised_weights(model, with_experts=is_stored)
    size = BYTES_PER_VALUE[config.precision]
    weights = _weights_bytes(model, size, n_quantised, bits or 0)
    unknown = []
    layers: list[LayerCache] | None = None
    try:
        layers = probe_cache(model, config.precision)
        if section.cache_implementation == "quantized" and not is_draft:
            layers = [_quantised(layer, section, size) for layer in layers]
    except Exception as error:  # noqa: BLE001 - a model's own code raises what it will on tensors without memory
        unknown.append(f"KV cache: the forward pass cannot be tried without weights ({first_line(error)[:120]})")
    widths = widths_of(model)
    if widths is None:
        unknown.append(_NO_WIDTHS)
    found = estimate(weights, layers, widths, _work(config, model, is_draft=is_draft), on_gpu=on_gpu)
    if not on_gpu and (bits is not None or section.cache_implementation == "quantized"):
        unknown.append(_PACKED_ON_CPU)
        found = replace(found, overhead_mb=None)
    return replace(found, unknown=tuple(unknown))


def widths_of(model: Any) -> Widths | None:
    """Widths from the configuration's words for them; None where it has others, or one for each layer."""
    text = model.config.get_text_config(decoder=True)
    try:
        hidden, n_heads = text.hidden_size, text.num_attention_heads
        head = getattr(text, "head_dim", None) or hidden // n_heads
        mlp = getattr(text, "intermediate_size", None) or getattr(text, "n_inner", None) or 4 * hidden
        n_experts, expert = getattr(text, "num_experts_per_tok", None), getattr(text, "moe_intermediate_size", None)
        if n_experts:
            mlp = n_experts * (expert or mlp)
        return Widths(
            n_hidden=int(hidden),
            n_mlp=int(mlp),
            n_queries=int(n_heads * head),
            n_keys=int((getattr(text, "num_key_value_heads", None) or n_heads) * head),
            n_heads=int(n_heads),
            n_vocabulary=int(text.vocab_size),
            scores_last_only="logits_to_keep" in inspect.signature(model.forward).parameters,
        )
    except Exception:  # noqa: BLE001 - some configurations raise errors of their own for what differs by layer
        return None


def _quantised(layer: LayerCache, section: PyTorchConfig, size: int) -> LayerCache:
    """A layer of a quantised cache: its latest tokens are whole besides."""
    size_bits, whole = 8 * size, layer.n_bytes_per_token
    if section.cache_backend == "fp8":
        return replace(layer, n_bytes_per_token=whole * 8 / size_bits, n_whole_bytes_per_token=whole)
    bits = (section.cache_nbits or _CACHE_BITS) + _GROUP_BITS / (section.cache_group_size or _CACHE_GROUP)
    latest = section.cache_residual_length or _CACHE_WHOLE
    return replace(
        layer, n_bytes_per_token=whole * bits / size_bits, n_whole_bytes_per_token=whole, n_fixed_bytes=whole * latest
    )


def _work(config: ExperimentConfig, model: Any, *, is_draft: bool) -> Work:
    section, decoder, drawn = section_of(config), config.decoder, config.dataset.random
    n_input, n_output = config.max_input_tokens, config.max_output_tokens
    if drawn is not None:
        n_input, n_output = drawn.input_tokens.span(n_input)[1], drawn.output_tokens.span(n_output)[1]
    n_tokens = n_input + n_output
    n_requests = min(section.batch_size, math.ceil(config.n / section.n_shares))
    static = section.cache_implementation in _STATIC and not is_draft
    attention = section.attn_implementation or getattr(model.config, "_attn_implementation", None)
    return Work(
        n_sequences=n_requests * max(decoder.num_beams, decoder.num_return_sequences),
        n_input=n_input,
        n_output=n_output,
        n_bytes_per_value=BYTES_PER_VALUE[config.precision],
        n_chunk=section.prefill_chunk_size,
        keeps_cache=section.use_cache is not False,
        n_cache_tokens=max(n_tokens, section.max_cache_len or 0) if static else None,
        n_guided=n_output if _is_guided(section) and not is_draft else 0,
        n_score_tables=_score_tables(config),
        stores_attention=attention == "eager",
    )


def _score_tables(config: ExperimentConfig) -> float:
    decoder, section = config.decoder, section_of(config)
    if decoder.do_sample:
        sorts = any(getattr(part, name, None) not in (None, 1) for part in (decoder, section) for name in _SORTING)
        return SCORES_SORTED if sorts else SCORES_SAMPLED
    if _is_guided(section) or any(getattr(decoder, name) is not None for name in _PROCESSING):
        return SCORES_PROCESSED
    return SCORES_BEAMS if decoder.num_beams > 1 else SCORES_GREEDY


def _is_guided(section: PyTorchConfig) -> bool:
    """Whether every sequence is run once more, from the last token of its prompt on."""
    return section.guidance_scale not in (None, 1)


def _bits(section: PyTorchConfig, description: Any, *, is_draft: bool) -> float | None:
    """Bits that a quantised weight takes with its share of scales; None where weights are not quantised."""
    stored = getattr(description, "quantization_config", None)
    if stored is not None:
        return None if section.checkpoint_dequantize else _stored_bits(stored)
    bits = None if is_draft else weight_bits(section)
    if bits is None or section.load_in_8bit:
        return bits
    if section.load_in_4bit:
        # Double quantisation packs the scales too: 8 bits each, and a scale of theirs per 256.
        scale_bits = 8 + _BNB_SCALE_BITS / 256 if section.bnb_4bit_use_double_quant else _BNB_SCALE_BITS
        return bits + scale_bits / _BNB_BLOCK
    return bits + _GROUP_BITS / (section.torchao_group_size or _TORCHAO_GROUP) if section.torchao == _GROUPED else bits


def _stored_bits(stored: Any) -> float | None:
    """Of a checkpoint that is quantised already, from its own description; None for one that is unpacked here."""
    settings = stored if isinstance(stored, dict) else stored.to_dict()
    method = str(settings.get("quant_method"))
    if method in ("fp8", "fbgemm_fp8", "mxfp4", "nvfp4") and not has_cuda():
        return None  # transformers unpacks them where no GPU has the kernels
    if method == "mxfp4":
        return 4.25  # a scale of 8 bits per 32 values (OCP Microscaling Formats 1.0)
    if "fp8" in method:
        return 8.0
    if method == "compressed-tensors":
        groups = [group.get("weights") or {} for group in (settings.get("config_groups") or {}).values()]
        widths = [float(weights["num_bits"]) for weights in groups if weights.get("num_bits")]
        return max(widths, default=None)
    bits = settings.get("bits") or (4 if settings.get("load_in_4bit") else 8 if settings.get("load_in_8bit") else None)
    group = settings.get("group_size") or 0
    return None if bits is None else float(bits) + (_GROUP_BITS / group if group > 0 else 0)


def _weights_bytes(model: Any, size: int, n_quantised: int, bits: float) -> float:
    n_parameters = sum(int(parameter.numel()) for parameter in model.parameters())
    return (n_parameters - n_quantised) * size + n_quantised * bits / 8


def _adapter_mb(lora: LoRAConfig | None) -> float | None:
    """What lies beside the model of an adapter; once merged it takes no more. None where it is not here yet."""
    if lora is None or lora.merge:
        return 0.0
    try:
        return sum(path.stat().st_size for path in adapter_files(adapter_folder(lora.path)).values()) / 1e6
    except FileNotFoundError:
        return None
