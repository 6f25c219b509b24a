"""The section ``tensorrt`` and the rest of an experiment as TensorRT-LLM is told them (names of 1.2.1)."""

from typing import Any

from llenergymeasure.config.engines import TensorRTConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.scheduled import seed_of
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.domain.inference import Request

_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
# Fields that TensorRT-LLM nests: {argument of LLM: {field here: its name in there}}.
NESTED: dict[str, dict[str, str]] = {
    "kv_cache_config": {
        "kv_cache_max_tokens": "max_tokens",
        "kv_cache_dtype": "dtype",
        **{
            name: name
            for name in (
                "free_gpu_memory_fraction", "max_gpu_total_bytes", "tokens_per_block", "max_attention_window",
                "enable_block_reuse", "enable_partial_reuse", "copy_on_partial_reuse", "host_cache_size", "use_uvm",
                "mamba_ssm_cache_dtype",
            )
        },
    },
    "scheduler_config": {name: name for name in ("capacity_scheduler_policy", "context_chunking_policy")},
    "cuda_graph_config": {
        f"cuda_graph_{name}": name for name in ("batch_sizes", "max_batch_size", "enable_padding")
    },
    "torch_compile_config": {
        f"torch_compile_{name}": name
        for name in (
            "enable_fullgraph", "enable_inductor", "enable_piecewise_cuda_graph", "capture_num_tokens",
            "enable_userbuffers", "max_num_streams",
        )
    },
    "moe_config": {
        f"moe_{name}": name
        for name in ("backend", "max_num_tokens", "disable_finalize_fusion", "use_low_precision_moe_combine")
    },
    "nvfp4_gemm_config": {"nvfp4_gemm_allowed_backends": "allowed_backends"},
    "attention_dp_config": {
        f"attention_dp_{name}": name for name in ("enable_balance", "batching_wait_iters", "timeout_iters")
    },
    "speculative_config": {
        "speculative_max_concurrency": "max_concurrency",
        **{
            name: name
            for name in (
                "speculative_model", "max_draft_len", "acceptance_window", "acceptance_length_threshold",
                "max_matching_ngram_size", "is_keep_all", "is_use_oldest", "is_public_pool",
            )
        },
    },
}  # fmt: skip
# Of ``tensorrt_llm.llmapi``; a mapping does not say which of them is meant.
DRAFTING = {
    "Draft_Target": "DraftTargetDecodingConfig",
    "Eagle": "EagleDecodingConfig",
    "MTP": "MTPDecodingConfig",
    "NGram": "NGramDecodingConfig",
    "AUTO": "AutoDecodingConfig",
}
# The folder is already that of the revision.
_OURS = {"revision", "cuda_graph", "torch_compile", "decoding_type"}
_NESTED_FIELDS = {name for names in NESTED.values() for name in names}


def section_of(config: ExperimentConfig) -> TensorRTConfig:
    """The experiment's section, with its defaults when it was left out."""
    return config.tensorrt or TensorRTConfig()


def n_gpus(config: ExperimentConfig) -> int:
    """GPUs of all ranks; those of experts are among those of tensors."""
    section = section_of(config)
    return (section.tensor_parallel_size or 1) * (section.pipeline_parallel_size or 1)


def engine_arguments(config: ExperimentConfig, location: str, library: Any) -> dict[str, Any]:
    """Keyword arguments of ``tensorrt_llm.LLM``; what was not written is left to TensorRT-LLM.

    Args:
        config: the experiment.
        location: folder of the checkpoint.
        library: the module ``tensorrt_llm``.
    """
    section = section_of(config)
    written = {name: value for name, value in section.model_dump().items() if value is not None}
    return {
        **{name: value for name, value in written.items() if name not in _NESTED_FIELDS | _OURS},
        **_nested(section, written, library),
        "model": location,
        "dtype": _DTYPES[config.precision],
        # What its tokens are is known outside.
        "skip_tokenizer_init": True,
        # The other one, in C++, does not count an answer's end token.
        "sampler_type": "TorchSampler",
        **config.passthrough_kwargs,
    }


def sampling_arguments(
    config: ExperimentConfig, request: Request, random_seed: int, settings: OwnSettings
) -> dict[str, Any]:
    """Keyword arguments of ``tensorrt_llm.SamplingParams`` for a request.

    Args:
        config: the experiment.
        request: which limits its answer.
        random_seed: of this run; it is told, and the sampler on PyTorch of 1.2 does not look at it.
        settings: how the model decodes, and which tokens end an answer.
    """
    end, *others = sorted(settings.end_token_ids) or [0]
    drawing = {
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
        "seed": seed_of(random_seed, request.index),
    }
    return {
        "n": config.decoder.num_return_sequences,
        "max_tokens": request.max_output_tokens,
        "end_id": end,
        "pad_id": end,
        "ignore_eos": not settings.end_token_ids,
        "stop_token_ids": others or None,
        # Else a token that ends an answer is taken off it, unlike ``end_id``.
        "include_stop_str_in_output": True,
        "detokenize": False,
        **(drawing if config.decoder.do_sample else {"temperature": 0.0}),
    }


def _nested(section: TensorRTConfig, written: dict[str, Any], library: Any) -> dict[str, Any]:
    """Configurations by their arguments; one that is off is left out, but that of graphs, which are on without it."""
    found = {argument: _renamed(written, names) for argument, names in NESTED.items()}
    found["kv_cache_config"] = {"enable_block_reuse": False, **found["kv_cache_config"]}
    off = {
        "cuda_graph_config": section.cuda_graph is False,
        "torch_compile_config": not section.torch_compile,
        "attention_dp_config": not section.enable_attention_dp,
        "speculative_config": True,
    }
    told: dict[str, Any] = {argument: values for argument, values in found.items() if values and not off.get(argument)}
    if section.cuda_graph is False:
        told["cuda_graph_config"] = None
    if section.torch_compile:
        told.setdefault("torch_compile_config", {})
    if section.decoding_type is not None:
        drafting = found["speculative_config"]
        if section.decoding_type == "MTP" and "max_draft_len" in drafting:
            drafting["num_nextn_predict_layers"] = drafting.pop("max_draft_len")
        told["speculative_config"] = getattr(library.llmapi, DRAFTING[section.decoding_type])(**drafting)
    return told


def _renamed(written: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {theirs: written[ours] for ours, theirs in names.items() if ours in written}
