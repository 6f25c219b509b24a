"""What a model of which only the architecture is at hand takes of memory, whatever runs it: weights and cache."""

from dataclasses import dataclass
from typing import Any

BYTES_PER_VALUE = {"fp32": 4, "fp16": 2, "bf16": 2}
_PROBE_TOKENS = 8
_DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class LayerCache:
    """What one layer keeps of one sequence.

    ``n_window_tokens`` is the most tokens it keeps, ``n_fixed_bytes`` a state that does not grow, and
    ``n_whole_bytes_per_token`` what a token takes before it is quantised, where it is.
    """

    n_bytes_per_token: float
    n_window_tokens: int | None = None
    n_fixed_bytes: float = 0.0
    n_whole_bytes_per_token: float | None = None

    def bytes_for(self, n_tokens: int) -> float:
        """With so many tokens in it."""
        return self.n_fixed_bytes + self.n_bytes_per_token * n_tokens

    def kept_of(self, n_tokens: int) -> int:
        """How many of so many tokens it keeps."""
        return n_tokens if self.n_window_tokens is None else min(n_tokens, self.n_window_tokens)


def probe_cache(model: Any, precision: str) -> list[LayerCache]:
    """What each layer really keeps, seen by reading a few tokens on tensors without memory.

    So latent attention, shared layers, windows and recurrent states are counted as this transformers keeps them.

    Args:
        model: the architecture on torch's meta device.
        precision: number format of its weights.

    Raises:
        ValueError: it keeps a cache of its own kind.
        Exception: whatever its forward pass raises there.
    """
    import torch
    from transformers import DynamicCache

    if not model._supports_default_dynamic_cache():
        raise ValueError("it keeps a cache of its own kind")
    text = model.config.get_text_config(decoder=True)
    cache: Any = DynamicCache(config=text)
    # The one kernel for mixtures of experts whose shapes do not depend on the routing, and that loops over nothing.
    model.config._experts_implementation = text._experts_implementation = "batched_mm"
    name = "cache_params" if "mamba" in type(model).__name__.lower() else "past_key_values"
    ids = torch.zeros(1, _PROBE_TOKENS, dtype=torch.long, device="meta")
    with torch.no_grad(), torch.device("meta"):
        model.to(getattr(torch, _DTYPES[precision]))(input_ids=ids, use_cache=True, **{name: cache})
    layers = [_layer_cache(layer) for layer in cache.layers]
    if not any(layer.n_bytes_per_token or layer.n_fixed_bytes for layer in layers):
        raise ValueError("it left the cache empty")
    return layers


def _layer_cache(layer: Any) -> LayerCache:
    grows = [getattr(layer, name, None) for name in ("keys", "values", "indexer_keys")]
    states = [getattr(layer, name, None) or {} for name in ("conv_states", "recurrent_states")]
    per_token = sum(_bytes(tensor) / tensor.shape[-2] for tensor in grows if tensor is not None and tensor.numel())
    fixed = sum(_bytes(tensor) for kind in states for tensor in kind.values() if tensor is not None)
    window = getattr(layer, "sliding_window", None)
    return LayerCache(
        n_bytes_per_token=per_token, n_window_tokens=None if window is None else int(window), n_fixed_bytes=fixed
    )


def _bytes(tensor: Any) -> int:
    return int(tensor.numel() * tensor.element_size())


def quantised_weights(model: Any, *, with_experts: bool) -> int:
    """Weights of linear layers, the output head apart, and of experts, which only checkpoints come quantised with."""
    import torch

    head = model.get_output_embeddings()
    linear = sum(
        int(module.weight.numel())
        for module in model.modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    )
    # Experts lie in one tensor for each matrix: [expert, out, in].
    experts = sum(int(p.numel()) for p in model.parameters() if p.dim() == 3)  # noqa: PLR2004
    return linear + (experts if with_experts else 0)
