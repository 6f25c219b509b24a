"""Memory estimates against arithmetic by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import (
    DeepseekV3Config,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
)

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.domain.metrics import MemoryEstimate

SMALL: dict[str, Any] = {
    "vocab_size": 100,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
WORK = {"precision": "bf16", "max_input_tokens": 100, "max_output_tokens": 28}
# q and o of 64 x 64, k and v of 64 x 32, three MLP matrices of 64 x 128; two embeddings, five norms.
LINEAR = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
OTHER = 2 * 100 * 64 + 5 * 64


def estimate_of(model: Path | PretrainedConfig, folder: Path, **fields: Any) -> MemoryEstimate:
    """Of a model that is described and has no weights."""
    if isinstance(model, PretrainedConfig):
        model.save_pretrained(folder)
        model = folder
    found = PyTorchBackend().estimate_memory(ExperimentConfig.model_validate({"model": str(model), **WORK, **fields}))
    assert found is not None
    return found


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


@pytest.mark.parametrize("guidance_scale", [None, 1.5])
def test_without_a_cache_only_the_weights_count(tiny_llama: Path, guidance_scale: float | None) -> None:
    section = {"use_cache": False, "guidance_scale": guidance_scale}
    estimate = estimate_of(tiny_llama, tiny_llama, pytorch=section)
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


def test_a_window_holds_the_prompt_while_it_is_read_and_itself_afterwards(tmp_path: Path) -> None:
    # Key and value, 2 layers, 2 heads of 16, 2 bytes: 256 bytes per token.
    config = MistralConfig(**SMALL, sliding_window=10)
    assert estimate_of(config, tmp_path).kv_cache_mb == pytest.approx(256 * 100 / 1e6)
    chunked = estimate_of(config, tmp_path, pytorch={"prefill_chunk_size": 20})
    assert chunked.kv_cache_mb == pytest.approx(256 * 30 / 1e6)
    unlimited = estimate_of(MistralConfig(**SMALL, sliding_window=None), tmp_path)
    assert unlimited.kv_cache_mb == pytest.approx(256 * 128 / 1e6)


def test_latent_attention_is_counted_as_it_is_kept(tmp_path: Path) -> None:
    config = DeepseekV3Config(
        **{**SMALL, "num_key_value_heads": 4},
        kv_lora_rank=12,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
        q_lora_rank=16,
        moe_intermediate_size=32,
        n_routed_experts=8,
        n_group=2,
        topk_group=1,
        num_experts_per_tok=2,
        first_k_dense_replace=1,
    )
    # 2 layers keep a latent of 12 and a rotary key of 4 per token, not heads: 32 numbers of 2 bytes.
    assert estimate_of(config, tmp_path).kv_cache_mb == pytest.approx(64 * 128 / 1e6)


def test_recurrent_states_do_not_grow(tmp_path: Path) -> None:
    config = Mamba2Config(
        vocab_size=100, hidden_size=64, num_hidden_layers=2, num_heads=8, head_dim=16, state_size=8, n_groups=1
    )
    # Per layer 4 steps of a convolution of 128 + 2 x 8 channels in bf16, and a state of 8 heads of 16 by 8 in fp32.
    for n_output in (1, 1000):
        found = estimate_of(config, tmp_path, max_output_tokens=n_output)
        assert found.kv_cache_mb == pytest.approx(2 * (4 * 144 * 2 + 8 * 16 * 8 * 4) / 1e6)


def test_a_mixture_keeps_the_cache_of_its_attention(tmp_path: Path) -> None:
    found = estimate_of(MixtralConfig(**SMALL, num_local_experts=4), tmp_path)
    assert found.kv_cache_mb == pytest.approx(256 * 128 / 1e6)


def test_a_static_cache_is_as_long_as_it_is_made(tiny_llama: Path, tmp_path: Path) -> None:
    section = {"cache_implementation": "static", "max_cache_len": 200}
    assert estimate_of(tiny_llama, tmp_path, pytorch=section).kv_cache_mb == pytest.approx(256 * 200 / 1e6)


def test_bits_of_a_quantised_cache_its_scales_and_its_latest_tokens(tiny_llama: Path, tmp_path: Path) -> None:
    section = {
        "cache_implementation": "quantized",
        "cache_nbits": 2,
        "cache_group_size": 32,
        "cache_residual_length": 4,
    }
    found = estimate_of(tiny_llama, tmp_path, pytorch=section)
    # 128 values per token: 2 bits and 32 bits of scale and zero point for 32 of them; 4 tokens of 256 bytes.
    assert found.kv_cache_mb == pytest.approx((128 * 128 * 3 / 8 + 4 * 256) / 1e6)


@pytest.mark.parametrize(("decoder", "n"), [({"num_beams": 3}, 3), ({"do_sample": True, "num_return_sequences": 4}, 4)])
def test_every_beam_and_answer_is_a_sequence(tiny_llama: Path, tmp_path: Path, decoder: dict[str, Any], n: int) -> None:
    assert estimate_of(tiny_llama, tmp_path, decoder=decoder).kv_cache_mb == pytest.approx(n * 256 * 128 / 1e6)


@pytest.mark.parametrize(
    ("stored", "bits"),
    [
        # 4 bits with 32 for each group of 128, or of 64.
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 4.25),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, 4.5),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 8),
        ({"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 8}}}}, 8),
        # Unpacked where no GPU takes it.
        ({"quant_method": "fp8"}, 16),
    ],
    ids=lambda value: value["quant_method"] if isinstance(value, dict) else str(value),
)
def test_a_checkpoint_that_is_quantised_says_in_how_many_bits(
    tmp_path: Path, stored: dict[str, Any], bits: float
) -> None:
    description = LlamaConfig(**SMALL).to_dict() | {"quantization_config": stored}
    (tmp_path / "config.json").write_text(json.dumps(description), encoding="utf-8")
    assert estimate_of(tmp_path, tmp_path).weights_mb == pytest.approx((LINEAR * bits / 8 + OTHER * 2) / 1e6)


def test_an_adapter_lies_beside_the_model_until_it_is_merged(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x" * 5000)
    plain = estimate_of(tiny_llama, tmp_path)
    beside, merged = (
        estimate_of(tiny_llama, tmp_path, lora={"path": str(tmp_path), "merge": merge}) for merge in (False, True)
    )
    assert beside.weights_mb - plain.weights_mb == pytest.approx(0.005)
    assert merged.weights_mb == plain.weights_mb


def test_an_adapter_that_is_not_here_yet_is_named_and_not_taken_for_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    apart = estimate_of(tiny_llama, tmp_path, lora={"path": "nobody/no-such-adapter", "merge": False})
    assert [line for line in apart.unknown if line.startswith("adapter: ")] != []
    assert estimate_of(tiny_llama, tmp_path, lora={"path": "nobody/no-such-adapter"}).unknown == ()


@pytest.mark.parametrize("cache", [{}, {"cache_implementation": "static"}], ids=str)
def test_guidance_keeps_a_second_cache_of_the_answer(tiny_llama: Path, tmp_path: Path, cache: dict[str, Any]) -> None:
    def cache_mb(**section: Any) -> float:
        found = estimate_of(tiny_llama, tmp_path, pytorch={"batch_size": 5, **cache, **section}).kv_cache_mb
        assert found is not None
        return found

    # Key and value, 2 layers, 2 heads of 16, 28 tokens, 5 sequences, 2 bytes each.
    second = 2 * 2 * 2 * 16 * 28 * 5 * 2 / 1e6
    assert cache_mb(guidance_scale=1.5) - cache_mb() == pytest.approx(second)
    assert cache_mb(guidance_scale=1) == cache_mb()


def test_processes_that_share_prompts_hold_a_model_each(tiny_llama: Path, tmp_path: Path) -> None:
    one, two = (estimate_of(tiny_llama, tmp_path, pytorch={"data_parallel_size": n}) for n in (1, 2))
    assert one.total_mb is not None
    assert two.total_mb == pytest.approx(2 * one.total_mb)


def test_what_packing_leaves_on_a_cpu_is_not_made_up(tiny_llama: Path, tmp_path: Path) -> None:
    found = estimate_of(tiny_llama, tmp_path, pytorch={"load_in_8bit": True})
    assert found.total_mb is None
    assert any("packing" in line for line in found.unknown)


def test_no_more_is_reckoned_with_than_the_run_can_hold(tiny_llama: Path) -> None:
    def cache_mb(**fields: object) -> float:
        config = ExperimentConfig.model_validate({"model": str(tiny_llama), "precision": "bf16", **fields})
        found = PyTorchBackend().estimate_memory(config)
        assert found is not None
        assert found.kv_cache_mb is not None
        return found.kv_cache_mb

    limits = {"max_input_tokens": 1000, "max_output_tokens": 200}
    drawn = {"random": {"input_tokens": 96, "output_tokens": {"distribution": "uniform", "low": 8, "high": 32}}}
    # Key and value, 2 layers, 2 heads of 16, 2 bytes each; two requests only, though eight would go into a batch.
    per_token_mb = 2 * 2 * 2 * 16 * 2 / 1e6
    few = cache_mb(n=2, pytorch={"batch_size": 8}, **limits)
    assert few == pytest.approx(2 * 1200 * per_token_mb, rel=1e-3)
    # Lengths that are drawn up to 96 + 32, whatever the limits are.
    short = cache_mb(n=8, dataset=drawn, pytorch={"batch_size": 4}, **limits)
    assert short == pytest.approx(4 * 128 * per_token_mb, rel=1e-2)
