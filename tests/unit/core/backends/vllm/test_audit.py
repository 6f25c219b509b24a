"""Every setting of the recorded vLLM is a field, set by the engine here, or left out with a reason.

``tests/integration/vllm/test_audit.py`` holds the record against the installed release.
"""

import re
from typing import Any

import pytest

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines import VLLMConfig
from llenergymeasure.config.engines.vllm_left_out import HANDED_ON, LEFT_OUT, SET_HERE, UNSAFE
from llenergymeasure.config.introspection import field_constraints, field_test_values
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.parameters import engine_arguments, sampling_arguments
from llenergymeasure.core.checkpoint.own_settings import OwnSettings
from llenergymeasure.domain.inference import Request
from tests.fakes.recorded_api import recorded

RECORDED = recorded("vllm-0.32.0.json")
ENGINE, REQUEST = RECORDED["EngineArgs"], RECORDED["SamplingParams"]
THEIRS = {**REQUEST, **ENGINE}
FIELDS = {"model", *VLLMConfig.model_fields, *DecoderConfig.model_fields, *VLLMConfig.library_names}
# In no signature of this release: of older ones and of ``LLM``, which people know.
UNNAMED = {"best_of", "use_tqdm", "truncate_prompt_tokens", "lora_request"}
VALUES = field_test_values()
NESTED = {
    "compilation_config": "CompilationConfig",
    "pass_config": "PassConfig",
    "attention_config": "AttentionConfig",
    "eplb_config": "EPLBConfig",
    "quantization_config": "QuantizationConfigArgs",
    "speculative_config": "SpeculativeConfig",
}
# Choices of theirs that are no choice here: what leaving the field out means, what is for other work than one host's
# text, what is for testing, and what was removed and is still listed.
NO_CHOICES: dict[str, set[str | int]] = {
    "distributed_executor_backend": {"external_launcher"},
    "all2all_backend": {"flashinfer_all2allv", "mori_high_throughput", "mori_low_latency", "naive", "passthrough",
                        "pplx"},
    "kv_cache_dtype": {"fp8_inc"},
    "moe_backend": {"aiter_mega_moe", "aiter_triton_mxfp4_bf16", "deep_gemm_mega_moe", "emulation",
                    "flashinfer_moe_ep_cutedsl", "flashinfer_moe_ep_mega_deep_gemm", "rdna3"},
    "linear_backend": {"emulation", "xpu", "xpu_woq"},
    # Room for eight takes one too, and 1 would be true as well.
    "max_lora_rank": {1},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_a_setting_is_a_field_or_left_out_with_a_reason(name: str) -> None:
    assert (name in FIELDS) != (name in LEFT_OUT), f"{name} is new, or both a field and left out"


@pytest.mark.parametrize("name", sorted({*LEFT_OUT, *VLLMConfig.library_names} - UNNAMED))
def test_nothing_is_listed_that_the_release_has_not(name: str) -> None:
    assert name in THEIRS


def test_every_reason_is_a_sentence_and_stands_in_one_list() -> None:
    assert all(len(reason.split()) >= 3 for reason in LEFT_OUT.values())
    assert len(LEFT_OUT) == len(SET_HERE) + len(UNSAFE) + len(HANDED_ON)


def told_of(field: str, value: Any) -> dict[str, Any]:
    """What vLLM's two classes are told of an experiment in which this alone is set."""
    given: dict[str, Any] = {"model": "m", "backend": "vllm", "precision": "fp32", "vllm": {field: value}}
    config = ExperimentConfig.model_validate({**given, "lora": {"path": "adapter"}})
    request = Request(index=0, token_ids=(1,), max_output_tokens=5)
    own = OwnSettings(end_token_ids=frozenset({2}), temperature=1.0, top_k=0, top_p=1.0)
    # With an adapter of a rank that no room is made for by itself.
    return {**sampling_arguments(config, request, 1, own), **engine_arguments(config, "/folder", 600)}


# The folder that is told is that of the revision already.
OWN_WAYS = {"revision", "tokenizer_revision"}


@pytest.mark.parametrize("field", sorted({*VLLMConfig.model_fields} - OWN_WAYS))
def test_a_field_reaches_vllm_by_a_name_that_it_has(field: str) -> None:
    plain = told_of("max_model_len", 9)
    # A list of names or numbers has no values to test with in the introspection.
    values = [value for value in VALUES.get(f"vllm.{field}", []) if value is not None] or [[1], ["x"]]
    for value in values:
        try:
            told = told_of(field, value)
        except ValueError:
            if value in ([1], ["x"]):
                continue
            raise
        changed = {name: each for name, each in told.items() if plain.get(name) != each}
        if value is not False and field != "max_model_len":
            assert changed, f"{field}: {value} reaches nothing"
        for name, each in changed.items():
            assert name in THEIRS
            _has_names(name, each)


def _has_names(argument: str, value: Any) -> None:
    if argument in NESTED:
        for name, inner in value.items():
            assert name in RECORDED[NESTED[argument]]
            _has_names(name, inner)


@pytest.mark.parametrize("field", sorted(VLLMConfig.model_fields))
def test_choices_are_those_of_the_release(field: str) -> None:
    ours = set(field_constraints().get(f"vllm.{field}", {}).get("choices", ()))
    theirs = set(THEIRS.get(field, {}).get("choices", ()))
    if not ours or not theirs:
        return
    if field == "mamba_backend":  # taken by the names of its members, in small letters
        theirs = {str(name).lower() for name in theirs}
    if field == "attention_backend":  # those made for one model are left out
        assert ours < theirs
        return
    assert theirs - ours - {"auto"} == NO_CHOICES.get(field, set())
    assert ours <= theirs


@pytest.mark.parametrize(("field", "theirs"), [("spec_method", "method"), ("quantization", "quantization")])
def test_what_is_drafted_and_quantised_by_is_known_to_the_release(field: str, theirs: str) -> None:
    ours = set(field_constraints()[f"vllm.{field}"]["choices"])
    assert ours <= set(RECORDED["SpeculativeConfig"][theirs]["choices"])


def test_defaults_that_descriptions_tell_are_those_of_the_release() -> None:
    told = {
        name: match[1]
        for name, field in VLLMConfig.model_fields.items()
        if (match := re.search(r"null is ([\d.]*\d)\b", field.description or "")) and name in ENGINE
    }
    assert {"gpu_memory_utilization", "tensor_parallel_size", "dbo_decode_token_threshold"} <= told.keys()
    # Written where the argument is unset.
    unset = {"optimization_level"}
    assert {n: float(t) for n, t in told.items() if n not in unset} == {
        n: float(ENGINE[n]["default"]) for n in told if n not in unset
    }
