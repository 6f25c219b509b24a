"""What vLLM is told of an experiment: its arguments, nested as it nests them, and each request's own."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.checks import problems_of
from llenergymeasure.core.backends.vllm.configuration import engine_version, n_ranks, resolved
from llenergymeasure.core.backends.vllm.parameters import engine_arguments, n_gpus, sampling_arguments
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.domain.inference import Request
from tests.fakes.vllm_library import FakeEngine, FakeVllm

OWN = OwnSettings(end_token_ids=frozenset({7, 2}), temperature=0.6, top_k=20, top_p=0.9)
REQUEST = Request(index=3, token_ids=(1, 2), max_output_tokens=5)


def config_of(section: dict[str, Any] | None = None, **fields: Any) -> ExperimentConfig:
    given = {"model": "m", "backend": "vllm", "precision": "fp32", **fields}
    return ExperimentConfig.model_validate({**given, **({} if section is None else {"vllm": section})})


def test_what_was_not_written_is_left_to_vllm_but_for_the_cache_of_prompts() -> None:
    assert engine_arguments(config_of(), "/folder") == {
        "model": "/folder",
        "dtype": "float32",
        "seed": 42,
        "enable_prefix_caching": False,
        "skip_tokenizer_init": True,
        "disable_log_stats": True,
        "generation_config": "vllm",
        "trust_remote_code": False,
    }


@pytest.mark.parametrize(("rank", "room"), [(1, 8), (8, 8), (9, 16), (129, 256), (512, 512)])
def test_room_is_made_for_the_rank_of_the_adapter(rank: int, room: int) -> None:
    config = config_of(lora={"path": "a", "merge": False})
    given = engine_arguments(config, "/folder", rank)
    assert (given["enable_lora"], given["max_lora_rank"]) == (True, room)
    written = config_of({"max_lora_rank": 64, "fully_sharded_loras": True}, lora={"path": "a", "merge": False})
    given = engine_arguments(written, "/folder", rank)
    assert (given["max_lora_rank"], given["fully_sharded_loras"]) == (64, True)


def test_without_an_adapter_its_settings_change_nothing() -> None:
    section = {"max_lora_rank": 64, "fully_sharded_loras": True, "tensor_parallel_size": 2}
    config = config_of(section)
    assert not {"enable_lora", "max_lora_rank", "fully_sharded_loras"} & engine_arguments(config, "/folder").keys()
    assert config.dormant_fields() == {
        "vllm.max_lora_rank": "it needs lora",
        "vllm.fully_sharded_loras": "it needs lora",
    }
    assert config.equivalent_to(config_of({"tensor_parallel_size": 2}))
    assert not config_of(section, lora={"path": "a", "merge": False}).dormant_fields()


def test_what_vllm_nests_is_nested() -> None:
    section = {
        "enable_prefix_caching": True,
        "max_num_seqs": 8,
        "revision": "main",
        "compilation_mode": 3,
        "fuse_norm_quant": True,
        "attention_backend": "FLASH_ATTN",
        "spec_method": "ngram",
        "spec_tokens": 4,
        "prompt_lookup_max": 3,
        "presence_penalty": 0.5,
    }
    given = engine_arguments(config_of(section), "/folder")
    assert given["compilation_config"] == {"mode": 3, "pass_config": {"fuse_norm_quant": True}}
    assert given["attention_config"] == {"backend": "FLASH_ATTN"}
    assert given["speculative_config"] == {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 3}
    assert (given["enable_prefix_caching"], given["max_num_seqs"]) == (True, 8)
    assert not {"revision", "presence_penalty", "spec_method", "compilation_mode"} & given.keys()


def test_greedy_answers_end_by_the_models_own_tokens() -> None:
    assert sampling_arguments(config_of({"presence_penalty": 0.5}), REQUEST, 1, OWN) == {
        "n": 1,
        "max_tokens": 5,
        "min_tokens": 0,
        "stop_token_ids": [2, 7],
        "ignore_eos": True,
        "detokenize": False,
        "presence_penalty": 0.5,
        "temperature": 0.0,
    }


def test_drawing_goes_by_the_settings_in_effect_and_a_seed_of_each_request() -> None:
    config = config_of(decoder={"do_sample": True, "min_p": 0.1, "min_output_tokens": 9})
    first = sampling_arguments(config, REQUEST, 1, OWN)
    assert (first["temperature"], first["top_k"], first["top_p"], first["min_p"]) == (0.6, 20, 0.9, 0.1)
    # No more than its own limit.
    assert first["min_tokens"] == 5
    other = Request(index=4, token_ids=(1, 2), max_output_tokens=5)
    seeds = {sampling_arguments(config, r, seed, OWN)["seed"] for r in (REQUEST, other) for seed in (1, 2)}
    assert len(seeds) == 4
    assert first["seed"] == sampling_arguments(config, REQUEST, 1, OWN)["seed"]
    # vLLM counts up from it for further answers.
    assert min(abs(a - b) for a in seeds for b in seeds if a != b) > 1000


def test_gpus_of_all_ranks() -> None:
    assert n_gpus(config_of()) == 1
    assert n_gpus(config_of({"tensor_parallel_size": 2, "pipeline_parallel_size": 3})) == 6


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"section": {"data_parallel_size": 2}}, "vllm.data_parallel_size: 2: "),
        (
            {"section": {"max_model_len": 100}, "max_input_tokens": 80, "max_output_tokens": 30},
            "max_input_tokens 80 and max_output_tokens 30 need 110 tokens for a request, and vllm.max_model_len is 100",
        ),
        (
            {"section": {"max_num_batched_tokens": 8, "max_num_seqs": 16}},
            "vllm.max_num_batched_tokens: 8 is less than vllm.max_num_seqs, 16, ",
        ),
        (
            {
                "section": {"max_num_batched_tokens": 99, "max_model_len": 100, "enable_chunked_prefill": False},
                "max_input_tokens": 8,
                "max_output_tokens": 8,
            },
            "vllm.max_num_batched_tokens: 99 is less than vllm.max_model_len, 100, ",
        ),
        (
            {"decoder": {"do_sample": True, "temperature": 0.009}},
            "decoder.temperature: 0.009: vLLM would take 0.01 instead; ",
        ),
        ({"decoder": {"do_sample": True, "temperature": 2.01}}, "decoder.temperature: 2.01: vLLM takes at most 2; "),
        (
            {"section": {"tensor_parallel_size": 16}, "nodes": {"n": 2}},
            "nodes.n: 2: vLLM reaches other nodes by Ray; set vllm.distributed_executor_backend: ray",
        ),
        (
            {"section": {"tensor_parallel_size": 16, "distributed_executor_backend": "ray"}, "nodes": {"n": 2}},
            "vllm: 16 GPUs are needed, and 0 are visible on this node, of 2",
        ),
    ],
)
def test_what_vllm_could_not_do_is_told_before_it_loads(fields: dict[str, Any], said: str) -> None:
    assert any(problem.startswith(said) for problem in problems_of(config_of(**fields)))


@pytest.mark.parametrize(
    "fields",
    [
        {"section": {"max_num_batched_tokens": 16, "max_num_seqs": 16}},
        # In chunks a prompt takes as many steps as it needs.
        {"section": {"max_num_batched_tokens": 99, "max_model_len": 4096}},
        {"decoder": {"do_sample": True, "temperature": 0.01}},
        {"decoder": {"do_sample": True, "temperature": 2}},
    ],
)
def test_what_is_just_within_its_edges_is_none_of_its_problems(fields: dict[str, Any]) -> None:
    about = ("vllm.max_num_batched_tokens", "decoder.temperature")
    assert not [problem for problem in problems_of(config_of(**fields)) if problem.startswith(about)]


def test_only_arguments_of_the_installed_vllm_are_passed_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "vllm" / "engine" / "arg_utils.py"
    source.parent.mkdir(parents=True)
    (tmp_path / "vllm" / "__init__.py").touch()
    source.write_text(
        "class EngineArgs:\n    model: str = ''\n    download_dir: str\n    _api_process_count: int = 1\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    given = {"download_dir": "x", "downlod_dir": "x", "_api_process_count": 2}
    told = [line for line in problems_of(config_of(passthrough_kwargs=given)) if line.startswith("passthrough")]
    assert [line.partition(":")[0] for line in told] == [
        "passthrough_kwargs.downlod_dir",
        "passthrough_kwargs._api_process_count",
    ]


@pytest.mark.parametrize("name", ["device_ids", "hf_overrides", "model_class_overrides", "data_parallel_backend"])
def test_what_would_measure_other_devices_or_another_model_is_not_passed_through(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} may not be passed through"):
        config_of(passthrough_kwargs={name: "x"})


def test_the_resolved_configuration_is_flat_and_plain() -> None:
    config = FakeEngine(None, FakeVllm()).vllm_config
    told = resolved(config)
    assert (told["max_num_seqs"], told["max_model_len"], told["speculative_method"]) == (4, 64, None)
    assert all(value is None or isinstance(value, bool | int | float | str) for value in told.values())
    assert n_ranks(config) == 1
    assert engine_version() is None or engine_version().startswith("vllm")  # type: ignore[union-attr]
