"""GGUF files that are made of checkpoints: llama.cpp computes of them what transformers does of the checkpoint."""

import functools
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp import LlamaCppBackend
from llenergymeasure.core.backends.llamacpp.file import read_header
from llenergymeasure.core.backends.llamacpp.opened import header_for, opened
from tests.fakes.gguf_files import N_WORDS, save_llama, save_words
from tests.integration.engines.conftest import PROMPTS, by_hand, generated

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the extra llamacpp is not installed"),
]
N_TOKENS = 8
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
# Each differs from the plain one in what a file has to say of it.
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tie_word_embeddings": True},
    "no-groups": {"num_key_value_heads": 4},
    "wide-heads": {"head_dim": 32},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "linear": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0}},
    "llama3": {"rope_parameters": LLAMA3},
    "more-rows": {"vocab_size": N_WORDS + 64},
}


def config_of(model: Path, precision: str = "fp32") -> ExperimentConfig:
    own = {"n_ctx": 256, "n_threads": 1, "cache_type_k": "f32", "cache_type_v": "f32"}
    lengths = {"max_input_tokens": 64, "max_output_tokens": N_TOKENS}
    fields = {"model": str(model), "backend": "llamacpp", "precision": precision, "llamacpp": own, **lengths}
    return ExperimentConfig.model_validate(fields)


def said(config: ExperimentConfig) -> list[list[int]]:
    return [list(output.output_ids[0]) for output in generated(LlamaCppBackend(), config, PROMPTS, N_TOKENS)]


@functools.cache
def expected(folder: Path) -> list[list[int]]:
    return [by_hand(folder, tuple(ids), N_TOKENS, 1) for ids in PROMPTS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_says_what_transformers_says(kind: str, tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "model", **KINDS[kind])
    config = config_of(folder)
    # Other weights would say something else; a constant answer would show nothing.
    assert len({token for answer in expected(folder) for token in answer}) > len(PROMPTS)
    assert said(config) == expected(folder)
    # What is told before the file is made is what its header says then.
    planned, made = header_for(config), read_header(opened(config).path)
    rope_freqs = 8 if kind in ("linear", "llama3") else 0
    assert made.n_parameters == planned.n_parameters + rope_freqs
    assert (made.n_by_format, made.n_bytes) == (planned.n_by_format, planned.n_bytes + 4 * rope_freqs)
    assert made.precision == "fp32"
    assert {name: made.settings[name] for name in planned.settings} == pytest.approx(planned.settings)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_checkpoint_that_is_stored_in_the_files_own_format_says_the_same(precision: str, tmp_path: Path) -> None:
    """Weights that both hold are the same in both; activations are fp32 in llama.cpp but for products with them."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(save_llama(tmp_path / "first"))
    kind = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    model.to(kind).save_pretrained(tmp_path / "stored")
    save_words(tmp_path / "stored")
    found = said(config_of(tmp_path / "stored", precision))
    same = sum(ours[0] == theirs[0] for ours, theirs in zip(found, expected(tmp_path / "stored"), strict=True))
    assert same >= len(PROMPTS) - 1


def test_an_answer_ends_where_the_checkpoint_says_and_nowhere_else(tmp_path: Path) -> None:
    """</s> is a name that llama.cpp takes for an end; where it is none, answers go on after it."""
    free = save_llama(tmp_path / "free")
    answers = [by_hand(free, tuple(ids), N_TOKENS, -1) for ids in PROMPTS]
    place = next(i for i, answer in enumerate(answers) if answer[2] not in answer[:2])
    for name, ends, length in (("one", answers[place][2], 3), ("two", list(answers[place][1:3]), 2)):
        folder = save_llama(tmp_path / name)
        settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
        (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": ends}), "utf-8")
        assert said(config_of(folder))[place] == answers[place][:length]
    # The output head says </s> now where it said the answer's first token, which is another end.
    import torch
    from transformers import AutoModelForCausalLM

    first = answers[place][0]
    model: Any = AutoModelForCausalLM.from_pretrained(free, dtype=torch.float32)
    with torch.no_grad():
        model.lm_head.weight[[1, first]] = model.lm_head.weight[[first, 1]]
    model.generation_config.eos_token_id = first
    model.save_pretrained(tmp_path / "named")
    save_words(tmp_path / "named")
    answer = by_hand(tmp_path / "named", tuple(PROMPTS[place]), N_TOKENS, first)
    assert answer[0] == 1
    assert said(config_of(tmp_path / "named"))[place] == answer


def test_pieces_with_tokens_for_bytes_are_spelt(tmp_path: Path) -> None:
    """A vocabulary as Llama 2 has it."""
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    folder = save_llama(tmp_path / "model")
    # Those beyond would be parts of characters.
    n_bytes = 128
    bytes_ = [f"<0x{byte:02X}>" for byte in range(n_bytes)]
    pieces = ["<unk>", "<s>", "</s>", *bytes_, *(f"\u2581word{i}" for i in range(N_WORDS - 3 - n_bytes))]
    words = {text: i for i, text in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[], byte_fallback=True, unk_token="<unk>"))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    config = config_of(folder)
    assert said(config) == expected(folder)
    header = read_header(opened(config).path)
    assert header.vocabulary.kind == "llama"
    assert header.vocabulary.texts[:4] == ("<control 0>", "<s>", "<control 2>", "<0x00>")
    assert header.vocabulary.type_index[:5] == (3, 3, 3, 6, 6)
