"""What llama.cpp will hold in memory, from a file's header alone."""

from typing import Any

from llenergymeasure.config.engines import LlamaCppConfig
from llenergymeasure.core.backends.llamacpp.file import GgufFile, whole_number
from llenergymeasure.domain.metrics import MemoryEstimate

# Rows of a cache are as long as the next multiple of this (GGML_PAD of llama_context).
_ROWS = 256
# States beside a cache of keys and values, or latent ones: what a token takes of them is not in these numbers.
_OTHER_CACHES = ("ssm.", "wkv", "attention.kv_lora_rank", "rwkv")
_MB = 1e6
# Values of a block of a quantised cache, and what one takes (ggml-common.h): a scale of 16 bits, and a lowest value of
# as many in the formats that end in 1.
_BLOCK_VALUES = 32
_BLOCK_BYTES = {"q4_0": 18, "q4_1": 20, "q5_0": 22, "q5_1": 24, "q8_0": 34, "iq4_nl": 18}
_OTHER_ARCHITECTURE = "KV cache: the file's architecture keeps something else than keys and values"
_BUFFERS = "activations: llama.cpp works out its buffers when it loads"
_LIBRARY = "overhead: of llama.cpp's libraries it is not known"


def estimate(file: GgufFile, section: LlamaCppConfig) -> MemoryEstimate:
    """Weights as they lie in the file, and the cache of all slots, which llama.cpp makes whole when it loads."""
    cache = cache_bytes(file, section)
    unknown = [_BUFFERS, _LIBRARY]
    if cache is None:
        unknown.append(_OTHER_ARCHITECTURE)
    elif section.n_ctx is None and section.fit_params is not False:
        unknown.append(
            f"KV cache: n_ctx is not set, so up to {cache / _MB:,.0f} MB, and less where memory is short; set "
            "llamacpp.n_ctx to have it fixed"
        )
        cache = None
    return MemoryEstimate(
        weights_mb=file.n_bytes / _MB,
        kv_cache_mb=None if cache is None else cache / _MB,
        activations_mb=None,
        overhead_mb=None,
        unknown=tuple(unknown),
    )


def cache_bytes(file: GgufFile, section: LlamaCppConfig) -> float | None:
    """Keys and values of all slots; None where the header does not say how wide they are, or there is more to keep.

    Layers that see a window only are counted as if they kept all, which is an upper bound.
    """
    settings = file.settings
    if any(name.startswith(other) for name in settings for other in _OTHER_CACHES):
        return None
    n_layers, n_tokens = whole_number(settings.get("block_count")), section.n_ctx or file.n_context
    n_heads, n_hidden = settings.get("attention.head_count"), whole_number(settings.get("embedding_length"))
    if n_layers is None or n_tokens is None or n_heads is None or n_hidden is None:
        return None
    n_cached = _of_layers(settings.get("attention.head_count_kv", n_heads), n_layers)
    width = n_hidden // max(_of_layers(n_heads, n_layers))
    key = whole_number(settings.get("attention.key_length")) or width
    value = whole_number(settings.get("attention.value_length")) or width
    n_bytes = key * value_bytes(section.cache_type_k or "f16") + value * value_bytes(section.cache_type_v or "f16")
    return -(-n_tokens // _ROWS) * _ROWS * sum(n_cached) * n_bytes


def value_bytes(cache_type: str) -> float:
    """Bytes of one value of a cache, scales of its block included."""
    if cache_type in _BLOCK_BYTES:
        return _BLOCK_BYTES[cache_type] / _BLOCK_VALUES
    return 4.0 if cache_type == "f32" else 2.0


def _of_layers(heads: Any, n_layers: int) -> list[int]:
    """Heads of each layer, where the header has one number for all."""
    return [int(n) for n in heads] if isinstance(heads, list) else [int(heads)] * n_layers
