"""Memory: of this process, and of a model that is not loaded yet."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llenergymeasure.core.flops import skeleton
from llenergymeasure.domain.metrics import MemoryEstimate

_PROC = Path("/proc/self")
BYTES_PER_VALUE = {"fp32": 4, "fp16": 2, "bf16": 2}


def reset_resident_peak(proc: Path = _PROC) -> bool:
    """Let the kernel count the largest resident set from now on; False where it cannot.

    ``ru_maxrss`` would not do: it outlives fork and exec, so a child reports its parent's peak.
    """
    try:
        (proc / "clear_refs").write_text("5")  # proc(5): resets VmHWM
    except OSError:
        return False
    return True


def resident_peak_mb(proc: Path = _PROC) -> float | None:
    """Largest resident set since the last reset, in MB (10^6 bytes); None where the kernel does not say."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", (proc / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 / 1e6 if found else None


def estimate_memory(
    model_config: Any, precision: str, n_tokens: int, batch_size: int, weight_bits: int | None = None
) -> MemoryEstimate | None:
    """Weights and key-value cache of an architecture.

    Args:
        model_config: a transformers configuration.
        precision: number format of weights and cache.
        n_tokens: longest sequence, input and output.
        batch_size: sequences at once; 0 when no cache is kept.
        weight_bits: bits of a weight in the linear layers, the output head apart, when they are quantised;
            scales and zero points are not counted.

    Returns:
        The estimate; None for an architecture transformers does not know.
    """
    model = skeleton(model_config)
    text = model_config.get_text_config()
    n_heads = getattr(text, "num_attention_heads", None)
    n_layers = getattr(text, "num_hidden_layers", None)
    if model is None or not n_heads or not n_layers:
        return None
    n_kv_heads = getattr(text, "num_key_value_heads", None) or n_heads
    head_size = getattr(text, "head_dim", None) or text.hidden_size // n_heads
    size = BYTES_PER_VALUE[precision]
    n_parameters = sum(parameter.numel() for parameter in model.parameters())
    # A key and a value per layer, head and token.
    kv_values = 2 * n_layers * n_kv_heads * head_size * n_tokens * batch_size
    n_quantised = 0 if weight_bits is None else _linear_weights(model)
    weights_bytes = (n_parameters - n_quantised) * size + n_quantised * (weight_bits or 0) / 8
    return MemoryEstimate(weights_mb=weights_bytes / 1e6, kv_cache_mb=kv_values * size / 1e6)


def sum_of(parts: Sequence[MemoryEstimate | None]) -> MemoryEstimate | None:
    """Of models that lie in memory together; None when one is not known."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    return MemoryEstimate(
        weights_mb=sum(part.weights_mb for part in known), kv_cache_mb=sum(part.kv_cache_mb for part in known)
    )


def _linear_weights(model: Any) -> int:
    import torch

    head = model.get_output_embeddings()
    linear = (m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head)
    return sum(m.weight.numel() for m in linear)
