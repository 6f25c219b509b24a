"""The hash by which a configuration is cited: stable, and blind to nothing that is measured."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from tests.unit.config.conftest import calm

LONGEST_NAME = 255  # bytes of a file's name on every file system we know (NAME_MAX); a character has four at most

# Everything that stands for the configuration {"model": "m"}, written out by hand.
RESOLVED = {
    "model": "m",
    "backend": "pytorch",
    "precision": "bf16",
    "dataset": {
        "name": "mixed",
        "path": None,
        "hub": None,
        "random": None,
        "split": "train",
        "subset": None,
        "revision": None,
        "column": None,
        "order": "shuffled",
        "chat": None,
    },
    "n": 100,
    "max_input_tokens": 512,
    "max_output_tokens": 128,
    "random_seed": 42,
    "decoder": {
        "do_sample": False,
        "temperature": None,
        "top_k": None,
        "top_p": None,
        "min_p": None,
        "repetition_penalty": None,
        "no_repeat_ngram_size": None,
        "min_output_tokens": None,
        "num_beams": 1,
        "length_penalty": None,
        "early_stopping": None,
        "num_return_sequences": 1,
        "ignore_eos": False,
    },
    "warmup": {
        "enabled": True,
        "n_warmup": 5,
        "thermal_floor_seconds": 60.0,
        "thermal_floor_early_end": False,
        "convergence_detection": False,
        "cv_threshold": 0.05,
        "max_warmup_prompts": 20,
        "window_size": 5,
        "min_prompts": 5,
    },
    "baseline": {
        "enabled": True,
        "required": False,
        "duration_seconds": 30.0,
        "sample_interval_ms": 100,
        "cache_ttl_sec": 3600.0,
    },
    "energy": {"backend": "auto", "sample_interval_ms": 100},
    "measurement": {
        "methodology": "total",
        "window_start_s": 0.0,
        "window_length_s": None,
        "steady_cv_threshold": 0.05,
        "n_steady_batches": 5,
    },
    "phases": {"enabled": False, "n_pairs": 5, "n_batches": None},
    "lora": None,
    "passthrough_kwargs": {},
    "pytorch": {
        **dict.fromkeys(set(PyTorchConfig.model_fields)),
        "batch_size": 1,
        "random_weights": False,
        "trust_remote_code": False,
        "load_in_8bit": False,
        "load_in_4bit": False,
    },
}

CHANGES: list[dict[str, Any]] = [
    {"model": "other"},
    {"precision": "fp32"},
    {"backend": "vllm"},
    {"n": 101},
    {"max_input_tokens": 511},
    {"max_output_tokens": 129},
    {"random_seed": 43},
    {"dataset": "./a.jsonl"},
    {"dataset": "random"},
    {"dataset": {"random": {"input_tokens": 9}}},
    {"dataset": {"random": {"output_tokens": 9}}},
    {"dataset": {"hub": "a"}},
    {"dataset": {"hub": "a", "split": "test"}},
    {"dataset": {"name": "mixed", "order": "as_is"}},
    {"decoder": {"do_sample": True}},
    {"decoder": {"top_p": 0.5}},
    {"warmup": {"n_warmup": 6}},
    {"warmup": {"cv_threshold": 0.05}},  # writing a convergence field is itself a setting
    {"warmup": {"thermal_floor_early_end": True}},
    {"warmup": {"thermal_settle_max_s": 300}},
    {"measurement": {"dither_s": 0.1}},
    {"baseline": {"enabled": False}},
    {"energy": {"backend": None}},
    {"measurement": {"methodology": "windowed"}},
    {"phases": True},
    {"phases": {"enabled": True, "n_pairs": 6}},
    {"energy": {"sample_interval_ms": 50}},
    {"energy": {"backend": "nvml"}},
    {"lora": {"path": "adapter"}},
    {"device": {"power_limit_w": 250}},
    {"device": {"power_limit_w": 250, "sm_clock_mhz": 1200}},
    {"pytorch": {"batch_size": 2}},
    {"pytorch": {"attn_implementation": "eager"}},
    {"pytorch": {"load_in_4bit": True}},
    {"decoder": {"num_beams": 2}},
    {"decoder": {"num_beams": 2, "num_return_sequences": 2}},
    {"decoder": {"ignore_eos": True}},
    {"passthrough_kwargs": {"rope_theta": 5}},
]


def hash_of(fields: dict[str, Any]) -> str:
    return measurement_config_hash(ExperimentConfig.model_validate(fields))


def test_the_hash_is_sha_256_over_the_sorted_json_of_everything_resolved() -> None:
    canonical = json.dumps(RESOLVED, sort_keys=True, separators=(",", ":"))
    assert hash_of({"model": "m"}) == hashlib.sha256(canonical.encode()).hexdigest()[:16]


def test_every_change_of_the_measurement_changes_the_hash() -> None:
    hashes = [hash_of({"model": "m"})] + [hash_of({"model": "m", **change}) for change in CHANGES]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "mine"},
        {"output_dir": Path("elsewhere")},
        {"pytorch": {}},
        {"quality": True},
        {"quality": {"text": "a.txt", "n_scored_tokens": 9, "n_context_tokens": 99}},
    ],
    ids=str,
)
def test_names_output_folders_empty_sections_and_quality_do_not_change_it(change: dict[str, Any]) -> None:
    assert hash_of({"model": "m", **change}) == hash_of({"model": "m"})


def test_two_spellings_of_one_setting_have_one_hash() -> None:
    assert hash_of({"model": "m", "dataset": "./a.txt"}) == hash_of({"model": "m", "dataset": {"path": "a.txt"}})
    assert hash_of({"model": "m", "warmup": {"max_prompts": 9}}) == hash_of(
        {"model": "m", "warmup": {"max_warmup_prompts": 9}}
    )
    assert hash_of({"model": "m", "warmup": {"thermal_floor_seconds": 45}}) == hash_of(
        {"model": "m", "warmup": {"thermal_floor_seconds": 45.0}}
    )


@calm
@given(st.permutations(sorted(RESOLVED)), st.sets(st.sampled_from(sorted(set(RESOLVED) - {"model"}))))
def test_neither_order_nor_written_out_defaults_change_it(order: list[str], left_out: set[str]) -> None:
    fields = {key: RESOLVED[key] for key in order if key not in left_out}
    assert hash_of(fields) == hash_of({"model": "m"})


@calm
@given(*[st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=LONGEST_NAME // 4)] * 2)
def test_models_have_the_same_hash_exactly_when_they_are_the_same(one: str, other: str) -> None:
    first, second = hash_of({"model": one}), hash_of({"model": other})
    assert (first == second) == (one == other)
    assert len(first) == 16
    assert int(first, 16) >= 0


@calm
@given(st.integers(1, 10**6), st.floats(30, 1e6))
def test_a_configuration_read_back_from_json_has_the_same_hash(n: int, floor_s: float) -> None:
    config = ExperimentConfig.model_validate({"model": "m", "n": n, "warmup": {"thermal_floor_seconds": floor_s}})
    again = ExperimentConfig.model_validate_json(config.model_dump_json())
    assert measurement_config_hash(again) == measurement_config_hash(config)
