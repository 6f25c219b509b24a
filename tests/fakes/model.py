"""A model's description and tokenizer, with weights that are all zero: all that is asked before loading."""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


# Beside the norms and matrices of its two layers: an embedding and a head.
TINY_SHAPES = {
    "model.embed_tokens.weight": (320, 64),
    "model.norm.weight": (64,),
    "lm_head.weight": (320, 64),
    **{
        f"model.layers.{layer}.{name}.weight": shape
        for layer in (0, 1)
        for name, shape in {
            "input_layernorm": (64,),
            "post_attention_layernorm": (64,),
            "self_attn.q_proj": (64, 64),
            "self_attn.k_proj": (32, 64),
            "self_attn.v_proj": (32, 64),
            "self_attn.o_proj": (64, 64),
            "mlp.gate_proj": (128, 64),
            "mlp.up_proj": (128, 64),
            "mlp.down_proj": (64, 128),
        }.items()
    },
}
# Nearly every word is the unknown one: a tokenizer all the same.
FEW_WORDS = {
    "version": "1.0",
    "added_tokens": [],
    "pre_tokenizer": {"type": "Whitespace"},
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "<s>": 1, "</s>": 2, "a": 3, "the": 4}, "unk_token": "[UNK]"},
}


def write_description(directory: Path) -> Path:
    """A directory that looks like a model, and whose weights are zero."""
    directory.mkdir()
    write_safetensors(directory / "model.safetensors", TINY_SHAPES)
    for name, content in {
        "config.json": TINY_LLAMA,
        "tokenizer.json": FEW_WORDS,
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"},
    }.items():
        (directory / name).write_text(json.dumps(content), encoding="utf-8")
    return directory


def write_unloadable(directory: Path) -> Path:
    """As ``write_description``, with an old pickle for weights: without a header, only loading shows it is none."""
    (write_description(directory) / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    return directory


def write_safetensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """A file of float32 zeros, as https://github.com/huggingface/safetensors#format has it; of holes on most disks."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
