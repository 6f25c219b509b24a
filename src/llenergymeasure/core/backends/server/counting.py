"""Tokens of a text, where a server does not tell how many there are."""

from collections.abc import Callable
from typing import Any

from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.checkpoint.tokenizer import load_tokenizer


class TokenCounter:
    """Counts by the tokenizer of a checkpoint, which is loaded when first asked: in warm-up, where it is needed."""

    def __init__(self, checkpoint: Callable[[], Checkpoint] | None) -> None:
        """``checkpoint`` gives the files of the tokenizer; None has none."""
        self._checkpoint = checkpoint
        self._tokenizer: Any = None

    def __call__(self, text: str) -> int | None:
        """Tokens of a text without anything before and behind it; None where nobody can tell."""
        if self._tokenizer is None and self._checkpoint is not None:
            try:
                self._tokenizer = load_tokenizer(self._checkpoint())
            except Exception:  # noqa: BLE001 - tokenizers raise whatever their libraries raise
                self._checkpoint = None
        if self._tokenizer is None:
            return None
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
