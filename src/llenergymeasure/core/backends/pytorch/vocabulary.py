"""Which token ids a random prompt may have."""

from typing import TYPE_CHECKING, Any

from llenergymeasure.core.backends.pytorch.tokenizer import NoTokenizer

if TYPE_CHECKING:
    from transformers import GenerationConfig


def drawable(config: Any, tokenizer: Any, generation: "GenerationConfig") -> tuple[int, frozenset[int]]:
    """The size of the vocabulary, and the ids that are not to be drawn: they mean something beside text.

    Embeddings are often padded to a round number; the ids beyond the tokenizer's were never trained.

    Args:
        config: of the model.
        tokenizer: the model's, or the ``NoTokenizer`` in its place.
        generation: whose beginning, end and padding are special.
    """
    text = config.get_text_config()
    size = int(text.vocab_size)
    special = {generation.bos_token_id, generation.pad_token_id}
    # Where end tokens are ignored the settings no longer name them.
    for ends in (generation.eos_token_id, getattr(text, "eos_token_id", None)):
        special |= set(ends) if isinstance(ends, list | tuple) else {ends}
    if not isinstance(tokenizer, NoTokenizer):
        size = min(size, len(tokenizer))
        special |= set(tokenizer.all_special_ids)
        special |= {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return size, frozenset(special - {None})
