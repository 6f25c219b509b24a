"""What SGLang made of its settings, flat and small."""

import importlib.metadata
from collections.abc import Mapping
from typing import Any

# What bears on how a model runs, by SGLang's own names.
_TOLD = (
    "dtype", "quantization", "kv_cache_dtype", "load_format", "model_impl", "context_length", "device", "tp_size",
    "pp_size", "dp_size", "attn_dp_size", "ep_size", "mem_fraction_static", "max_running_requests", "max_total_tokens",
    "max_prefill_tokens", "chunked_prefill_size", "enable_mixed_chunk", "schedule_policy", "schedule_conservativeness",
    "page_size", "disable_radix_cache", "disable_overlap_schedule", "stream_interval", "sleep_on_idle",
    "attention_backend", "prefill_attention_backend", "decode_attention_backend", "sampling_backend",
    "moe_runner_backend", "moe_a2a_backend", "disable_cuda_graph", "cuda_graph_backend_decode",
    "cuda_graph_backend_prefill", "cuda_graph_max_bs_decode", "enable_torch_compile", "enable_deterministic_inference",
    "speculative_algorithm", "speculative_num_steps", "speculative_eagle_topk", "speculative_num_draft_tokens",
    "random_seed", "effective_max_running_requests_per_dp",
)  # fmt: skip


def resolved(settings: Mapping[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Settings as its scheduler told them, by names of SGLang's; one that it has not is None."""
    return {name: _plain(settings.get(name)) for name in _TOLD}


def engine_version() -> str | None:
    """The version of the distribution that is installed; None where there is none."""
    try:
        return f"sglang {importlib.metadata.version('sglang')}"
    except importlib.metadata.PackageNotFoundError:
        return None


def _plain(value: Any) -> str | int | float | bool | None:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
