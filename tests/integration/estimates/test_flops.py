"""FLOPs of architectures and of what was generated, against figures worked out by hand."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BitsAndBytesConfig,
    FalconMambaConfig,
    Gemma3Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen3NextConfig,
    TorchAoConfig,
)

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.flops import generation_flops, number_format
from llenergymeasure.core.checkpoint.architecture import shape_of, skeleton
from llenergymeasure.core.flops import estimate_flops_palm
from llenergymeasure.domain.inference import InferenceOutput, RequestOutput
from llenergymeasure.domain.metrics import FlopsTerms
from llenergymeasure.domain.model_flops import AttentionLayer, ModelShape
from llenergymeasure.results.persistence import load_result, save_result

LLAMA: dict[str, Any] = {
    "vocab_size": 1000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
# q and o 64 x 64, k and v 64 x 32, three MLP matrices 64 x 128; two layers.
LINEAR = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
NORMS = 2 * 2 * 64 + 64
HEAD = 64 * 1000


class Packed(torch.nn.Module):
    """A checkpoint of 4-bit weights, eight in each number of its tensors."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config = config
        self.qweight = torch.nn.Parameter(torch.zeros(8, 8, dtype=torch.int32), requires_grad=False)


def shape(config: Any) -> ModelShape:
    found = shape_of(skeleton(config))
    assert found is not None
    return found


@pytest.mark.parametrize("tied", [True, False])
def test_a_shape_has_matrices_only_and_a_head_tied_or_not(tied: bool) -> None:
    found = shape(LlamaConfig(**LLAMA, tie_word_embeddings=tied, attention_bias=True))
    assert (found.n_linear_weights, found.n_head_weights) == (LINEAR, HEAD)
    # Four heads of 16: shared keys and values are still multiplied with every query.
    assert found.attention == (AttentionLayer(n_key_dims=64, n_value_dims=64),) * 2


def test_gpt2_small_has_its_published_matrices() -> None:
    found = shape(GPT2Config())
    assert found.n_linear_weights == 12 * (768 * 2304 + 768 * 768 + 2 * 768 * 3072)
    assert found.n_head_weights == 50257 * 768
    assert found.attention == (AttentionLayer(n_key_dims=768, n_value_dims=768),) * 12


def test_terms_stand_beside_two_n() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA))
    result = estimate_flops_palm(model, 4, 3, batch_size=2)
    assert result.value == 2 * (LINEAR + NORMS) * 7 * 2
    # Two layers, 64 + 64 dims: 1 + 2 + 3 + 4 pairs of the prompt, 5 + 6 of the steps; each of two sequences.
    assert result.prefill == FlopsTerms(linear=2 * 2 * LINEAR * 4, attention=2 * 2 * 2 * 128 * 10, head=2 * 2 * HEAD)
    assert result.decode == FlopsTerms(linear=2 * 2 * LINEAR * 2, attention=2 * 2 * 2 * 128 * 11, head=2 * 2 * HEAD * 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        {"quant_method": "awq", "bits": 4, "group_size": 128},
        {"quant_method": "fp8"},
    ],
    ids=lambda settings: settings["quant_method"],
)
def test_a_packed_checkpoint_counts_as_its_dense_twin(settings: dict[str, Any]) -> None:
    with torch.device("meta"):
        dense = AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA))
    packed = Packed(LlamaConfig(**{**LLAMA, "quantization_config": settings}))
    assert estimate_flops_palm(packed, 4, 3) == estimate_flops_palm(dense, 4, 3)
    assert estimate_flops_palm(packed, 4, 3).n_parameters == LINEAR + NORMS


def test_a_mixture_has_the_experts_that_a_token_visits() -> None:
    config = MixtralConfig(**LLAMA, num_local_experts=8, num_experts_per_tok=2)
    attention, router, expert = 2 * 64 * 64 + 2 * 64 * 32, 8 * 64, 3 * 64 * 128
    assert shape(config).n_linear_weights == 2 * (attention + router + 2 * expert)


def test_a_mixture_that_does_not_say_how_many_is_counted_whole_and_has_no_terms() -> None:
    config = MixtralConfig(**LLAMA, num_local_experts=8, num_experts_per_tok=2)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    config.num_experts_per_tok = 0
    result = estimate_flops_palm(Packed(config), 1, 0)
    whole = sum(p.numel() for name, p in model.named_parameters() if "embed" not in name and "lm_head" not in name)
    assert (result.n_parameters, result.confidence) == (whole, "low")
    assert (result.prefill, result.decode, result.model_flops) == (None, None, None)


def test_windows_are_those_of_each_layer() -> None:
    every = shape(MistralConfig(**LLAMA, sliding_window=32)).attention
    assert [layer.n_window_tokens for layer in every or ()] == [32, 32]
    assert [layer.n_window_tokens for layer in shape(MistralConfig(**LLAMA, sliding_window=None)).attention or ()] == [
        None,
        None,
    ]
    kinds = ["sliding_attention", "full_attention"]
    some = shape(Gemma3TextConfig(**LLAMA, head_dim=48, sliding_window=16, layer_types=kinds)).attention
    assert some == (
        AttentionLayer(n_key_dims=192, n_value_dims=192, n_window_tokens=16),
        AttentionLayer(n_key_dims=192, n_value_dims=192),
    )


def test_eyes_do_not_count_for_text() -> None:
    text = {**LLAMA, "head_dim": 16, "layer_types": ["full_attention"] * 2}
    seeing = Gemma3Config(
        text_config=text,
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    )
    assert shape(seeing) == shape(Gemma3TextConfig(**text))


@pytest.mark.parametrize(
    "config",
    [
        FalconMambaConfig(vocab_size=1000, hidden_size=64, num_hidden_layers=2),
        Qwen3NextConfig(**LLAMA, num_experts=4, num_experts_per_tok=2, head_dim=16),
        GPTNeoConfig(
            vocab_size=1000, hidden_size=64, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]
        ),
        BertConfig(vocab_size=1000, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128),
        Gemma3TextConfig(**LLAMA, use_bidirectional_attention=True),
    ],
    ids=lambda config: config.model_type,
)
def test_attention_of_another_kind_is_unknown_and_leaves_no_total(config: Any) -> None:
    assert shape(config).attention is None
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    result = estimate_flops_palm(model, 4, 3)
    assert result.value > 0
    assert result.prefill is not None
    assert result.prefill.linear > 0
    assert result.model_flops is None


def request(answers: list[int], n_input: int = 4) -> RequestOutput:
    return RequestOutput(
        index=0,
        input_tokens=n_input,
        output_tokens=sum(answers),
        finish_reason="length",
        output_digest="d",
        output_ids=tuple((7,) * n for n in answers) if len(answers) > 1 else (),
    )


def test_several_answers_are_several_sequences_of_one_prompt(tiny_llama: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llama)
    model.generation_config.update(num_beams=1, use_cache=True, guidance_scale=None)
    both = InferenceOutput(requests=(request([3, 1]),))
    apart = InferenceOutput(requests=(request([3]), request([1])))
    found, expected = (generation_flops(model, o, model.generation_config, PyTorchConfig()) for o in (both, apart))
    assert (found.prefill, found.decode) == (expected.prefill, expected.decode)
    # The rule goes by the tokens of the result, which has the prompt once.
    assert found.value == 2 * (LINEAR + NORMS) * (4 + 4)


def test_an_adapter_apart_is_counted_with_the_weights_it_stands_beside(tiny_llama: Path) -> None:
    from peft import LoraConfig, get_peft_model

    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_llama)
    plain.generation_config.update(num_beams=1, use_cache=True, guidance_scale=None)
    output = InferenceOutput(requests=(request([1]),))
    without = generation_flops(plain, output, plain.generation_config, PyTorchConfig())
    adapted = get_peft_model(plain, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    with_it = generation_flops(adapted, output, plain.generation_config, PyTorchConfig())
    assert without.prefill is not None
    assert with_it.prefill is not None
    # Two layers: 64 to 4 and 4 to 64 beside the queries, 64 to 4 and 4 to 32 beside the values; four tokens.
    assert with_it.prefill.linear - without.prefill.linear == 2 * 4 * 2 * (4 * (64 + 64) + 4 * (64 + 32))
    assert with_it.value == without.value


def test_an_adapter_beside_the_head_runs_as_often_as_the_head(tiny_llama: Path) -> None:
    from peft import LoraConfig, get_peft_model

    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_llama)
    plain.generation_config.update(num_beams=1, use_cache=True, guidance_scale=None)
    adapted = get_peft_model(plain, LoraConfig(r=4, target_modules=["lm_head"]))
    output = InferenceOutput(requests=(request([2]),))
    result = generation_flops(adapted, output, plain.generation_config, PyTorchConfig())
    assert result.prefill is not None
    # 64 to 4, and 4 to a vocabulary of 320, beside 64 to 320; four tokens read, one scored.
    assert (result.prefill.linear, result.prefill.head) == (2 * LINEAR * 4, 2 * (64 * 320 + 4 * (64 + 320)))


def test_an_adapter_that_is_multiplied_out_at_each_pass_leaves_no_terms(tiny_llama: Path) -> None:
    from peft import LoraConfig, get_peft_model

    plain: Any = AutoModelForCausalLM.from_pretrained(tiny_llama)
    plain.generation_config.update(num_beams=1, use_cache=True, guidance_scale=None)
    adapted = get_peft_model(plain, LoraConfig(r=4, target_modules=["q_proj"], use_dora=True))
    output = InferenceOutput(requests=(request([2]),))
    result = generation_flops(adapted, output, plain.generation_config, PyTorchConfig())
    assert (result.prefill, result.model_flops, result.confidence) == (None, None, "low")


@pytest.mark.parametrize("answers", [[4], [3, 1]], ids=["one answer", "two answers"])
@pytest.mark.parametrize("generation", [{"use_cache": False}, {"num_beams": 3}, {}], ids=str)
def test_the_rule_is_the_same_however_the_tokens_came_about(
    tiny_llama: Path, generation: dict[str, Any], answers: list[int]
) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llama)
    model.generation_config.update(**{"num_beams": 1, "use_cache": True, "guidance_scale": None, **generation})
    output = InferenceOutput(requests=(request(answers),))
    result = generation_flops(model, output, model.generation_config, PyTorchConfig())
    assert result.value == 2 * (LINEAR + NORMS) * (4 + 4)
    assert result.model_flops is not None


@pytest.mark.parametrize("section", [{"prompt_lookup_num_tokens": 3}, {"guidance_scale": 1.5}], ids=str)
def test_work_that_is_not_known_leaves_no_terms(tiny_llama: Path, section: dict[str, Any]) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llama)
    model.generation_config.update(num_beams=1, use_cache=True, guidance_scale=section.get("guidance_scale"))
    output = InferenceOutput(requests=(request([3]),))
    result = generation_flops(model, output, model.generation_config, PyTorchConfig(**section))
    assert (result.prefill, result.decode, result.confidence) == (None, None, "low")


@pytest.mark.parametrize(
    ("dtype", "matmul", "expected"),
    [
        (torch.float32, "highest", "fp32"),
        (torch.float32, "high", "tf32"),
        (torch.float32, "medium", "tf32"),
        (torch.bfloat16, "high", "bf16"),
        (torch.float16, "highest", "fp16"),
        (torch.float64, "highest", None),
    ],
)
def test_the_number_format_is_what_matrices_are_multiplied_in(dtype: Any, matmul: str, expected: str | None) -> None:
    model = AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA), dtype=dtype)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(matmul)
    try:
        assert number_format(model) == expected
    finally:
        torch.set_float32_matmul_precision(before)


def torchao(name: str) -> TorchAoConfig:
    import torchao.quantization

    return TorchAoConfig(getattr(torchao.quantization, name)())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (lambda: BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.float16), "fp16"),
        (lambda: BitsAndBytesConfig(load_in_4bit=True), "fp32"),
        (lambda: {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_compute_dtype": "bfloat16"}, "bf16"),
        (lambda: BitsAndBytesConfig(load_in_8bit=True), None),
        (lambda: torchao("Int8WeightOnlyConfig"), "bf16"),
        (lambda: torchao("Int8DynamicActivationInt8WeightConfig"), None),
        (lambda: {"quant_method": "gptq", "bits": 4}, "bf16"),
        (lambda: {"quant_method": "fp8"}, None),
        (lambda: {"quant_method": "fp8", "dequantize": True}, "bf16"),
    ],
)
def test_quantised_weights_have_a_format_only_where_they_are_unpacked_for_it(
    settings: Any, expected: str | None
) -> None:
    model: Any = AutoModelForCausalLM.from_config(LlamaConfig(**LLAMA), dtype=torch.bfloat16)
    model.config.quantization_config = settings()
    assert number_format(model) == expected


def test_a_result_on_a_cpu_says_what_was_done_and_not_how_well_a_gpu_was_used(tiny_llama: Path, tmp_path: Path) -> None:
    config = ExperimentConfig.model_validate(
        {
            "model": str(tiny_llama),
            "precision": "fp32",
            "n": 2,
            "max_output_tokens": 3,
            "energy": {"backend": None},
            "warmup": {"n_warmup": 1},
        }
    )
    result = PyTorchBackend().run(config)
    assert result.flops_result is not None
    assert result.flops_result.prefill is not None
    assert result.flops_result.prefill.linear == 2 * LINEAR * result.input_tokens
    assert result.flops_result.prefill.head == 2 * 64 * 320 * 2
    assert result.model_flops is not None
    assert (result.joules_per_tflop, result.mfu) == (None, None)
    assert load_result(save_result(result, tmp_path)).flops_result == result.flops_result
