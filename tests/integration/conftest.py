"""Tiny real models, built on the spot: random weights, a tokenizer trained on a few lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.fakes.command import folder, llem, plain_llem

__all__ = ["folder", "llem", "plain_llem"]


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch, _no_defaults_of_ones_own: None) -> None:
    """What is measured here is measured in this process: a fresh one imports torch again."""
    monkeypatch.setenv("LLEM_EXECUTION__LAUNCHER", "in_process")


TEXT = [
    "the quick brown fox jumps over the lazy dog",
    "a joule is a watt for a second and a watt is a joule per second",
    "how much energy does a language model need to answer a question",
]
VOCABULARY = 320


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE with <s>, </s> and a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")
    fast.chat_template = (
        "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    return fast


def save_tiny_llama(directory: Path, *, eos_token_id: int = 1, hidden_size: int = 64) -> Path:
    """A two-layer Llama with grouped-query attention in ``directory``."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden_size,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=0,
        eos_token_id=eos_token_id,
        pad_token_id=None,
        tie_word_embeddings=False,
        initializer_range=0.5,  # random weights of this size give varied, not constant, greedy output
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    tiny_tokenizer().save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory of a tiny Llama whose end token is never likely."""
    return save_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter of the tiny Llama that really changes the output."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    base: Any = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    # Dropout is of training; left on, it would make each answer another.
    settings = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.5, target_modules=["q_proj", "v_proj"], init_lora_weights=False
    )
    path = tmp_path_factory.mktemp("adapter")
    get_peft_model(base, settings).save_pretrained(str(path))
    return path


def greedy_by_hand(directory: Path, ids: list[int], steps: int, end_ids: set[int]) -> list[int]:
    """Greedy decoding as a loop over whole forward passes: no cache, no padding, no generate()."""
    model: Any = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    produced: list[int] = []
    with torch.inference_mode():
        for _ in range(steps):
            logits = model(torch.tensor([ids + produced])).logits
            produced.append(int(logits[0, -1].argmax()))
            if produced[-1] in end_ids:
                break
    return produced


def save_ending_llama(
    tmp_path_factory: pytest.TempPathFactory, prompts: Sequence[Sequence[int]], *, hidden_size: int = 64
) -> tuple[Path, int, int]:
    """A tiny model, the end token it says within six tokens to some prompt, and that prompt's place."""
    free = save_tiny_llama(tmp_path_factory.mktemp("free"), hidden_size=hidden_size)
    for place, ids in enumerate(prompts):
        said = greedy_by_hand(free, list(ids), 6, set())
        for token in said[1:5]:
            if said.index(token) >= 1:
                folder = tmp_path_factory.mktemp("ending")
                return save_tiny_llama(folder, eos_token_id=token, hidden_size=hidden_size), token, place
    raise AssertionError("no prompt of the test is answered with two different tokens")
