"""What TensorRT-LLM made of its settings, flat and small."""

import enum
import importlib.metadata
from typing import Any

# Of ``TorchLlmArgs``, itself and by its parts: what bears on how a model runs. Names are TensorRT-LLM's own.
_ARGUMENTS = (
    "dtype", "max_seq_len", "max_batch_size", "max_num_tokens", "tensor_parallel_size", "pipeline_parallel_size",
    "moe_tensor_parallel_size", "moe_expert_parallel_size", "enable_attention_dp", "enable_chunked_prefill",
    "disable_overlap_scheduler", "attn_backend", "sampler_type", "load_format", "stream_interval",
    "allreduce_strategy", "enable_autotuner",
)  # fmt: skip
_PARTS: dict[str, tuple[str, ...]] = {
    "kv_cache_config": (
        "enable_block_reuse", "max_tokens", "free_gpu_memory_fraction", "dtype", "tokens_per_block", "host_cache_size",
    ),
    "scheduler_config": ("capacity_scheduler_policy", "context_chunking_policy"),
    "cuda_graph_config": ("max_batch_size", "enable_padding"),
    "torch_compile_config": ("enable_inductor", "enable_piecewise_cuda_graph"),
    "moe_config": ("backend",),
    "speculative_config": ("decoding_type", "max_draft_len"),
    "quant_config": ("quant_algo", "kv_cache_quant_algo"),
}  # fmt: skip
# Names that say nothing by themselves, or that two have.
_NAMED = {
    ("kv_cache_config", "dtype"): "kv_cache_dtype",
    ("kv_cache_config", "max_tokens"): "kv_cache_max_tokens",
    ("cuda_graph_config", "max_batch_size"): "cuda_graph_max_batch_size",
    ("cuda_graph_config", "enable_padding"): "cuda_graph_enable_padding",
    ("torch_compile_config", "enable_inductor"): "torch_compile_enable_inductor",
    ("torch_compile_config", "enable_piecewise_cuda_graph"): "torch_compile_enable_piecewise_cuda_graph",
    ("moe_config", "backend"): "moe_backend",
}
_DISTRIBUTION = "tensorrt-llm"


def resolved(arguments: Any) -> dict[str, str | int | float | bool | None]:
    """A ``TorchLlmArgs`` by names of TensorRT-LLM's; a part or a value that it has not is None.

    What its workers infer themselves, such as the room of the KV cache, is not told by them.
    """
    parts = {
        _NAMED.get((part, name), name): _plain(getattr(getattr(arguments, part, None), name, None))
        for part, names in _PARTS.items()
        for name in names
    }
    return {
        **{name: _plain(getattr(arguments, name, None)) for name in _ARGUMENTS},
        **parts,
        "cuda_graph": getattr(arguments, "cuda_graph_config", None) is not None,
        "torch_compile": getattr(arguments, "torch_compile_config", None) is not None,
    }


def engine_version() -> str | None:
    """The version that is installed; None where there is none."""
    try:
        return importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
