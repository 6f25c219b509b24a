"""A model's description, with empty files for the rest: enough for everything that is asked before loading."""

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


def write_description(directory: Path) -> Path:
    """A directory that looks like a model; it can be loaded no more than one whose download was cut off."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(TINY_LLAMA), encoding="utf-8")
    for name in ("model.safetensors", "tokenizer.json"):
        (directory / name).touch()
    return directory
