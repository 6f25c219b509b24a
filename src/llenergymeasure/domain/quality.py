"""How well a model predicts a text: what a configuration that is cheaper may have paid with."""

import math
from dataclasses import dataclass, replace
from typing import Self


@dataclass(frozen=True, kw_only=True)
class QualityResult:
    """A model's perplexity of a text, as it was loaded; figures are None where ``why_not`` says why.

    ``text`` is the name of the text and ``text_digest`` SHA-256 of its bytes, ``tokens_digest`` that of its tokens, of
    which the last ``n_scored_tokens`` were scored; they stand for ``n_bytes`` of it, None where the tokenizer does not
    tell. ``nll_nats`` is minus the sum of the logarithms of their probabilities, each in a window of at most
    ``n_context_tokens`` that began ``n_stride_tokens`` after the one before.
    """

    text: str
    text_digest: str | None = None
    tokens_digest: str | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    nll_nats: float | None = None
    n_scored_tokens: int | None = None
    n_bytes: int | None = None
    n_context_tokens: int | None = None
    n_stride_tokens: int | None = None
    why_not: str | None = None

    def worked_out(self) -> Self:
        """With what follows from the sum and what it is of.

        Raises:
            ValueError: nothing was scored, or the perplexity is beyond all numbers.
        """
        if self.nll_nats is None or not self.n_scored_tokens:
            raise ValueError("no token was scored")
        try:
            perplexity = math.exp(self.nll_nats / self.n_scored_tokens)
        except OverflowError:
            raise ValueError(
                f"{self.nll_nats:g} nats over {self.n_scored_tokens} tokens is a perplexity beyond all numbers"
            ) from None
        bits = self.nll_nats / math.log(2)
        return replace(self, perplexity=perplexity, bits_per_byte=bits / self.n_bytes if self.n_bytes else None)
