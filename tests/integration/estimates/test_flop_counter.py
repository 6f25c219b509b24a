"""FLOPs from the architecture against torch's own counter, on forward passes that are really made.

The counter sees products of matrices. It counts the whole square of attention where a mask hides half of it, so the
square is what our terms are given here for a prompt; a step of decoding has no masked part.
"""

import contextlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    DeepseekV2Config,
    DeepseekV3Config,
    DogeConfig,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GptOssConfig,
    HrmTextConfig,
    JetMoeConfig,
    LlamaConfig,
    MixtralConfig,
    Qwen2Config,
    Qwen3Config,
    Qwen3MoeConfig,
    Zamba2Config,
    ZambaConfig,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.checkpoint.architecture import active_weights, shape_of, skeleton, weights_and_shape
from llenergymeasure.core.checkpoint.uses import answering, uses_of
from llenergymeasure.core.flops import estimate_flops_palm
from llenergymeasure.domain.model_flops import ModelShape, attention_flops, cached_flops
from llenergymeasure.domain.plan import ExperimentPlan
from tests.fakes import pytorch
from tests.integration.pytorch.test_engine import TEXTS, prompts

BASE: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS: dict[str, Any] = {
    "num_experts": 8,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 192,
}
# Heads of 64, which is more than 256 / 8; two of three layers see 24 tokens.
GEMMA = {**BASE, "head_dim": 64, "sliding_window": 24, "layer_types": ["sliding_attention"] * 2 + ["full_attention"]}
CONFIGS: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**BASE, tie_word_embeddings=False),
    "llama-biased": lambda: LlamaConfig(**BASE, attention_bias=True, mlp_bias=True),
    "gpt2": lambda: GPT2Config(vocab_size=1000, n_embd=256, n_layer=3, n_head=8),
    "qwen2": lambda: Qwen2Config(**BASE),
    "qwen3": lambda: Qwen3Config(**BASE, head_dim=64),
    "gemma2": lambda: Gemma2Config(**GEMMA),
    "gemma3": lambda: Gemma3TextConfig(**GEMMA),
    "mixtral": lambda: MixtralConfig(**BASE, num_local_experts=8, num_experts_per_tok=2),
    "qwen3-moe": lambda: Qwen3MoeConfig(**BASE, **EXPERTS),
    "gpt-oss": lambda: GptOssConfig(
        **GEMMA, num_local_experts=8, num_experts_per_tok=2, rope_parameters={"rope_type": "default", "rope_theta": 1e4}
    ),
    "deepseek-v3": lambda: DeepseekV3Config(
        **{**BASE, "num_key_value_heads": 8},
        q_lora_rank=64,
        kv_lora_rank=32,
        qk_nope_head_dim=32,
        qk_rope_head_dim=16,
        v_head_dim=24,
        n_routed_experts=8,
        num_experts_per_tok=2,
        moe_intermediate_size=128,
        n_group=2,
        topk_group=1,
        first_k_dense_replace=1,
    ),
}


def built(config: Any, device: str = "cpu") -> Any:
    """A model whose products are plain ones, which the counter sees."""
    torch.manual_seed(0)
    config._experts_implementation = "eager"
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def shape(model: Any) -> ModelShape:
    found = shape_of(skeleton(model.config))
    assert found is not None
    assert found.attention is not None
    return found


def counted(call: Callable[[], object]) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


# Blocks that run several times, and experts that are known by no usual name.
WHOLE_HEADS = {**BASE, "num_key_value_heads": 8}
SHARED: dict[str, Callable[[], Any]] = {
    "zamba": lambda: ZambaConfig(
        **{**WHOLE_HEADS, "num_hidden_layers": 7}, attn_layer_period=3, attn_layer_offset=1, mamba_d_state=8
    ),
    "zamba2": lambda: Zamba2Config(
        **{**WHOLE_HEADS, "num_hidden_layers": 8},
        layers_block_type=["mamba", "hybrid"] * 4,
        mamba_d_state=16,
        n_mamba_heads=8,
        num_mem_blocks=2,
        adapter_rank=16,
    ),
    "hrm": lambda: HrmTextConfig(**BASE),
    "doge": lambda: DogeConfig(**BASE, is_moe=True, num_experts=64, num_experts_per_tok=6),
    "jetmoe": lambda: JetMoeConfig(
        **{**WHOLE_HEADS, "num_attention_heads": 16}, kv_channels=32, num_local_experts=8, num_experts_per_tok=2
    ),
    "deepseek-v2": lambda: DeepseekV2Config(
        **WHOLE_HEADS,
        q_lora_rank=64,
        kv_lora_rank=32,
        qk_nope_head_dim=32,
        qk_rope_head_dim=16,
        v_head_dim=24,
        n_routed_experts=8,
        num_experts_per_tok=2,
        moe_intermediate_size=128,
        first_k_dense_replace=1,
        n_shared_experts=1,
        topk_method="greedy",
    ),
}


def scores_the_last_alone(model: Any) -> bool:
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def seen(model: Any, n_tokens: int) -> tuple[int, int]:
    """What the counter saw of a prompt without the head; of that what is multiplied with weights.

    Of those are all single products of matrices, and the stacked ones of experts: not attention, not a recurrence.
    """
    ids = torch.ones(1, n_tokens, dtype=torch.long, device=model.device)
    scored = {"logits_to_keep": 1} if scores_the_last_alone(model) else {}
    with torch.no_grad(), FlopCounterMode(display=False) as counter, answering():
        model(input_ids=ids, use_cache=False, **scored)
    by_module = counter.get_flop_counts()
    names = {name: f"{type(model).__name__}.{name}" for name, _ in model.named_modules()}
    head = next(path for name, path in names.items() if model.get_submodule(name) is model.get_output_embeddings())
    experts = [by_module.get(path, {}) for name, path in names.items() if name.endswith(".experts")]
    n_head = sum(by_module.get(head, {}).values())
    stacked = [n for op, n in by_module["Global"].items() if "bmm" in str(op)]
    of_experts = [n for ops in experts for op, n in ops.items() if "bmm" in str(op)]
    total = int(counter.get_total_flops()) - n_head
    return total, total - sum(stacked) + sum(of_experts)


def linear_growth(model: Any) -> tuple[float, float]:
    """What one more token of a prompt adds, of both figures of ``seen``; of all without what grows with the square."""
    (short, short_weights), (long, long_weights) = (seen(model, n) for n in (64, 128))
    return (4 * short - long) / 128, (long_weights - short_weights) / 64


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", SHARED)
def test_a_token_goes_through_shared_blocks_and_experts_as_often_as_the_counter_sees(name: str) -> None:
    model = built(SHARED[name]())
    weights, of = weights_and_shape(skeleton(model.config))
    whole, with_weights = linear_growth(model)
    # The recurrence of Mamba 2 is no product with weights.
    assert 2 * weights.n_linear == pytest.approx(with_weights if name == "zamba2" else whole, rel=0.005)
    estimate = estimate_flops_palm(model, 1, 0)
    assert estimate.value == 2 * weights.n_parameters
    # JetMoE asks for numbers that decide the shapes: what it has is right by its structure, but nobody saw it run.
    assert estimate.confidence == {"jetmoe": "low", "doge": "medium", "deepseek-v2": "medium"}.get(name, "high")
    assert (of is None) == (name == "jetmoe")


def test_a_head_that_generation_leaves_alone_is_not_counted() -> None:
    plain = skeleton(LlamaConfig(**BASE))
    further = skeleton(LlamaConfig(**BASE))
    further.model.token_after_the_next = torch.nn.Linear(256, 1000, device="meta")
    assert shape_of(further) == shape_of(plain)
    assert active_weights(further).n_linear == active_weights(plain).n_linear + 256_000  # where nobody looks


def counted_pass(model: Any, n_tokens: int) -> int:
    ids = torch.ones(1, n_tokens, dtype=torch.long, device=model.device)
    return counted(lambda: model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, logits_to_keep=1))


def square(of: ModelShape, n_tokens: int) -> float:
    found = attention_flops(of, lambda _: n_tokens * n_tokens)
    assert found is not None
    return found


@pytest.mark.parametrize("name", CONFIGS)
def test_a_pass_over_a_prompt_is_what_the_counter_sees(name: str) -> None:
    model = built(CONFIGS[name]())
    of = shape(model)
    short, long = (counted_pass(model, n) for n in (64, 128))
    for n_tokens, seen in ((64, short), (128, long)):
        prefill = cached_flops(of, n_tokens, 1).prefill
        assert prefill.linear + square(of, n_tokens) + prefill.head == pytest.approx(seen, rel=0.01)
    # Attention alone: it is what grows with the square, four times against twice.
    assert square(of, 128) - 2 * square(of, 64) == pytest.approx(long - 2 * short + 2 * of.n_head_weights, rel=0.01)


def generated(model: Any, n_input: int, n_output: int, **settings: Any) -> int:
    ids = torch.randint(3, 900, (1, n_input))
    return counted(
        lambda: model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=n_output,
            min_new_tokens=n_output,
            pad_token_id=0,
            **{"do_sample": False, **settings},
        )
    )


# Not DeepSeek: transformers keeps its keys and values packed, and unpacks them all again at every step.
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3", "mixtral"])
def test_generation_is_a_prompt_and_a_step_for_each_further_token(name: str) -> None:
    model = built(CONFIGS[name]())
    of = shape(model)
    phases = cached_flops(of, 40, 6)
    expected = phases.prefill.linear + square(of, 40) + phases.prefill.head + (phases.decode.total or 0)
    assert generated(model, 40, 6) == pytest.approx(expected, rel=0.01)
    # Five steps, whose attention no mask makes larger: exact but for what has no weights, such as routing.
    assert generated(model, 40, 6) - generated(model, 40, 1) == pytest.approx(phases.decode.total, rel=0.01)


@pytest.mark.parametrize(
    "settings", [{"num_beams": 3}, {"do_sample": True, "num_return_sequences": 3}], ids=["beams", "answers"]
)
def test_every_beam_and_every_answer_reads_the_prompt(settings: dict[str, Any]) -> None:
    model = built(CONFIGS["llama"]())
    of = shape(model)
    phases = cached_flops(of, 40, 6)
    expected = phases.prefill.linear + square(of, 40) + phases.prefill.head + (phases.decode.total or 0)
    assert generated(model, 40, 6, **settings) == pytest.approx(3 * expected, rel=0.01)


@pytest.mark.parametrize(
    ("section", "decoder", "adapted"),
    [({}, {}, False), ({"use_cache": False}, {}, False), ({}, {"num_beams": 3}, False), ({}, {}, True)],
    ids=["cache", "no-cache", "beams", "adapter"],
)
def test_what_the_engine_says_it_did_is_what_the_counter_saw(
    tiny_llama: Path, adapter: Path, section: dict[str, Any], decoder: dict[str, Any], adapted: bool
) -> None:
    config = ExperimentConfig.model_validate(
        {
            "model": str(tiny_llama),
            "precision": "fp32",
            "max_output_tokens": 8,
            "decoder": decoder,
            "lora": {"path": str(adapter), "merge": False} if adapted else None,
            "pytorch": {"attn_implementation": "eager", **section},
        }
    )
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (batch,) = pytorch.prepared(loaded, prompts(TEXTS[1:2]))
        outputs = []
        seen = counted(lambda: outputs.append(pytorch.generated(loaded, batch)))
        result = loaded.flops(outputs[0])
    (request,) = outputs[0].requests
    assert request.output_tokens == 8
    assert result is not None
    assert result.prefill is not None
    assert result.decode is not None
    # By hand: two layers of 4 heads of 16; what the counter adds is the hidden half of each square it saw.
    n_passes = range(request.input_tokens, request.input_tokens + 8) if section else [request.input_tokens]
    hidden = sum(2 * 2 * (64 + 64) * n * (n - 1) // 2 for n in n_passes) * decoder.get("num_beams", 1)
    assert result.model_flops == seen - hidden
    assert result.number_format == "fp32"


# Every token goes through all of its experts, with zeros for those it does not visit; ours are those it does.
PADDED_WITH_EXPERTS = {"llama4", "llama4_text"}


def default_model(kind: str) -> Any:
    """A model of few layers without weights; None where its default configuration describes none."""
    try:
        config = AutoConfig.for_model(kind)
        text = config.get_text_config()
        if not getattr(text, "layer_types", None):
            text.num_hidden_layers = min(4, text.num_hidden_layers)
        model = built(config, "meta")
    except Exception:  # noqa: BLE001 - each has its own way to want more than it comes with
        return None
    with contextlib.suppress(ValueError, AttributeError):
        model.set_experts_implementation("batched_mm")  # the only one without a look at the numbers
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(1200)
def test_every_architecture_that_runs_without_weights_is_unknown_or_right() -> None:
    wrong, n_right = [], 0
    for kind in sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - PADDED_WITH_EXPERTS):
        model = default_model(kind)
        of = None if model is None else shape_of(model)
        # Without it nobody says how many tokens are scored, and the engine has no terms.
        if of is None or of.attention is None or not scores_the_last_alone(model):
            continue
        with answering():
            short, long = (counted_pass(model, n) for n in (64, 128))
        prefill = cached_flops(of, 128, 1).prefill
        whole = (prefill.linear + square(of, 128) + prefill.head) / long
        quadratic = (square(of, 128) - 2 * square(of, 64)) / (long - 2 * short + 2 * of.n_head_weights)
        if max(abs(whole - 1), abs(quadratic - 1)) > 0.01:
            wrong.append(f"{kind}: {whole:.4f} of all, {quadratic:.4f} of attention")
        n_right += 1
    assert wrong == []
    assert n_right > 90


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(1200)
def test_every_architecture_has_the_experts_and_the_block_uses_that_the_counter_sees() -> None:
    """Whatever its attention or recurrence is: here only what is multiplied with weights counts."""
    wrong, n_right, n_mixtures = [], 0, 0
    for kind in sorted(set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - PADDED_WITH_EXPERTS):
        model = default_model(kind)
        uses = None if model is None else uses_of(model)
        if uses is None or model.get_output_embeddings() is None:
            continue
        weights = active_weights(model, uses)
        # Weights that lie in stacks are multiplied as attention is; where a model has nothing else, all of it is right.
        shares = [2 * weights.n_linear / n for n in linear_growth(model)]
        if min(abs(share - 1) for share in shares) > 0.01:
            wrong.append(f"{kind}: {shares[0]:.4f} of what grows evenly, {shares[1]:.4f} of the products with weights")
        n_right, n_mixtures = n_right + 1, n_mixtures + weights.is_mixture
    assert wrong == []
    assert n_right > 150
    assert n_mixtures > 40
