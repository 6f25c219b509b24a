"""Tiny checkpoints of Llama for tests, and GGUF files of such, written in another way than the package does it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

N_WORDS = 320


def save_tiny_gguf(folder: Path, target: Path, sampling: Mapping[str, str | int] = {}) -> Path:
    """A GGUF file of fp32 weights, of a Llama that lies in a folder as transformers saves it.

    Args:
        folder: its ``config.json``, ``tokenizer.json`` and weights.
        target: the file.
        sampling: how the file wants to be sampled, by the last words of ``general.sampling``.
    """
    import gguf
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    config = model.config
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    writer = gguf.GGUFWriter(target, "llama")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, tokenizer, config)
    for name, value in sampling.items():
        add = writer.add_string if isinstance(value, str) else writer.add_int32
        add(f"general.sampling.{name}", value)
    for name, weights in model.state_dict().items():
        told = _name(name)
        if told is not None:
            writer.add_tensor(told, _permuted(name, weights.float().numpy(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def save_llama(folder: Path, **settings: Any) -> Path:
    """A tiny Llama whose every weight is random, norms and biases too, and large enough to be seen in its answers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    plain: dict[str, Any] = {
        "vocab_size": N_WORDS, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 0,
        "eos_token_id": 1, "initializer_range": 0.5, "rms_norm_eps": 1e-3,
    }  # fmt: skip
    torch.manual_seed(5)
    model = LlamaForCausalLM(LlamaConfig(**{**plain, **settings}))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.dim() == 1:
                weights.uniform_(0.5, 1.5) if "norm" in name else weights.uniform_(-1.0, 1.0)
    model.save_pretrained(folder)
    save_words(folder)
    return folder


def save_words(folder: Path) -> None:
    """Of words, so that no answer ends inside of a character: llama.cpp's server does not tell such ones."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    words = {"<s>": 0, "</s>": 1, **{f"word{i}": i for i in range(2, N_WORDS)}}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)


def _add_tokenizer(writer: Any, tokenizer: Any, config: Any) -> None:
    import json

    import gguf

    vocabulary = tokenizer.get_vocab()
    # llama.cpp takes tokens of some names, </s> among them, for ends whatever the file says.
    names = {"<s>": "<begin>", "</s>": "<other>"}
    texts = [names.get(text, text) for text, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
    texts += [f"<unused{i}>" for i in range(len(texts), config.vocab_size)]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types([control if text.startswith("<") and len(text) > 1 else normal for text in texts])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(config.eos_token_id)
    if tokenizer.chat_template is not None:
        writer.add_chat_template(tokenizer.chat_template)


_NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def _name(name: str) -> str | None:
    if not name.startswith("model.layers."):
        return _WHOLE.get(name)
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{_NAMES[rest.removesuffix('.weight')]}.weight"


def _permuted(name: str, weights: np.ndarray[Any, Any], config: Any) -> np.ndarray[Any, Any]:
    """Queries and keys with the halves of each head interleaved, as llama.cpp rotates them."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    n_heads = next((n for part, n in heads.items() if part in name), None)
    if n_heads is None:
        return weights
    n_out, n_in = weights.shape
    halves = weights.reshape(n_heads, 2, n_out // n_heads // 2, n_in)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(n_out, n_in))
