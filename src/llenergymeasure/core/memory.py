"""Memory: of this process, and of a model that is not loaded yet."""

import resource
from typing import Any

from llenergymeasure.core.flops import skeleton
from llenergymeasure.domain.metrics import MemoryEstimate

BYTES_PER_VALUE = {"fp32": 4, "fp16": 2, "bf16": 2}


def resident_peak_mb() -> float:
    """Largest resident set of this process so far, in MB (10^6 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


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
