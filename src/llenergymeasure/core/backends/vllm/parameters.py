"""The section ``vllm`` and the rest of an experiment as vLLM is told them (names of vLLM 0.32)."""

from typing import Any

from llenergymeasure.config.engines import VLLMConfig
from llenergymeasure.config.engines.vllm import LORA_RANKS
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.scheduled import sampling_told, seed_of
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.domain.inference import Request

_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# Fields that vLLM nests: {argument of EngineArgs: {field here: its name in there}}.
_NESTED: dict[str, dict[str, str]] = {
    "compilation_config": {
        "compilation_mode": "mode", "compile_sizes": "compile_sizes", "cudagraph_mode": "cudagraph_mode",
    },
    "eplb_config": {"num_redundant_experts": "num_redundant_experts"},
    "quantization_config": {"quantization_ignore": "ignore"},
}  # fmt: skip
_PASSES = ("fuse_norm_quant", "fuse_act_quant", "fuse_attn_quant", "fuse_allreduce_rms")
_ATTENTION = {"flash_attn_version": "flash_attn_version", "attention_backend": "backend"}
# Of what drafts, as ``SpeculativeConfig`` calls it.
_DRAFTING = {
    "spec_method": "method", "spec_model": "model", "spec_tokens": "num_speculative_tokens",
    "draft_revision": "revision", "draft_quantization": "quantization",
    **{
        name: name
        for name in (
            "draft_tensor_parallel_size", "draft_sample_method", "rejection_sample_method", "parallel_drafting",
            "prompt_lookup_min", "prompt_lookup_max", "suffix_decoding_max_tree_depth",
            "suffix_decoding_max_spec_factor", "suffix_decoding_min_token_prob",
        )
    },
}  # fmt: skip
_OF_SAMPLING = ("presence_penalty", "frequency_penalty")
_NESTED_FIELDS = {*(name for names in _NESTED.values() for name in names), *_PASSES, *_ATTENTION, *_DRAFTING}
_MOST_SEED = 2**63


def section_of(config: ExperimentConfig) -> VLLMConfig:
    """The experiment's section, with its defaults when it was left out."""
    return config.vllm or VLLMConfig()


def n_gpus(config: ExperimentConfig) -> int:
    """GPUs of all ranks; ranks that share the KV cache are among those of tensors."""
    section = section_of(config)
    sizes = (
        section.tensor_parallel_size,
        section.pipeline_parallel_size,
        section.data_parallel_size,
        section.prefill_context_parallel_size,
    )
    found = 1
    for size in sizes:
        found *= size or 1
    return found


def engine_arguments(config: ExperimentConfig, location: str, adapter_rank: int | None = None) -> dict[str, Any]:
    """Keyword arguments of ``vllm.EngineArgs``; what was not written is left to vLLM.

    Args:
        config: the experiment.
        location: folder of the checkpoint.
        adapter_rank: of the adapter that will run beside it; None where there is none.
    """
    section = section_of(config)
    written = {name: value for name, value in section.model_dump().items() if value is not None}
    flat = {name: value for name, value in written.items() if name not in _NESTED_FIELDS and name not in _OF_SAMPLING}
    nested = {argument: _renamed(written, names) for argument, names in _NESTED.items()}
    passes = {name: written[name] for name in _PASSES if name in written}
    if passes:
        nested["compilation_config"]["pass_config"] = passes
    nested["attention_config"] = _renamed(written, _ATTENTION)
    nested["speculative_config"] = _renamed(written, _DRAFTING)
    # The folder is already that of the revision.
    for name in ("revision", "tokenizer_revision", *(VLLMConfig.of_adapters if adapter_rank is None else ())):
        flat.pop(name, None)
    if adapter_rank is not None:
        flat = {"enable_lora": True, "max_lora_rank": room_for(adapter_rank), **flat}
    return {
        "enable_prefix_caching": False,
        **flat,
        **{argument: values for argument, values in nested.items() if values},
        "model": location,
        "dtype": _DTYPES[config.precision],
        "seed": config.random_seed % _MOST_SEED,
        # What its tokens are is known outside; times are taken outside too.
        "skip_tokenizer_init": True,
        "disable_log_stats": True,
        # Settings of the model's own are put in place by ``sampling_arguments``.
        "generation_config": "vllm",
        **config.passthrough_kwargs,
    }


def room_for(adapter_rank: int) -> int | None:
    """The least rank that vLLM makes room for and that an adapter's fits into; None where there is none."""
    return next((rank for rank in LORA_RANKS if rank >= adapter_rank), None)


def sampling_arguments(
    config: ExperimentConfig, request: Request, random_seed: int, settings: OwnSettings
) -> dict[str, Any]:
    """Keyword arguments of ``vllm.SamplingParams`` for a request.

    Args:
        config: the experiment.
        request: which limits its answer.
        random_seed: of this run; each request draws from its own, which follows from it and from its place.
        settings: how the model decodes, and which tokens end an answer.
    """
    decoder = config.decoder
    drawing = {"top_k": settings.top_k, "seed": seed_of(random_seed, request.index)}
    return {
        **sampling_told(config, section_of(config), settings, drawing),
        "n": decoder.num_return_sequences,
        "max_tokens": request.max_output_tokens,
        "min_tokens": min(decoder.min_output_tokens or 0, request.max_output_tokens),
        # The tokenizer's own end token is among those of the request, where it ends answers.
        "ignore_eos": True,
        "detokenize": False,
    }


def _renamed(written: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {theirs: written[ours] for ours, theirs in names.items() if ours in written}
