"""What SGLang is told of an experiment, and what is found wrong before it loads."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.from_checkpoint import Origin
from llenergymeasure.core.backends.scheduled import seed_of
from llenergymeasure.core.backends.sglang.checks import cautions_of, problems_of
from llenergymeasure.core.backends.sglang.configuration import resolved
from llenergymeasure.core.backends.sglang.parameters import engine_arguments, n_gpus, sampling_arguments
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.core.checkpoint.source import ModelSource
from llenergymeasure.domain.inference import Request
from tests.fakes.sglang.library import SHAPE, refuse_what_it_has_not

OWN = OwnSettings(end_token_ids=frozenset({7, 2}), temperature=0.6, top_k=0, top_p=0.9)
REQUEST = Request(index=3, token_ids=(1, 2), max_output_tokens=5)


def config_of(section: dict[str, Any] | None = None, **fields: Any) -> ExperimentConfig:
    given = {"model": "m", "backend": "sglang", "precision": "fp32", **fields}
    return ExperimentConfig.model_validate({**given, **({} if section is None else {"sglang": section})})


def arguments(config: ExperimentConfig, ends_of_config: Any = 2, settings: OwnSettings = OWN) -> dict[str, Any]:
    given = engine_arguments(
        Origin(
            config=config,
            source=ModelSource(location="/folder"),
            folder=Path("/folder"),
            files=None,
            description=SimpleNamespace(eos_token_id=ends_of_config),
            settings=settings,
            opened=Path("/folder"),
        )
    )
    refuse_what_it_has_not(given, SHAPE["server_args"])
    return given


def test_what_was_not_written_is_left_to_sglang_but_for_the_cache_of_prompts() -> None:
    assert arguments(config_of()) == {
        "model_path": "/folder",
        "dtype": "float32",
        "random_seed": 42,
        "disable_radix_cache": True,
        "skip_tokenizer_init": True,
        "trust_remote_code": False,
    }


def test_what_was_written_goes_by_its_own_name() -> None:
    section = {
        "disable_radix_cache": False,
        "tp_size": 2,
        "revision": "main",
        "attention_backend": "fa3",
        "speculative_algorithm": "NGRAM",
        "cuda_graph_bs_decode": [1, 8],
        "presence_penalty": 0.5,
    }
    given = arguments(config_of(section, passthrough_kwargs={"watchdog_timeout": 900.0}))
    assert not {"revision", "presence_penalty"} & given.keys()
    assert {name: given[name] for name in section if name not in ("revision", "presence_penalty")} == {
        "disable_radix_cache": False,
        "tp_size": 2,
        "attention_backend": "fa3",
        "speculative_algorithm": "NGRAM",
        "cuda_graph_bs_decode": [1, 8],
    }
    assert given["watchdog_timeout"] == 900.0


@pytest.mark.parametrize(
    ("of_config", "ends", "told"),
    [
        (2, {2, 7}, None),
        ([2, 7], {2, 7}, None),
        (None, {2}, None),
        # It would end answers at 9, too, which is no end of the generation_config.json.
        ([2, 9], {2}, [2]),
        (9, {7, 2}, [2, 7]),
        # Nothing ends an answer: the requests say so themselves.
        ([2, 9], set(), None),
    ],
)
def test_answers_end_at_the_same_tokens_as_with_other_engines(of_config: Any, ends: set[int], told: Any) -> None:
    settings = OwnSettings(end_token_ids=frozenset(ends), temperature=1.0, top_k=0, top_p=1.0)
    given = arguments(config_of(), of_config, settings).get("json_model_override_args")
    assert given == (None if told is None else json.dumps({"eos_token_id": told}))


def test_greedy_answers_end_by_the_models_own_tokens() -> None:
    assert sampling_arguments(config_of({"presence_penalty": 0.5}), REQUEST, 1, OWN) == {
        "max_new_tokens": 5,
        "stop_token_ids": [2, 7],
        "ignore_eos": False,
        "temperature": 0.0,
        "presence_penalty": 0.5,
    }


def test_drawing_goes_by_the_settings_in_effect_and_a_seed_of_each_request() -> None:
    config = config_of(decoder={"do_sample": True, "min_p": 0.1, "repetition_penalty": 1.2})
    given = sampling_arguments(config, REQUEST, 1, OWN)
    assert (given["temperature"], given["top_k"], given["top_p"], given["min_p"]) == (0.6, -1, 0.9, 0.1)
    assert given["repetition_penalty"] == 1.2
    assert 0 <= given["sampling_seed"] < 2**63
    other = Request(index=4, token_ids=(1, 2), max_output_tokens=5)
    assert sampling_arguments(config, other, 1, OWN)["sampling_seed"] != given["sampling_seed"]
    assert seed_of(1, 3) == given["sampling_seed"]


def test_where_nothing_ends_an_answer_no_token_is_looked_at() -> None:
    endless = OwnSettings(end_token_ids=frozenset(), temperature=1.0, top_k=0, top_p=1.0)
    given = sampling_arguments(config_of(), REQUEST, 1, endless)
    assert (given["ignore_eos"], given["stop_token_ids"]) == (True, [])


def test_gpus_of_all_ranks() -> None:
    assert n_gpus(config_of()) == 1
    assert n_gpus(config_of({"tp_size": 4, "pp_size": 2})) == 8
    assert n_gpus(config_of({"tp_size": 2, "dp_size": 3})) == 6
    assert n_gpus(config_of({"tp_size": 8, "attn_dp_size": 4, "ep_size": 8})) == 8


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"lora": {"path": "/nowhere"}}, "lora: the sglang engine is given no adapters"),
        ({"sglang": {"tp_size": 1000}}, "sglang: 1000 GPUs are needed, and "),
        # 512 and 128 and what SGLang keeps to itself: 642.
        ({"sglang": {"context_length": 641}}, "need 642 tokens for a request, 2 of them SGLang's own"),
        ({"sglang": {"tp_size": 4, "attn_dp_size": 3}}, "attn_dp_size: 3 groups do not divide tp_size 4"),
        ({"sglang": {"chunked_prefill_size": 100, "page_size": 64}}, "100 is no multiple of page_size 64"),
        ({"sglang": {"chunked_prefill_size": 0}}, "chunked_prefill_size: 0 is no size"),
        ({"sglang": {"schedule_policy": "lpm"}}, "schedule_policy: lpm goes by kept prompts"),
        ({"decoder": {"do_sample": True, "temperature": 1e-7}}, "decoder.temperature: 1e-07: SGLang would take the"),
        ({"decoder": {"repetition_penalty": 2.5}}, "decoder.repetition_penalty: 2.5: SGLang takes at most 2"),
        ({"passthrough_kwargs": {"tensor_parallel": 2}}, "passthrough_kwargs.tensor_parallel: ServerArgs of SGLang"),
    ],
)
def test_what_sglang_could_not_do_is_told_before_it_loads(fields: dict[str, Any], said: str) -> None:
    assert [line for line in problems_of(config_of(**fields)) if said in line]


@pytest.mark.parametrize(
    "fields",
    [
        {"sglang": {"context_length": 642}},
        {"sglang": {"chunked_prefill_size": 128, "page_size": 64}},
        {"sglang": {"chunked_prefill_size": -1, "page_size": 64}},
        {"sglang": {"schedule_policy": "lpm", "disable_radix_cache": False}},
        {"decoder": {"do_sample": True, "temperature": 1e-6, "repetition_penalty": 2.0}},
        {"passthrough_kwargs": {"dcp_size": 2}},
    ],
)
def test_what_is_just_within_its_edges_is_none_of_its_problems(fields: dict[str, Any]) -> None:
    # GPUs are another machine's matter.
    assert [line for line in problems_of(config_of(**fields)) if "are visible" not in line] == []


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("SGLANG_RUST_SERVER", "1", "SGLANG_RUST_SERVER: its server has no Python interface"),
        ("SGLANG_RUST_SERVER", "false", None),
        ("SGLANG_MAX_NEW_TOKENS_LIMIT", "127", "SGLANG_MAX_NEW_TOKENS_LIMIT: 127 is less than max_output_tokens, 128"),
        ("SGLANG_MAX_NEW_TOKENS_LIMIT", "128", None),
    ],
)
def test_variables_that_it_goes_by_are_looked_at(
    variable: str, value: str, said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    found = [line for line in problems_of(config_of()) if "are visible" not in line]
    assert [line.startswith(said or "") for line in found] == ([] if said is None else [True])


def test_draws_that_follow_no_seed_are_told() -> None:
    drawn = {"do_sample": True}
    assert [w.flag for w in cautions_of(config_of(decoder=drawn))] == ["sampling_not_seeded"]
    assert not [*cautions_of(config_of({"enable_deterministic_inference": True}, decoder=drawn))]
    assert not [*cautions_of(config_of())]


def test_the_resolved_configuration_is_flat_and_plain() -> None:
    told = resolved({"tp_size": 2, "dtype": "bfloat16", "cuda_graph_config": {"decode": 1}, "page_size": [64]})
    assert (told["tp_size"], told["dtype"], told["page_size"], told["quantization"]) == (2, "bfloat16", "[64]", None)
    assert "cuda_graph_config" not in told
