"""What TensorRT-LLM is told of an experiment: its arguments, nested as it nests them, and each request's own."""

from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.tensorrt.checks import cautions_of, problems_of
from llenergymeasure.core.backends.tensorrt.configuration import resolved
from llenergymeasure.core.backends.tensorrt.parameters import engine_arguments, n_gpus, sampling_arguments
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.domain.inference import Request
from tests.fakes.tensorrt_llm_library import FakeTensorRT

OWN = OwnSettings(end_token_ids=frozenset({7, 2}), temperature=0.6, top_k=20, top_p=0.9)
NO_END = OwnSettings(end_token_ids=frozenset(), temperature=1.0, top_k=0, top_p=1.0)
REQUEST = Request(index=3, token_ids=(1, 2), max_output_tokens=5)
LIBRARY = FakeTensorRT()


def config_of(section: dict[str, Any] | None = None, **fields: Any) -> ExperimentConfig:
    given = {"model": "m", "backend": "tensorrt", **fields}
    return ExperimentConfig.model_validate({**given, **({} if section is None else {"tensorrt": section})})


def arguments_of(section: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """What is told, once the recorded signature has taken it."""
    given = engine_arguments(config_of(section, **fields), "/folder", LIBRARY)
    LIBRARY.TorchLlmArgs(**given)
    return given


def test_what_was_not_written_is_left_to_tensorrt_but_for_the_cache_of_prompts_and_who_samples() -> None:
    assert arguments_of() == {
        "model": "/folder",
        "dtype": "bfloat16",
        "trust_remote_code": False,
        "skip_tokenizer_init": True,
        "sampler_type": "TorchSampler",
        "kv_cache_config": {"enable_block_reuse": False},
    }


def test_what_tensorrt_nests_is_nested() -> None:
    section = {
        "max_batch_size": 8,
        "revision": "main",
        "enable_block_reuse": True,
        "kv_cache_max_tokens": 4096,
        "kv_cache_dtype": "fp8",
        "capacity_scheduler_policy": "MAX_UTILIZATION",
        "cuda_graph_batch_sizes": [1, 2],
        "torch_compile": True,
        "moe_backend": "TRTLLM",
        "nvfp4_gemm_allowed_backends": ["cutlass"],
        "enable_attention_dp": True,
        "attention_dp_enable_balance": True,
    }
    given = arguments_of(section, precision="fp16")
    assert given["kv_cache_config"] == {"enable_block_reuse": True, "max_tokens": 4096, "dtype": "fp8"}
    assert given["scheduler_config"] == {"capacity_scheduler_policy": "MAX_UTILIZATION"}
    assert given["cuda_graph_config"] == {"batch_sizes": [1, 2]}
    assert given["torch_compile_config"] == {}
    assert given["moe_config"] == {"backend": "TRTLLM"}
    assert given["nvfp4_gemm_config"] == {"allowed_backends": ["cutlass"]}
    assert given["attention_dp_config"] == {"enable_balance": True}
    assert (given["max_batch_size"], given["enable_attention_dp"], given["dtype"]) == (8, True, "float16")
    assert not {"revision", "torch_compile", "moe_backend", "cuda_graph_batch_sizes"} & given.keys()


def test_what_is_off_has_no_settings() -> None:
    given = arguments_of({"cuda_graph": False, "torch_compile_enable_inductor": True, "attention_dp_timeout_iters": 3})
    assert given["cuda_graph_config"] is None
    assert not {"torch_compile_config", "attention_dp_config", "cuda_graph"} & given.keys()


@pytest.mark.parametrize(
    ("section", "kind", "told"),
    [
        (
            {"decoding_type": "Eagle", "speculative_model": "draft", "max_draft_len": 3, "acceptance_window": 9},
            "EagleDecodingConfig",
            {"speculative_model": "draft", "max_draft_len": 3, "acceptance_window": 9},
        ),
        ({"decoding_type": "MTP", "max_draft_len": 2}, "MTPDecodingConfig", {"num_nextn_predict_layers": 2}),
        (
            {"decoding_type": "NGram", "max_draft_len": 2, "max_matching_ngram_size": 4, "is_keep_all": False},
            "NGramDecodingConfig",
            {"max_draft_len": 2, "max_matching_ngram_size": 4, "is_keep_all": False},
        ),
        (
            {"decoding_type": "Draft_Target", "speculative_model": "d", "max_draft_len": 2},
            "DraftTargetDecodingConfig",
            {"speculative_model": "d", "max_draft_len": 2},
        ),
        ({"decoding_type": "AUTO"}, "AutoDecodingConfig", {}),
    ],
)
def test_each_way_of_drafting_has_its_class(section: dict[str, Any], kind: str, told: dict[str, Any]) -> None:
    drafting = arguments_of(section)["speculative_config"]
    assert type(drafting).__name__ == kind
    assert {name: str(v) if name == "speculative_model" else v for name, v in told.items()} == {
        name: str(getattr(drafting, name)) if name == "speculative_model" else getattr(drafting, name) for name in told
    }
    assert drafting.model_fields_set == told.keys()


def test_what_is_passed_through_is_an_argument_and_what_is_none_is_refused_by_the_recorded_signature() -> None:
    assert arguments_of(passthrough_kwargs={"enable_sleep": True})["enable_sleep"] is True
    with pytest.raises(ValidationError, match="no_such_thing"):
        arguments_of(passthrough_kwargs={"no_such_thing": 1})


def test_greedy_answers_end_by_the_models_own_tokens_which_are_kept() -> None:
    given = sampling_arguments(config_of(), REQUEST, 1, OWN)
    assert given == {
        "n": 1,
        "max_tokens": 5,
        "end_id": 2,
        "pad_id": 2,
        "ignore_eos": False,
        "stop_token_ids": [7],
        "include_stop_str_in_output": True,
        "detokenize": False,
        "temperature": 0.0,
    }
    LIBRARY.SamplingParams(**given)


def test_answers_without_end_tokens_go_on_to_their_limit() -> None:
    given = sampling_arguments(config_of(), REQUEST, 1, NO_END)
    assert (given["ignore_eos"], given["stop_token_ids"]) == (True, None)
    # Something has to be there: TensorRT-LLM would look for it in a tokenizer.
    assert given["end_id"] is not None


def test_drawing_goes_by_the_settings_in_effect() -> None:
    config = config_of(decoder={"do_sample": True, "num_return_sequences": 2})
    given = sampling_arguments(config, REQUEST, 1, OWN)
    assert (given["temperature"], given["top_k"], given["top_p"], given["n"]) == (0.6, 20, 0.9, 2)
    LIBRARY.SamplingParams(**given)
    other = Request(index=4, token_ids=(1, 2), max_output_tokens=5)
    assert len({sampling_arguments(config, r, seed, OWN)["seed"] for r in (REQUEST, other) for seed in (1, 2)}) == 4


def test_gpus_of_all_ranks() -> None:
    assert n_gpus(config_of()) == 1
    assert n_gpus(config_of({"tensor_parallel_size": 2, "pipeline_parallel_size": 3})) == 6


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lora": {"path": "./adapter"}}, "lora: "),
        ({"section": {"tensor_parallel_size": 2}}, "tensorrt: 2 GPUs are needed, and 0 are visible; "),
        (
            {"section": {"max_seq_len": 100}, "max_input_tokens": 80, "max_output_tokens": 30},
            "max_input_tokens 80 and max_output_tokens 30 need 110 tokens for a request, and tensorrt.max_seq_len is ",
        ),
        (
            {"section": {"max_num_tokens": 79}, "max_input_tokens": 80},
            "max_input_tokens: 80 is more than a step takes, 79, ",
        ),
        ({"max_input_tokens": 8193}, "max_input_tokens: 8193 is more than a step takes, 8192, "),
        (
            {"section": {"tensor_parallel_size": 4, "moe_tensor_parallel_size": 2, "moe_expert_parallel_size": 4}},
            "tensorrt.moe_tensor_parallel_size 2 times tensorrt.moe_expert_parallel_size 4 must be ",
        ),
        (
            {"section": {"tensor_parallel_size": 4, "moe_expert_parallel_size": 3}},
            "tensorrt.moe_expert_parallel_size 3 must divide tensorrt.tensor_parallel_size, 4",
        ),
        (
            {"section": {"pipeline_parallel_size": 2, "pp_partition": [8, 8, 8]}},
            "tensorrt.pp_partition: 3 stages, and tensorrt.pipeline_parallel_size is 2; ",
        ),
        (
            {"section": {"decoding_type": "AUTO", "pipeline_parallel_size": 2}},
            "tensorrt.decoding_type: AUTO: TensorRT-LLM drafts nothing over several stages; ",
        ),
        (
            {"section": {"decoding_type": "Eagle", "max_draft_len": 3}},
            "tensorrt.decoding_type: Eagle needs tensorrt.speculative_model; set it",
        ),
        (
            {"section": {"decoding_type": "NGram"}},
            "tensorrt.decoding_type: NGram needs tensorrt.max_draft_len and tensorrt.max_matching_ngram_size; set it",
        ),
    ],
)
def test_what_tensorrt_could_not_do_is_told_before_it_loads(fields: dict[str, Any], said: str) -> None:
    assert any(problem.startswith(said) for problem in problems_of(config_of(**fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {"section": {"max_seq_len": 110}, "max_input_tokens": 80, "max_output_tokens": 30},
        {"section": {"max_num_tokens": 80}, "max_input_tokens": 80},
        {"section": {"max_num_tokens": 79, "enable_chunked_prefill": True}, "max_input_tokens": 80},
        {"section": {"tensor_parallel_size": 4, "moe_tensor_parallel_size": 2, "moe_expert_parallel_size": 2}},
        {"section": {"tensor_parallel_size": 4, "moe_expert_parallel_size": 2}},
        {"section": {"pipeline_parallel_size": 2, "pp_partition": [8, 9]}},
        {"section": {"decoding_type": "MTP"}},
    ],
)
def test_what_is_just_within_its_edges_is_none_of_its_problems(fields: dict[str, Any]) -> None:
    assert [problem for problem in problems_of(config_of(**fields)) if not problem.startswith("tensorrt: ")] == []


def test_that_draws_do_not_follow_the_seed_is_told() -> None:
    (caution,) = cautions_of(config_of(decoder={"do_sample": True}))
    assert caution.flag == "sampling_not_seeded"
    assert list(cautions_of(config_of())) == []


@pytest.mark.parametrize("name", ["sampler_type", "checkpoint_loader", "sparse_attention_config", "tokenizer"])
def test_what_would_count_other_tokens_or_measure_another_model_is_not_passed_through(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} may not be passed through"):
        config_of(passthrough_kwargs={name: "x"})


def test_the_resolved_configuration_is_flat_and_plain() -> None:
    told = resolved(LIBRARY.TorchLlmArgs(model="m", kv_cache_config={"enable_block_reuse": False}))
    assert (told["enable_block_reuse"], told["free_gpu_memory_fraction"], told["tokens_per_block"]) == (False, 0.9, 32)
    assert (told["max_num_tokens"], told["cuda_graph"], told["torch_compile"]) == (8192, True, False)
    assert (told["moe_backend"], told["capacity_scheduler_policy"]) == ("CUTLASS", "GUARANTEED_NO_EVICT")
    assert (told["decoding_type"], told["sampler_type"]) == (None, "auto")
    assert all(value is None or isinstance(value, bool | int | float | str) for value in told.values())
    drafting = LIBRARY.llmapi.NGramDecodingConfig(max_draft_len=3, max_matching_ngram_size=2)
    told = resolved(LIBRARY.TorchLlmArgs(model="m", speculative_config=drafting, cuda_graph_config=None))
    assert (told["decoding_type"], told["max_draft_len"], told["cuda_graph"]) == ("NGram", 3, False)
