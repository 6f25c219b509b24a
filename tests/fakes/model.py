"""A model's description and tokenizer, with an empty file for its weights: all that is asked before loading."""

import json
from pathlib import Path

# Two layers, grouped-query attention; an engine can build it in a moment.
TINY_LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}


# Nearly every word is the unknown one: a tokenizer all the same.
FEW_WORDS = {
    "version": "1.0",
    "added_tokens": [],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "<s>": 1, "</s>": 2, "a": 3, "the": 4}, "unk_token": "[UNK]"},
}


def write_description(directory: Path) -> Path:
    """A directory that looks like a model; it can be loaded no more than one whose download was cut off."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(TINY_LLAMA), encoding="utf-8")
    (directory / "tokenizer.json").write_text(json.dumps(FEW_WORDS), encoding="utf-8")
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}', encoding="utf-8")
    (directory / "model.safetensors").touch()
    return directory
