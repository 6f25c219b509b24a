"""A text that is longer than what a model is given at a time, in windows that lie over each other."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class TextWindow:
    """Tokens from ``begin`` up to ``end`` are read, and those from ``first`` on are scored."""

    begin: int
    end: int
    first: int


def windows(n_tokens: int, width: int, n_unscored: int) -> Iterator[TextWindow]:
    """Windows of at most ``width`` of [n] tokens, in which each token but the first unscored ones is scored once.

    Each begins half a width after the one before, so that what it scores has half a width before it: the strided
    evaluation of https://huggingface.co/docs/transformers/perplexity.

    Raises:
        ValueError: in windows of this width a token would have nothing before it.
    """
    stride = stride_of(width)
    begin, first = 0, n_unscored
    while first < n_tokens:
        end = min(begin + width, n_tokens)
        yield TextWindow(begin, end, first)
        begin, first = begin + stride, end


def stride_of(width: int) -> int:
    """Tokens from the beginning of a window to that of the next.

    Raises:
        ValueError: in windows of this width a token would have nothing before it.
    """
    if width < 2:  # noqa: PLR2004 - a token, and one before it
        raise ValueError(f"a window of {width} tokens has no room for one and what comes before it")
    return width // 2
