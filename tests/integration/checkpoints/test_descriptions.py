"""Numbers in descriptions of models: those of every architecture pass, and those of none are refused."""

import json
from typing import Any

import pytest
from transformers import CONFIG_MAPPING

from llenergymeasure.core.checkpoint.description import impossible_numbers

pytestmark = pytest.mark.pytorch

# Their own defaults do not go together, by transformers' own checks.
NO_DEFAULT = {"gemma4_assistant", "nougat"}
# Each was refused once for a number that it has by default.
QUICK = ("blt", "doge", "emu3", "gemma3n_text", "gemma4_text")


def by_default(kind: str) -> Any:
    """What config.json has for an architecture of which nothing else is said."""
    return json.loads(CONFIG_MAPPING[kind]().to_json_string(use_diff=False))


@pytest.mark.parametrize("kind", QUICK)
def test_an_architecture_passes_as_it_is_by_default(kind: str) -> None:
    assert list(impossible_numbers(by_default(kind))) == []


@pytest.mark.slow
def test_every_architecture_passes_as_it_is_by_default() -> None:
    kinds = set(CONFIG_MAPPING) - NO_DEFAULT
    assert len(kinds) > 300
    assert {kind: found for kind in kinds if (found := list(impossible_numbers(by_default(kind))))} == {}


@pytest.mark.parametrize(
    ("name", "passes", "refused"),
    [
        ("shared_expert_intermediate_size", 20_480, 10**9),
        ("vocab_size_per_layer_input", 262_144, 10**9),
        ("num_experts", 65_536, 10**6),
        ("n_routed_experts", 65_536, 10**6),
        ("zero_expert_num", 65_536, 10**6),
        ("num_labels", 21_843, 10**6),  # of ImageNet-21k
        ("num_hidden_layers", 10_000, 10_001),
        ("n_layer", 10_000, 10_001),
        ("encoder_layers", 10_000, 10_001),
        ("num_key_value_heads", 10_000, 10_001),
        ("mamba_ngroups", 10_000, 10_001),
        ("depths", [10_000], [2, 10_001]),
        ("rope_theta", 10**12, 10**20),
        ("intermediate_size", 10**6, 10**9),
    ],
)
def test_the_limit_is_that_of_what_a_number_counts(name: str, passes: Any, refused: Any) -> None:
    assert list(impossible_numbers({"text_config": {name: passes}})) == []
    (line,) = impossible_numbers({"text_config": {name: refused}})
    assert line.startswith(f"{name} is ")
