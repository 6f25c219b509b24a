"""How much memory a decoder takes: arithmetic over its shape and the work it is given.

Weights and cache follow from the shape. What is held beside them was found by measuring random Llama models
under torch 2.13 and transformers 5.23 with every allocation given back to the kernel at once: to 5 %, the counts of
tensors below. ``tests/integration/estimates/test_memory_growth.py`` holds the whole against resident memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.core.memory.shape import LayerCache
from llenergymeasure.domain.metrics import MemoryEstimate

_SCORE_BYTES = 4  # scores of tokens, and the softmax of eager attention, are fp32 whatever the precision
# Tensors alive at once in a decoder block: its caller's input and the embeddings, its own input, the normed one;
# the activated gate, the other half, their product. In attention: keys and queries before and after rotation, values.
_HIDDEN_IN_MLP, _WIDE_IN_MLP = 4, 3
_HIDDEN_IN_ATTENTION, _QUERIES, _KEYS_AND_VALUES = 3, 4, 4
# Tables of [sequences, vocabulary] alive while a token is chosen.
SCORES_GREEDY, SCORES_BEAMS, SCORES_PROCESSED, SCORES_SAMPLED, SCORES_SORTED = 2.75, 4.0, 5.0, 5.0, 10.5
# glibc: blocks of at least this much (DEFAULT_MMAP_THRESHOLD_MAX of malloc.c, 64-bit) are the kernel's again when
# they are freed; smaller ones leave holes that aligned blocks of the same size do not fit. Of the cache as much again
# was lost as nothing or all of it, half on average over 20 runs of shapes, batches and precisions.
_RETURNED_MB = 32 * 1024**2 / 1e6
_HOLES_PER_CACHE, _HOLES_PER_BLOCK, _HOLES_PER_SCORES = 0.5, 5, 1.5
# What a process of torch and transformers grows by on its first generation, the model apart.
_CPU_LIBRARIES_MB = 80.0
# A CUDA context with the kernels of torch and cuBLAS, and segments that torch's allocator cannot fill; assumed.
_CUDA_CONTEXT_MB, _CUDA_SLACK = 500.0, 0.1


@dataclass(frozen=True, kw_only=True)
class Widths:
    """Values per token, by tensor; keys are as wide as values."""

    n_hidden: int
    n_mlp: int
    n_queries: int
    n_keys: int
    n_heads: int
    n_vocabulary: int
    scores_last_only: bool = True


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is generated at once.

    ``n_chunk`` is how many tokens of the prompt are read together (None: all), ``n_cache_tokens`` what a static cache
    is made for, ``n_guided`` how many tokens a sequence has in the cache of a second run that guides it,
    ``n_score_tables`` one of the ``SCORES_`` above, ``stores_attention`` true for kernels that write the scores of
    attention down.
    """

    n_sequences: int
    n_input: int
    n_output: int
    n_bytes_per_value: int
    n_chunk: int | None = None
    keeps_cache: bool = True
    n_cache_tokens: int | None = None
    n_guided: int = 0
    n_score_tables: float = SCORES_GREEDY
    stores_attention: bool = False

    @property
    def n_read(self) -> int:
        """Tokens of one sequence in the largest forward pass."""
        whole = self.n_input if self.keeps_cache else self.n_input + self.n_output
        return min(whole, self.n_chunk or whole)


def cache_bytes(layers: Sequence[LayerCache], work: Work) -> tuple[float, float]:
    """The cache of all sequences when the prompt has been read, and at the end.

    A window is no limit while the prompt is read: transformers keeps the keys and values of the last chunk whole
    until the next step, with the tokens before it that the window reaches.
    """
    if not work.keeps_cache:
        return 0.0, 0.0
    guided = sum(layer.bytes_for(layer.kept_of(work.n_guided)) for layer in layers) if work.n_guided else 0.0
    if work.n_cache_tokens is not None:
        static = sum(layer.bytes_for(layer.kept_of(work.n_cache_tokens)) for layer in layers)
        return work.n_sequences * static, work.n_sequences * (static + guided)
    before = work.n_input - work.n_read
    after_prompt = sum(layer.bytes_for(layer.kept_of(before) + work.n_read) for layer in layers)
    at_end = sum(layer.bytes_for(layer.kept_of(work.n_input + work.n_output)) for layer in layers)
    return work.n_sequences * after_prompt, work.n_sequences * (at_end + guided)


def block_bytes(widths: Widths, work: Work) -> float:
    """Activations of one decoder block at its fullest, while the longest piece of the prompt is read."""
    size, n_tokens = work.n_bytes_per_value, work.n_sequences * work.n_read
    mlp = _HIDDEN_IN_MLP * widths.n_hidden + _WIDE_IN_MLP * widths.n_mlp
    attention = _HIDDEN_IN_ATTENTION * widths.n_hidden + _QUERIES * widths.n_queries + _KEYS_AND_VALUES * widths.n_keys
    seen = work.n_input if work.keeps_cache else work.n_read
    pairs = n_tokens * seen
    # A batch is padded: a mask of truth values, and one of numbers made of it.
    mask = pairs * (1 + size) if work.n_sequences > 1 else 0
    # Scores in the precision, in fp32, and the softmax of them; fp32 needs no copy.
    scores = pairs * widths.n_heads * (_SCORE_BYTES * 2 + size % _SCORE_BYTES) if work.stores_attention else 0
    return max(n_tokens * mlp * size, n_tokens * attention * size + scores) + mask


def step_bytes(widths: Widths, work: Work) -> float:
    """Scores over the vocabulary while a token is chosen."""
    tables = work.n_sequences * widths.n_vocabulary * _SCORE_BYTES * work.n_score_tables
    of_all = (
        0 if widths.scores_last_only else work.n_sequences * work.n_read * widths.n_vocabulary * work.n_bytes_per_value
    )
    return tables + of_all


def estimate(
    weights_bytes: float, layers: Sequence[LayerCache] | None, widths: Widths | None, work: Work, *, on_gpu: bool
) -> MemoryEstimate:
    """Memory of one model at its fullest, the engine's libraries apart.

    Args:
        weights_bytes: of the loaded weights.
        layers: the cache; None when it is not known.
        widths: of the architecture; None when they are not known.
        work: what is generated at once.
        on_gpu: whether a GPU's allocator holds it, or glibc's.
    """
    if layers is None or widths is None:
        known = None if layers is None else max(cache_bytes(layers, work)) / 1e6
        return MemoryEstimate(weights_mb=weights_bytes / 1e6, kv_cache_mb=known, activations_mb=None, overhead_mb=None)
    after_prompt, at_end = cache_bytes(layers, work)
    cache, block, step = max(after_prompt, at_end), block_bytes(widths, work), step_bytes(widths, work)
    # Each step makes a layer's keys and values anew, or unpacks quantised ones.
    growing = _growing_bytes(layers, work)
    fullest = max(after_prompt + max(block, step), at_end + max(growing, step))
    slack = _CUDA_SLACK * fullest if on_gpu else _holes_bytes(layers, widths, work, cache)
    return MemoryEstimate(
        weights_mb=weights_bytes / 1e6,
        kv_cache_mb=cache / 1e6,
        activations_mb=(fullest - cache) / 1e6,
        overhead_mb=slack / 1e6,
    )


def libraries_mb(*, on_gpu: bool) -> float:
    """What the engine takes beside its models, on the device that holds them."""
    return _CUDA_CONTEXT_MB if on_gpu else _CPU_LIBRARIES_MB


def _growing_bytes(layers: Sequence[LayerCache], work: Work) -> float:
    if not work.keeps_cache or work.n_cache_tokens is not None or not layers:
        return 0.0
    n_tokens = work.n_input + work.n_output
    return work.n_sequences * max(
        layer.n_bytes_per_token * layer.kept_of(n_tokens)
        if layer.n_whole_bytes_per_token is None
        else 2 * layer.n_whole_bytes_per_token * n_tokens
        for layer in layers
    )


def _holes_bytes(layers: Sequence[LayerCache], widths: Widths, work: Work, cache: float) -> float:
    """What glibc's heap cannot use again, in blocks of the kinds that are taken and given back most."""
    block = work.n_sequences * work.n_read * widths.n_hidden * work.n_bytes_per_value
    scores = work.n_sequences * widths.n_vocabulary * _SCORE_BYTES
    keys = cache / (2 * len(layers)) if layers else 0.0
    return sum(
        share * amount
        for amount, share, of_one in (
            (cache, _HOLES_PER_CACHE, keys),
            (block, _HOLES_PER_BLOCK, block),
            (scores, _HOLES_PER_SCORES, scores),
        )
        if of_one / 1e6 < _RETURNED_MB
    )


def sum_of(parts: Sequence[MemoryEstimate]) -> MemoryEstimate:
    """Of models that lie in memory together; a part that is unknown of one is unknown of all."""
    names = ("kv_cache_mb", "activations_mb", "overhead_mb")
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    return MemoryEstimate(
        weights_mb=sum(part.weights_mb for part in parts),
        unknown=tuple(dict.fromkeys(line for part in parts for line in part.unknown)),
        may_spill=any(part.may_spill for part in parts),
        **{name: None if None in column else sum(column) for name, column in columns.items()},
    )
