"""Floating-point operations of a transformer's forward passes, term by term.

Products of matrices alone, at a multiply and an add per weight or per element of attention. Norms, activations,
softmax, rotary positions and biases are left out: they do no work that a peak of matrix products could be held against.
What is counted is what the tokens of a request need: no padding, no masked half of attention.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llenergymeasure.domain.metrics import FlopsTerms

_FLOPS_PER_MULTIPLY_ADD = 2


@dataclass(frozen=True, kw_only=True)
class AttentionLayer:
    """One layer's attention.

    ``n_key_dims`` is heads x width of a query, ``n_value_dims`` heads x width of a value, query heads both.
    A token sees itself and those before it: at most the last ``n_window_tokens`` of them, or those of its own
    chunk of ``n_chunk_tokens``; None is all.
    """

    n_key_dims: int
    n_value_dims: int
    n_window_tokens: int | None = None
    n_chunk_tokens: int | None = None

    def n_pairs(self, n_tokens: int) -> int:
        """Pairs of a query and a key that it sees, over the first ``n_tokens`` of a sequence."""
        if self.n_chunk_tokens is not None:
            n_whole, n_rest = divmod(n_tokens, self.n_chunk_tokens)
            return n_whole * _triangle(self.n_chunk_tokens) + _triangle(n_rest)
        n_growing = n_tokens if self.n_window_tokens is None else min(n_tokens, self.n_window_tokens)
        return _triangle(n_growing) + (n_tokens - n_growing) * n_growing


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """As much of an architecture as FLOPs need.

    ``n_linear_weights`` are the matrices that a token goes through, of a mixture the experts that it visits,
    without embeddings and head. ``attention`` [layers] is None where it is of a kind that is not known here.
    """

    n_linear_weights: int
    n_head_weights: int
    attention: tuple[AttentionLayer, ...] | None


@dataclass(frozen=True, kw_only=True)
class PhaseFlops:
    """The forward pass that reads the prompt and gives the first token, and those that give the others."""

    prefill: FlopsTerms
    decode: FlopsTerms


def cached_flops(
    shape: ModelShape, n_input_tokens: int, n_output_tokens: int, *, scores_prompt: bool = False
) -> PhaseFlops:
    """One sequence with a key-value cache.

    The last token of the prompt gives the first output token, and each output token but the last, which is never
    read, gives the next; the head runs once for each. With ``scores_prompt`` it runs on every token of the prompt.
    """
    n_scored = n_input_tokens if scores_prompt else 1
    n_steps = max(n_output_tokens - 1, 0)
    n_read = n_input_tokens + n_steps
    return PhaseFlops(
        prefill=_terms(shape, n_input_tokens, n_scored, lambda layer: layer.n_pairs(n_input_tokens)),
        decode=_terms(shape, n_steps, n_steps, lambda layer: layer.n_pairs(n_read) - layer.n_pairs(n_input_tokens)),
    )


def recomputed_flops(shape: ModelShape, n_input_tokens: int, n_output_tokens: int) -> PhaseFlops:
    """One sequence without a cache: every step reads all tokens before it again."""
    lengths = range(n_input_tokens + 1, n_input_tokens + n_output_tokens)
    return PhaseFlops(
        prefill=_terms(shape, n_input_tokens, 1, lambda layer: layer.n_pairs(n_input_tokens)),
        decode=_terms(shape, sum(lengths), len(lengths), lambda layer: sum(map(layer.n_pairs, lengths))),
    )


def total_of(phases: Iterable[PhaseFlops]) -> PhaseFlops:
    """Of several sequences together."""
    known = list(phases)
    return PhaseFlops(prefill=sum_terms([p.prefill for p in known]), decode=sum_terms([p.decode for p in known]))


def sum_terms(terms: Sequence[FlopsTerms]) -> FlopsTerms:
    """[n] terms added; attention is None where one is."""
    attention = [t.attention for t in terms]
    return FlopsTerms(
        linear=sum(t.linear for t in terms),
        attention=None if None in attention else sum(a for a in attention if a is not None),
        head=sum(t.head for t in terms),
    )


def attention_flops(shape: ModelShape, n_pairs: Callable[[AttentionLayer], int]) -> float | None:
    """Scores and weighted values for as many pairs of a query and a key as ``n_pairs`` says of each layer."""
    if shape.attention is None:
        return None
    return float(
        _FLOPS_PER_MULTIPLY_ADD
        * sum((layer.n_key_dims + layer.n_value_dims) * n_pairs(layer) for layer in shape.attention)
    )


def _terms(shape: ModelShape, n_tokens: int, n_logits: int, n_pairs: Callable[[AttentionLayer], int]) -> FlopsTerms:
    return FlopsTerms(
        linear=float(_FLOPS_PER_MULTIPLY_ADD * shape.n_linear_weights * n_tokens),
        attention=attention_flops(shape, n_pairs),
        head=float(_FLOPS_PER_MULTIPLY_ADD * shape.n_head_weights * n_logits),
    )


def _triangle(n: int) -> int:
    """1 + 2 + ... + n."""
    return n * (n + 1) // 2
