"""Memory estimates against arithmetic by hand."""

from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import PyTorchBackend


def test_weights_and_cache_of_a_tiny_llama(tiny_llama: Path) -> None:
    config = ExperimentConfig.model_validate(
        {
            "model": str(tiny_llama),
            "precision": "bf16",
            "max_input_tokens": 100,
            "max_output_tokens": 28,
            "pytorch": {"batch_size": 5},
        }
    )
    estimate = PyTorchBackend().estimate_memory(config)
    assert estimate is not None
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert estimate.weights_mb == 2 * (2 * 320 * 64 + 2 * layer + 64) / 1e6
    # Key and value, 2 layers, 2 heads of 16, 128 tokens, 5 sequences, 2 bytes each.
    assert estimate.kv_cache_mb == 2 * 2 * 2 * 16 * 128 * 5 * 2 / 1e6


def test_without_a_cache_only_the_weights_count(tiny_llama: Path) -> None:
    config = ExperimentConfig.model_validate({"model": str(tiny_llama), "pytorch": {"use_cache": False}})
    estimate = PyTorchBackend().estimate_memory(config)
    assert estimate is not None
    assert estimate.weights_mb > 0
    assert estimate.kv_cache_mb == 0


def test_a_draft_model_takes_memory_beside_the_model(tiny_llama: Path, tmp_path: Path) -> None:
    draft = LlamaConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(draft).save_pretrained(tmp_path)
    fields = {"model": str(tiny_llama), "precision": "bf16", "max_input_tokens": 100, "max_output_tokens": 28}
    alone, both = (
        PyTorchBackend().estimate_memory(ExperimentConfig.model_validate({**fields, "pytorch": section}))
        for section in ({}, {"assistant_model": str(tmp_path)})
    )
    assert alone is not None
    assert both is not None
    # Two embeddings of 320 x 32; q, k, v and o 32 x 32, three MLP matrices 32 x 64, two norms; a last norm.
    weights = 2 * 320 * 32 + 4 * 32 * 32 + 3 * 32 * 64 + 2 * 32 + 32
    assert both.weights_mb - alone.weights_mb == pytest.approx(2 * weights / 1e6)
    # Key and value, 1 layer, 2 heads of 16, 128 tokens, 2 bytes each.
    assert both.kv_cache_mb is not None
    assert alone.kv_cache_mb is not None
    assert both.kv_cache_mb - alone.kv_cache_mb == pytest.approx(2 * 1 * 2 * 16 * 128 * 2 / 1e6)


def test_a_description_that_cannot_be_read_has_no_estimate(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert PyTorchBackend().estimate_memory(ExperimentConfig(model=str(tmp_path))) is None
