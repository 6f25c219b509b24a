"""What runs under vLLM and not as one would think, told where it is so and nowhere else."""

from typing import Any

import pytest

from llenergymeasure.core.backends.vllm.cautions import cautions_of
from llenergymeasure.core.backends.vllm.checks import format_problems, problems_of
from llenergymeasure.domain.environment import GpuInfo
from tests.unit.core.backends.vllm.test_parameters import config_of

RANDOM = {"random": {"input_tokens": 600, "output_tokens": 8}}
ADAPTER = {"path": "adapter", "merge": False}


def flags(section: dict[str, Any] | None = None, *, on_cpu: bool = False, **fields: Any) -> list[str]:
    config = config_of(section, **fields)
    return [caution.flag for caution in cautions_of(config, on_cpu=on_cpu, native=frozenset({"fp32"}))]


@pytest.mark.parametrize(
    ("section", "fields", "told"),
    [
        ({"enable_prefix_caching": True}, {}, ["prompt_cache_on"]),
        ({"max_num_batched_tokens": 511}, {}, ["prompts_in_pieces"]),
        ({"long_prefill_token_threshold": 100}, {}, ["prompts_in_pieces"]),
        ({"max_num_batched_tokens": 599}, {"dataset": RANDOM, "max_input_tokens": 600}, ["prompts_in_pieces"]),
        ({"load_format": "dummy"}, {}, ["answers_end_by_chance"]),
        ({"max_num_seqs": 9}, {"n": 10}, ["requests_queue"]),
        ({"max_num_seqs": 90, "max_num_active_seqs": 9}, {"n": 10}, ["requests_queue"]),
        ({"spec_method": "ngram"}, {}, ["tokens_in_groups"]),
        ({"stream_interval": 2}, {}, ["tokens_in_groups"]),
        ({"enforce_eager": True}, {}, ["not_as_deployed"]),
        ({"optimization_level": 0}, {}, ["not_as_deployed"]),
        ({}, {"on_cpu": True, "lora": ADAPTER}, ["not_as_deployed"]),
        ({"enforce_eager": True}, {"on_cpu": True, "lora": ADAPTER}, ["not_as_deployed"]),
        ({}, {"on_cpu": True, "precision": "bf16"}, ["slow_precision"]),
    ],
)
def test_what_is_not_as_one_would_think_is_told(
    section: dict[str, Any], fields: dict[str, Any], told: list[str]
) -> None:
    assert flags(section, **fields) == told


@pytest.mark.parametrize(
    ("section", "fields"),
    [
        (None, {}),
        ({"enable_prefix_caching": False, "enforce_eager": False, "optimization_level": 1, "stream_interval": 1}, {}),
        ({"max_num_batched_tokens": 512}, {}),
        ({"max_num_batched_tokens": 600}, {"dataset": RANDOM, "max_input_tokens": 600}),
        ({"load_format": "dummy"}, {"decoder": {"ignore_eos": True}}),
        ({"load_format": "dummy"}, {"dataset": RANDOM, "max_input_tokens": 600}),
        ({"max_num_seqs": 10}, {"n": 10}),
        ({}, {"lora": ADAPTER}),
        ({}, {"precision": "bf16"}),
    ],
)
def test_what_is_as_one_would_think_is_not(section: dict[str, Any] | None, fields: dict[str, Any]) -> None:
    assert flags(section, **fields) == []


def test_more_requests_that_run_than_room_is_made_for_are_a_problem() -> None:
    over = config_of({"max_num_seqs": 8, "max_num_active_seqs": 9})
    assert any(line.startswith("vllm.max_num_active_seqs: 9 is more than") for line in problems_of(over))
    just = config_of({"max_num_seqs": 8, "max_num_active_seqs": 8})
    assert not any(line.startswith("vllm.max_num_active_seqs") for line in problems_of(just))


def test_bf16_is_refused_on_gpus_that_vllm_refuses_it_on() -> None:
    turing = GpuInfo(index=1, uuid="a", name="T4", compute_capability=(7, 5))
    ampere = GpuInfo(index=0, uuid="b", name="A100", compute_capability=(8, 0))
    (line,) = format_problems("bf16", [ampere, turing])
    assert line == "precision: bf16: vLLM has none on GPU 1 (T4), before Ampere; set precision: fp16"
    assert list(format_problems("fp16", [turing])) == []
    assert list(format_problems("bf16", [GpuInfo(index=0, uuid="c", name="unknown")])) == []
