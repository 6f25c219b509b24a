"""Memory: of this process, and of a model that is not loaded yet."""

import re
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


def estimate_memory(model_config: Any, precision: str, n_tokens: int, batch_size: int) -> MemoryEstimate | None:
    """Weights and key-value cache of an architecture.

    Args:
        model_config: a transformers configuration.
        precision: number format of weights and cache.
        n_tokens: longest sequence, input and output.
        batch_size: sequences at once.

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
    return MemoryEstimate(weights_mb=n_parameters * size / 1e6, kv_cache_mb=kv_values * size / 1e6)
