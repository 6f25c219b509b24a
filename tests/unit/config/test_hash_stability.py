"""The hash is for citing: it is the same everywhere and stays what it is."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from tests.fakes.effort import PATIENCE_S

PLAIN: dict[str, Any] = {"model": "HuggingFaceTB/SmolLM2-135M"}
RICH: dict[str, Any] = {
    "model": "org/modèle-7b",
    "name": "left out of the hash",
    "output_dir": "left/out/too",
    "quality": {"text": "left/out.txt", "n_scored_tokens": 99},
    "precision": "fp16",
    "dataset": {"path": "prompts/long.jsonl", "order": "as_is", "chat": True},
    "n": 7,
    "max_input_tokens": 1024,
    "max_output_tokens": 64,
    "random_seed": 4294967295,
    "decoder": {"preset": "creative", "temperature": 0.1, "repetition_penalty": 1.05},
    "warmup": {"n_warmup": 3, "thermal_floor_seconds": 45, "cv_threshold": 1e-05, "max_prompts": 9},
    "energy": {"backend": "nvml"},
    "baseline": {"duration_seconds": 12.5, "required": True},
    "lora": {"path": "org/adapter", "merge": False},
    "passthrough_kwargs": {"rope_theta": 1e6, "deep": {"b": [1, None, True, "ß"], "a": {}}},
    "pytorch": {
        "batch_size": 8,
        "device_map": {"": 0, "lm_head": "cpu"},
        "max_memory": {"cpu": "20GiB", "0": "8GiB"},
        "load_in_4bit": True,
        "bnb_4bit_quant_type": "nf4",
        "exponential_decay_length_penalty": [32, 1.5],
    },
}
# These must not change by accident: results that were cited by them would no longer be found. They change with
# every field that is added to what is measured, its default included, and with nothing else; a new value here
# belongs into the changelog.
PINNED = [(PLAIN, "fe9c0924018beebd"), (RICH, "7e52f00d02b29628")]

HASH_OF_STDIN = (
    "import json, sys\n"
    "from llenergymeasure.config.models import measurement_config_hash\n"
    "from llenergymeasure.config.models import ExperimentConfig\n"
    "for fields in json.load(sys.stdin):\n"
    "    print(measurement_config_hash(ExperimentConfig.model_validate(fields)))\n"
)


def hash_of(fields: dict[str, Any]) -> str:
    return measurement_config_hash(ExperimentConfig.model_validate(fields))


def turned(value: Any) -> Any:
    """The same mappings with their keys in reverse order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("fields", "pinned"), PINNED, ids=["plain", "rich"])
def test_the_hash_of_a_configuration_is_what_it_was(fields: dict[str, Any], pinned: str) -> None:
    assert hash_of(fields) == pinned


@pytest.mark.parametrize("seed", ["0", "1", "4294967295"])
def test_the_hash_is_the_same_in_another_process_with_other_hash_seeds(seed: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", HASH_OF_STDIN],
        input=json.dumps([PLAIN, RICH, turned(RICH)]),
        env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    assert ran.stdout.split() == [hash_of(PLAIN), hash_of(RICH), hash_of(RICH)]


def test_the_order_of_keys_plays_no_part_at_any_depth() -> None:
    assert hash_of(turned(RICH)) == hash_of(RICH)


def test_names_and_places_play_no_part() -> None:
    bare = {key: value for key, value in RICH.items() if key not in ("name", "output_dir", "quality")}
    assert hash_of(bare) == hash_of(RICH)


def test_the_hash_survives_every_way_a_configuration_is_written_down() -> None:
    for fields in (PLAIN, RICH):
        config = ExperimentConfig.model_validate(fields)
        for written in (
            config.model_dump(),
            config.model_dump(mode="json"),
            config.model_dump(exclude_unset=True),
            config.resolved(),
            json.loads(config.model_dump_json()),
        ):
            assert hash_of(written) == hash_of(fields)


def test_knobs_of_the_card_are_in_the_hash_only_where_they_are_given() -> None:
    for unset in (None, {}, {"power_limit_w": None, "sm_clock_mhz": None}):
        assert hash_of({**PLAIN, "device": unset}) == PINNED[0][1]
    set_to = [{"power_limit_w": 250}, {"power_limit_w": 300}, {"sm_clock_mhz": 300}, {"memory_clock_mhz": 300}]
    hashes = {hash_of({**PLAIN, "device": knobs}) for knobs in set_to}
    assert len(hashes - {PINNED[0][1]}) == len(set_to)
    assert hash_of({**PLAIN, "device": {"power_limit_w": 250.0}}) in hashes
