"""The section against the recorded shape of SGLang's API: every field placed, every choice one of its own."""

from typing import Any

import pytest

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines.sglang import SGLangConfig
from llenergymeasure.config.engines.sglang_left_out import HANDED_ON, LEFT_OUT, REFUSED
from llenergymeasure.config.models import ExperimentConfig
from tests.fakes.recorded_api import choices_of
from tests.fakes.sglang.library import SHAPE, refuse_what_it_has_not

SERVER_ARGS, SAMPLING = SHAPE["server_args"], SHAPE["sampling_params"]
OF_SAMPLING = {"presence_penalty", "frequency_penalty"}


def test_it_was_recorded_from_the_release_that_the_section_names() -> None:
    assert SHAPE["version"] == "0.5.23"
    assert len(SERVER_ARGS) == 546


@pytest.mark.parametrize("name", [*SERVER_ARGS, *SAMPLING])
def test_a_field_is_ours_or_left_out_with_a_reason(name: str) -> None:
    shared = {*ExperimentConfig.model_fields, *DecoderConfig.model_fields, *SGLangConfig.library_names}
    places = [name in SGLangConfig.model_fields, name in LEFT_OUT, name in shared]
    # What is shared may have a name that SGLang has for something else.
    assert places[:2].count(True) == 1 or (places[2] and not any(places[:2]))


def test_a_reason_is_for_something_that_there_is() -> None:
    assert LEFT_OUT.keys() <= {*SERVER_ARGS, *SAMPLING}
    assert not REFUSED.keys() & HANDED_ON.keys()
    assert set(SGLangConfig.model_fields) - OF_SAMPLING <= set(SERVER_ARGS)
    assert set(SAMPLING) >= OF_SAMPLING


CHOSEN = [(name, value) for name, field in SGLangConfig.model_fields.items() for value in choices_of(field.annotation)]


@pytest.mark.parametrize(("name", "value"), CHOSEN)
def test_a_choice_of_ours_is_one_of_its_own(name: str, value: Any) -> None:
    refuse_what_it_has_not({name: value}, SERVER_ARGS)


def test_choices_that_it_lists_without_a_type_are_compared() -> None:
    assert len(CHOSEN) > 150
    with pytest.raises(ValueError, match="load_format: 'npz' is none of"):
        refuse_what_it_has_not({"load_format": "npz"}, SERVER_ARGS)
    with pytest.raises(TypeError, match="tensor_parallel"):
        refuse_what_it_has_not({"tensor_parallel": 2}, SERVER_ARGS)
    with pytest.raises(ValueError, match="valid integer"):
        refuse_what_it_has_not({"tp_size": "2"}, SERVER_ARGS)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("max_prefill_tokens", "16384"),
        ("stream_interval", "1"),
        ("num_continuous_decode_steps", "1"),
        ("torch_compile_max_bs", "32"),
        ("triton_attention_num_kv_splits", "8"),
        ("speculative_ngram_max_bfs_breadth", "10"),
        ("speculative_ngram_max_trie_depth", "18"),
        ("speculative_ngram_match_type", "BFS"),
        ("hicache_write_policy", "write_through"),
        ("radix_eviction_policy", "lru"),
        ("schedule_policy", "fcfs"),
        ("moe_a2a_backend", "none"),
        ("linear_attn_backend", "triton"),
    ],
)
def test_a_default_that_is_told_is_its_own(name: str, told: str) -> None:
    assert SERVER_ARGS[name]["default"].strip("'") == told
    assert told in (SGLangConfig.model_fields[name].description or "")
