"""Settings of the PyTorch engine reach transformers and do what they say, on a tiny real model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.loading import loading_arguments
from llenergymeasure.core.checkpoint.source import ModelSource
from llenergymeasure.domain.inference import InferenceOutput, ModelDescription, tokens_digest
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from tests.fakes.pytorch import generated, prepared
from tests.integration.conftest import greedy_by_hand, save_tiny_llama
from tests.integration.pytorch.test_engine import TEXTS, prompts, token_ids

N_TOKENS = 12
# By hand: per layer q 64x64, k and v 64x32, o 64x64, three MLP matrices 64x128; two layers.
LINEAR_WEIGHTS = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128)
# Two embeddings of 320 x 64, two norms of 64 per layer and a last one.
OTHER_WEIGHTS = 2 * 320 * 64 + 2 * 2 * 64 + 64


def config_of(model: Path, **fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate(
        {"model": str(model), "precision": "fp32", "max_output_tokens": N_TOKENS, **fields}
    )


def run(model: Path, texts: list[str], **fields: Any) -> tuple[InferenceOutput, ModelDescription]:
    config = config_of(model, **fields)
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        batches = prepared(loaded, prompts(texts))
        output = InferenceOutput(requests=tuple(r for batch in batches for r in generated(loaded, batch).requests))
        return output, loaded.describe()


def digests(output: InferenceOutput) -> list[str]:
    return [r.output_digest for r in output.requests]


@pytest.fixture(scope="module")
def greedy(tiny_llama: Path) -> list[list[int]]:
    """What each text is continued with, token by token, without cache, padding or ``generate``."""
    return [greedy_by_hand(tiny_llama, token_ids(tiny_llama, text), N_TOKENS, {1}) for text in TEXTS[:3]]


@pytest.mark.parametrize(
    "section",
    [
        {"cache_implementation": "static"},
        {"cache_implementation": "static", "max_cache_len": 64},
        {"use_cache": False},
        {"prefill_chunk_size": 3},
        {"attn_implementation": "eager", "batch_size": 3},
        {"num_threads": 1},
        {"compile": True, "compile_backend": "eager"},
        {"compile": False, "cache_implementation": "static"},
        {"prompt_lookup_num_tokens": 3, "max_matching_ngram_size": 2},
        {"assistant_early_exit": 1, "num_assistant_tokens": 3, "num_assistant_tokens_schedule": "constant"},
    ],
    ids=",".join,
)
def test_what_changes_speed_only_leaves_the_tokens_as_they_are(
    tiny_llama: Path, greedy: list[list[int]], section: dict[str, Any]
) -> None:
    output, _ = run(tiny_llama, TEXTS[:3], pytorch=section)
    assert digests(output) == [tokens_digest(tokens) for tokens in greedy]
    for request in output.requests:
        assert len(request.token_times_s) == request.output_tokens
        assert list(request.token_times_s) == sorted(request.token_times_s)


def test_a_draft_model_brings_several_tokens_in_one_step(tiny_llama: Path, greedy: list[list[int]]) -> None:
    # A draft that is the model itself is always right, so each step brings the drafted tokens and one more.
    section = {
        "assistant_model": str(tiny_llama),
        "num_assistant_tokens": 3,
        "num_assistant_tokens_schedule": "constant",
        "assistant_confidence_threshold": 0.0,
    }
    config = config_of(tiny_llama, pytorch=section)
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (batch,) = prepared(loaded, prompts(TEXTS[:1]))
        output = generated(loaded, batch)
        flops = loaded.flops(output)
    (request,) = output.requests
    assert request.output_digest == tokens_digest(greedy[0])
    times = request.token_times_s
    assert len(times) == N_TOKENS
    assert [times.count(t) for t in sorted(set(times))] == [4, 4, 4]
    assert flops is not None
    assert flops.confidence == "low"
    assert "drafted tokens not counted" in flops.method


def test_beams_give_each_request_in_a_batch_what_it_gets_alone(tiny_llama: Path) -> None:
    output, description = run(tiny_llama, TEXTS[:3], decoder={"num_beams": 3}, pytorch={"batch_size": 3})
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    for request, text in zip(output.requests, TEXTS[:3], strict=True):
        ids = token_ids(tiny_llama, text)
        alone = model.generate(
            input_ids=torch.tensor([ids]), num_beams=3, do_sample=False, max_new_tokens=N_TOKENS, pad_token_id=1
        )[0, len(ids) :].tolist()
        alone = alone[: alone.index(1) + 1] if 1 in alone else alone
        assert (request.output_tokens, request.output_digest) == (len(alone), tokens_digest(alone))
    assert (description.parameters or {})["num_beams"] == 3


def test_a_beam_search_has_no_first_token_before_its_end_and_counts_every_beam(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, decoder={"num_beams": 3})
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (batch,) = prepared(loaded, prompts(TEXTS[:1]))
        output = generated(loaded, batch)
        flops = loaded.flops(output)
    (request,) = output.requests
    assert (request.ttft_s, request.token_times_s) == (None, ())
    assert request.e2e_s is not None
    assert request.e2e_s > 0
    assert flops is not None
    assert flops.prefill is not None
    assert flops.decode is not None
    # Each of three beams reads the prompt, and all of its own tokens but the last; the rule knows of no beams.
    assert flops.prefill.linear == 3 * 2 * LINEAR_WEIGHTS * request.input_tokens
    assert flops.decode.linear == 3 * 2 * LINEAR_WEIGHTS * (request.output_tokens - 1)
    non_embedding = LINEAR_WEIGHTS + 2 * 2 * 64 + 64
    assert flops.value == 2 * non_embedding * (request.input_tokens + request.output_tokens)


@pytest.mark.parametrize(
    ("section", "method"),
    [
        ({"load_in_8bit": True, "llm_int8_threshold": 6.0}, "bitsandbytes"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bf16"}, "bitsandbytes"),
        ({"load_in_4bit": True, "llm_int8_skip_modules": ["lm_head", "down_proj"]}, "bitsandbytes"),
        ({"torchao": "int8_weight_only"}, "torchao"),
        ({"torchao": "int8_dynamic_activation_int4_weight"}, "torchao"),
        ({"torchao": "float8_weight_only"}, "torchao"),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_model_is_quantised_and_still_counted_as_what_it_stands_for(
    tiny_llama: Path, section: dict[str, Any], method: str
) -> None:
    config = config_of(tiny_llama, precision="bf16", pytorch=section)
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (batch,) = prepared(loaded, prompts(TEXTS[:1]))
        output = generated(loaded, batch)
        description = loaded.describe()
        flops = loaded.flops(output)
    assert output.output_tokens > 0
    assert description.quantization == method
    assert description.n_parameters == LINEAR_WEIGHTS + OTHER_WEIGHTS
    assert flops is not None
    assert flops.n_parameters == LINEAR_WEIGHTS + 2 * 2 * 64 + 64
    assert flops.confidence == "high"


@pytest.mark.parametrize(
    ("section", "bits"),
    # 32 bits of scale for each 64 weights; of scale and zero point for each 128.
    [({}, 16), ({"load_in_8bit": True}, 8), ({"load_in_4bit": True}, 4.5), ({"torchao": "int4_weight_only"}, 4.25)],
    ids=str,
)
def test_the_memory_estimate_knows_the_bits_of_a_weight(tiny_llama: Path, section: dict[str, Any], bits: float) -> None:
    estimate = PyTorchBackend().estimate_memory(config_of(tiny_llama, precision="bf16", pytorch=section))
    assert estimate is not None
    assert estimate.weights_mb == pytest.approx((LINEAR_WEIGHTS * bits / 8 + OTHER_WEIGHTS * 2) / 1e6)


def test_every_beam_needs_a_cache_of_its_own(tiny_llama: Path) -> None:
    one, four = (
        PyTorchBackend().estimate_memory(config_of(tiny_llama, decoder={"num_beams": n}, pytorch={"batch_size": 2}))
        for n in (1, 4)
    )
    assert one is not None
    assert four is not None
    assert one.kv_cache_mb is not None
    assert four.kv_cache_mb == pytest.approx(4 * one.kv_cache_mb)


def test_torch_gets_its_own_settings_back(tiny_llama: Path) -> None:
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    config = config_of(tiny_llama, pytorch={"num_threads": 1, "float32_matmul_precision": "medium"})
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == (1, "medium")
        assert (loaded.describe().parameters or {})["n_threads"] == 1
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


def test_what_is_compiled_while_measuring_is_a_warning(tiny_llama: Path) -> None:
    section = {
        "compile": True,
        "compile_backend": "eager",
        "compile_dynamic": False,
        "cache_implementation": "static",
        "max_cache_len": 64,
    }
    with PyTorchBackend().load(ExperimentPlan.of(config_of(tiny_llama, pytorch=section))) as loaded:
        warm, longer = (batch for batch in prepared(loaded, prompts([TEXTS[0], TEXTS[1]])))
        generated(loaded, warm)
        loaded.seed(0)
        generated(loaded, warm)
        assert loaded.warnings() == []
        generated(loaded, longer)
        (warning,) = loaded.warnings()
    assert str(warning).startswith("compiled_in_window: ")


@pytest.mark.parametrize(
    "fields",
    [
        {"passthrough_kwargs": {"sequence_bias": [[[0], -1e9]]}},
        {"pytorch": {"suppress_tokens": [0]}},
        {"pytorch": {"bad_words_ids": [[0]]}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_token_that_is_forbidden_is_not_produced(
    tiny_llama: Path, greedy: list[list[int]], fields: dict[str, Any]
) -> None:
    forbidden = greedy[0][0]
    text = json.dumps(fields).replace("[0]", f"[{forbidden}]")
    output, _ = run(tiny_llama, TEXTS[:1], max_output_tokens=1, **json.loads(text))
    assert digests(output) != [tokens_digest([forbidden])]


def test_a_minimum_of_tokens_holds_back_the_end_token(
    tiny_llama: Path, greedy: list[list[int]], tmp_path: Path
) -> None:
    model = save_tiny_llama(tmp_path, eos_token_id=greedy[0][1])
    short, _ = run(model, TEXTS[:1])
    longer, _ = run(model, TEXTS[:1], decoder={"min_output_tokens": 6})
    assert short.output_tokens == 2
    assert longer.output_tokens >= 6


def test_the_models_own_beams_do_not_change_what_was_asked_for(
    tiny_llama: Path, greedy: list[list[int]], tmp_path: Path
) -> None:
    model = save_tiny_llama(tmp_path)
    (model / "generation_config.json").write_text(
        json.dumps({"num_beams": 4, "bos_token_id": 0, "eos_token_id": 1, "min_length": 5, "max_length": 7})
    )
    output, _ = run(model, TEXTS[:1])
    assert digests(output) == [tokens_digest(greedy[0])]


def test_passthrough_reaches_the_configuration_of_the_model(tiny_llama: Path, greedy: list[list[int]]) -> None:
    config = config_of(tiny_llama, passthrough_kwargs={"rms_norm_eps": 0.5, "weights_only": True})
    assert PyTorchBackend().problems(config) == []
    output, _ = run(tiny_llama, TEXTS[:1], passthrough_kwargs={"rms_norm_eps": 0.5, "weights_only": True})
    assert digests(output) != [tokens_digest(greedy[0])]


def test_a_key_that_nobody_knows_is_a_problem_and_no_type_error(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, passthrough_kwargs={"rms_norm_epps": 0.5, "zzzz": 1})
    first, second = PyTorchBackend().problems(config)
    assert first.startswith("passthrough_kwargs.rms_norm_epps: ")
    assert first.endswith("did you mean 'rms_norm_eps'?")
    assert second.startswith("passthrough_kwargs.zzzz: ")
    with (
        pytest.raises(BackendError, match=r"rms_norm_epps.*\n.*zzzz"),
        PyTorchBackend().load(ExperimentPlan.of(config)),
    ):
        pass


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"cache_implementation": "quantized", "cache_backend": "hqq"}, "pip install hqq"),
        ({"use_kernels": True}, "pip install kernels"),
        ({"tp_plan": "auto"}, "give tp_size"),
        ({"assistant_model": "./no-such-draft"}, "pytorch.assistant_model: model './no-such-draft'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_missing_is_found_before_anything_is_loaded(
    tiny_llama: Path, fields: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    (problem,) = PyTorchBackend().problems(config_of(tiny_llama, pytorch=fields))
    assert said in problem


def test_a_gguf_file_is_not_quantised_twice(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    config = config_of(tmp_path / "m.gguf", pytorch={"load_in_4bit": True})
    assert any("cannot be quantised again" in problem for problem in PyTorchBackend().problems(config))


def test_a_dense_checkpoint_has_no_kernels_to_choose(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, pytorch={"checkpoint_backend": "marlin"})
    with pytest.raises(BackendError, match="not quantised"), PyTorchBackend().load(ExperimentPlan.of(config)):
        pass


@pytest.mark.parametrize(
    ("stored", "section", "attribute", "value"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, {"checkpoint_backend": "marlin"}, "backend", "marlin"),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, {"checkpoint_backend": "marlin"}, "backend", "marlin"),
        ({"quant_method": "mxfp4"}, {"checkpoint_dequantize": True}, "dequantize", True),
    ],
    ids=["gptq", "awq", "mxfp4"],
)
def test_kernels_of_a_quantised_checkpoint_are_chosen_as_transformers_takes_them(
    tmp_path: Path, stored: dict[str, Any], section: dict[str, Any], attribute: str, value: Any
) -> None:
    model = save_tiny_llama(tmp_path)
    description = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**description, "quantization_config": stored}))
    arguments = loading_arguments(config_of(model, pytorch=section), ModelSource(location=str(model)))
    assert getattr(arguments["quantization_config"], attribute) == value
    assert arguments["quantization_config"].get_loading_attributes()[attribute] == value


def test_what_a_kind_of_checkpoint_cannot_be_told_is_refused(tmp_path: Path) -> None:
    model = save_tiny_llama(tmp_path)
    description = json.loads((model / "config.json").read_text())
    stored = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    (model / "config.json").write_text(json.dumps({**description, "quantization_config": stored}))
    config = config_of(model, pytorch={"checkpoint_dequantize": True})
    with pytest.raises(BackendError, match="'gptq'"):
        loading_arguments(config, ModelSource(location=str(model)))


def test_memory_per_device_is_handed_on_by_number(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, pytorch={"device_map": "auto", "max_memory": {"0": "20GiB", "cpu": "1GB"}})
    arguments = loading_arguments(config, ModelSource(location=str(tiny_llama)))
    assert (arguments["device_map"], arguments["max_memory"]) == ("auto", {0: "20GiB", "cpu": "1GB"})


def test_a_revision_is_asked_of_model_and_tokenizer_alike(tiny_llama: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    model = save_tiny_llama(inner)
    config = config_of(tmp_path, pytorch={"subfolder": "inner"})
    arguments = loading_arguments(config, ModelSource(location=str(tmp_path)))
    assert arguments["subfolder"] == "inner"
    assert AutoTokenizer.from_pretrained(tmp_path, subfolder="inner").vocab_size == len(
        AutoTokenizer.from_pretrained(model)
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_quantized_cache_runs(tiny_llama: Path) -> None:
    output, description = run(
        tiny_llama, TEXTS[:1], pytorch={"cache_implementation": "quantized", "cache_nbits": 4, "cache_group_size": 16}
    )
    assert output.output_tokens == N_TOKENS
    assert (description.parameters or {})["cache_implementation"] == "quantized"
