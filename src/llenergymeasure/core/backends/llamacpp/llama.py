"""Checkpoints of the Llama architecture as llama.cpp reads them: settings, names and order of their weights.

What llama.cpp computes of such a file was held against transformers, token for token, for each kind of setting that is
taken here (``tests/integration/engines/test_gguf_checkpoints.py``).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from llenergymeasure.core.backends.llamacpp.writing import DenseTensor, Values

ARCHITECTURE = "llama"
# Ways to stretch positions that are factors of frequencies, and the same for every length.
_ROPE_TYPES = ("default", "linear", "llama3")
_IN_LAYERS = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def llama_problems(description: Any) -> Iterator[str]:
    """What of a transformers configuration no file is made for here, in words that follow the model's name."""
    kind = getattr(description, "model_type", None)
    if kind != ARCHITECTURE:
        yield f"is a checkpoint of {kind!r}, and GGUF files are made here of the Llama architecture alone"
        return
    if description.hidden_act not in ("silu", "swish"):
        yield f"has hidden_act {description.hidden_act!r}, and llama.cpp computes a Llama with silu alone"
    rope = str(_rope(description).get("rope_type", "default"))
    if rope not in _ROPE_TYPES:
        yield f"stretches its positions by {rope!r}, and files are made here of {', '.join(_ROPE_TYPES)}"


def settings_of(description: Any) -> dict[str, int | float]:
    """The numbers of a file, by the names that follow ``llama.``."""
    n_heads = int(description.num_attention_heads)
    width = int(getattr(description, "head_dim", None) or description.hidden_size // n_heads)
    return {
        "block_count": int(description.num_hidden_layers),
        "context_length": int(description.max_position_embeddings),
        "embedding_length": int(description.hidden_size),
        "feed_forward_length": int(description.intermediate_size),
        "attention.head_count": n_heads,
        "attention.head_count_kv": int(description.num_key_value_heads or n_heads),
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(description.rms_norm_eps),
        "rope.dimension_count": width,
        "rope.freq_base": _base(description),
        "vocab_size": int(description.vocab_size),
    }


def tensors_of(model: Any) -> list[DenseTensor]:
    """All tensors of a file, from a ``LlamaForCausalLM`` in fp32.

    Raises:
        ValueError: it has a weight that a Llama has not.
    """
    heads = settings_of(model.config)
    n_heads = {"attn_q": int(heads["attention.head_count"]), "attn_k": int(heads["attention.head_count_kv"])}
    tied = model.lm_head.weight is model.model.embed_tokens.weight
    found = [
        _tensor(name, weights, n_heads)
        for name, weights in model.state_dict().items()
        # Where the file has no output head, llama.cpp takes the embeddings.
        if not (tied and name == "lm_head.weight")
    ]
    factors = frequency_factors(model)
    return found if factors is None else [*found, _dense("rope_freqs.weight", factors)]


def frequency_factors(model: Any) -> Values | None:
    """What llama.cpp divides each frequency by, [half a head's width]; None where it is one for all.

    Raises:
        ValueError: positions have a factor of attention scores, too.
    """
    rotary = model.model.rotary_emb
    if not math.isclose(float(rotary.attention_scaling), 1.0):
        raise ValueError("its positions have a factor of attention scores, which no file made here can say")
    width = int(settings_of(model.config)["rope.dimension_count"])
    plain = _base(model.config) ** -(np.arange(0, width, 2, dtype=np.float64) / width)
    factors = plain / rotary.inv_freq.double().numpy()
    return None if np.allclose(factors, 1.0, rtol=1e-5) else factors.astype(np.float32)


def interleaved(weights: Values, n_heads: int) -> Values:
    """Queries or keys in the order that llama.cpp rotates.

    transformers rotates value i of a head with value i + half; llama.cpp rotates neighbours with each other.

    Args:
        weights: [heads x width, ...], rows of one head beside each other.
        n_heads: heads.
    """
    halves = weights.reshape(n_heads, 2, weights.shape[0] // n_heads // 2, *weights.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weights.shape)


def _tensor(name: str, weights: Any, n_heads: Mapping[str, int]) -> DenseTensor:
    told, _, kind = name.rpartition(".")
    if told.startswith("model.layers."):
        _, _, layer, part = told.split(".", 3)
        own = _IN_LAYERS.get(part)
        written = f"blk.{layer}.{own}"
    else:
        own = _OUTSIDE.get(told)
        written = str(own)
    if own is None or kind not in ("weight", "bias"):
        raise ValueError(f"it has a tensor {name!r}, which no Llama of llama.cpp has")

    def values() -> Values:
        array: Values = weights.float().numpy()
        return interleaved(array, n_heads[own]) if own in n_heads else array

    return DenseTensor(name=f"{written}.{kind}", n_along=tuple(weights.shape), values=values)


def _dense(name: str, array: Values) -> DenseTensor:
    return DenseTensor(name=name, n_along=array.shape, values=lambda: array)


def _rope(description: Any) -> Mapping[str, Any]:
    return getattr(description, "rope_parameters", None) or {}


def _base(description: Any) -> float:
    return float(_rope(description).get("rope_theta", 10_000.0))
