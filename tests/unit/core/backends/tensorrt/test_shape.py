"""The section against the recorded shape of TensorRT-LLM's API: every field placed, every choice one of its own."""

from typing import Any

import pytest

from llenergymeasure.config.decoder import DecoderConfig
from llenergymeasure.config.engines import TensorRTConfig, tensorrt
from llenergymeasure.config.engines.tensorrt_left_out import HANDED_ON, REFUSED
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.tensorrt.parameters import DRAFTING, NESTED, engine_arguments
from tests.fakes.recorded_api import choices_of
from tests.fakes.tensorrt_llm_library import SHAPE, FakeTensorRT

ARGUMENTS, SAMPLING = SHAPE["TorchLlmArgs"], SHAPE["SamplingParams"]
LIBRARY = FakeTensorRT()
_SINKS = "keeps tokens that the model's own attention would forget"
_TREES = "belongs to trees of drafts, which it calls unfinished"
_THINKING = "accepts other tokens than the model's own while it thinks"
# What nested configurations have and the section has not, each with the reason; it "..." as in ``REFUSED``.
NESTED_LEFT_OUT: dict[str, dict[str, str]] = {
    "kv_cache_config": {
        "sink_token_length": _SINKS,
        "onboard_blocks": "decides how blocks come back from the CPU, where host_cache_size put them",
        "secondary_offload_min_priority": "needs priorities, which no request has here",
        "cross_kv_cache_fraction": "is for encoder-decoder models, which are not loaded",
        "event_buffer_max_size": "does work of its own in the measured loop",
        "attention_dp_events_gather_period_ms": "does work of its own in the measured loop",
    },
    "scheduler_config": {"dynamic_batch_config": "is for the engine that is built before it runs"},
    "moe_config": {"load_balancer": "is a file or an object that moves experts about by a plan made before"},
    "speculative_config": {
        "max_total_draft_tokens": _TREES,
        "draft_len_schedule": "is for its developers, it says",
        "load_format": "has the draft's weights drawn, which then accepts nothing",
        "allow_advanced_sampling": "lets tokens be drawn beside drafts; the section decodes greedily with them",
        **dict.fromkeys(("eagle_choices", "use_dynamic_tree", "dynamic_tree_max_topK"), _TREES),
        **dict.fromkeys(("num_eagle_layers", "max_non_leaves_per_layer"), "is for the engine built before it runs"),
        **dict.fromkeys(("greedy_sampling", "posterior_threshold"), "is for the engine built before it runs"),
        **dict.fromkeys(("eagle3_one_model", "eagle3_layers_to_capture", "eagle3_model_arch"), "is the draft's own"),
        **dict.fromkeys(("use_relaxed_acceptance_for_thinking", "relaxed_topk", "relaxed_delta"), _THINKING),
        **dict.fromkeys(("begin_thinking_phase_token", "end_thinking_phase_token"), _THINKING),
        **dict.fromkeys(("use_mtp_vanilla", "mtp_eagle_one_model"), "chooses between ways of its own to run one head"),
        "num_nextn_predict_layers": "is what max_draft_len is for these heads",
        "num_nextn_predict_layers_from_model_config": "is set by TensorRT-LLM",
    },
}
CLASSES = {
    "kv_cache_config": ["KvCacheConfig"],
    "scheduler_config": ["SchedulerConfig"],
    "cuda_graph_config": ["CudaGraphConfig"],
    "torch_compile_config": ["TorchCompileConfig"],
    "moe_config": ["MoeConfig"],
    "nvfp4_gemm_config": ["Nvfp4GemmConfig"],
    "attention_dp_config": ["AttentionDpConfig"],
    "speculative_config": ["DecodingBaseConfig"],
}


def test_it_was_recorded_from_the_release_that_the_section_names() -> None:
    assert f"TensorRT-LLM {SHAPE['version']} (commit {SHAPE['commit'][:7]})" in (tensorrt.__doc__ or "")


@pytest.mark.parametrize("name", [*ARGUMENTS, *SAMPLING])
def test_a_field_is_ours_or_left_out_with_a_reason(name: str) -> None:
    shared = {*ExperimentConfig.model_fields, *DecoderConfig.model_fields, *TensorRTConfig.library_names}
    places = [name in TensorRTConfig.model_fields, name in REFUSED, name in HANDED_ON]
    # What is shared may have a name that TensorRT-LLM has for something else, such as backend.
    assert places.count(True) == 1 or (name in shared and not any(places))


def test_a_reason_is_for_something_that_there_is() -> None:
    # The alias of mpi_session.
    assert REFUSED.keys() - {"_mpi_session"} <= {*ARGUMENTS, *SAMPLING}
    assert HANDED_ON.keys() <= ARGUMENTS.keys()
    assert not REFUSED.keys() & HANDED_ON.keys()


@pytest.mark.parametrize("argument", NESTED)
def test_what_is_nested_is_ours_or_left_out_with_a_reason(argument: str) -> None:
    recorded = {name for kind in CLASSES[argument] for name in SHAPE["configurations"][kind]}
    if argument == "speculative_config":
        recorded |= {name for each in SHAPE["drafting"].values() for name in each["fields"]}
    ours, left_out = set(NESTED[argument].values()), NESTED_LEFT_OUT.get(argument, {})
    assert recorded == ours | left_out.keys()
    assert not ours & left_out.keys()
    assert NESTED[argument].keys() <= TensorRTConfig.model_fields.keys()


def test_every_way_of_drafting_is_one_of_its_own() -> None:
    assert {name: each["decoding_type"] for name, each in SHAPE["drafting"].items()} == {
        theirs: ours for ours, theirs in DRAFTING.items()
    }


def test_every_field_of_the_section_is_told() -> None:
    """Or is no argument: the folder is that of the revision, and switches stand for whole configurations."""
    nested = {name for names in NESTED.values() for name in names}
    switches = {"revision", "cuda_graph", "torch_compile", "decoding_type"}
    assert TensorRTConfig.model_fields.keys() == nested | switches | (ARGUMENTS.keys() & TensorRTConfig.model_fields)


CHOSEN = [
    (name, value)
    for name, field in TensorRTConfig.model_fields.items()
    for value in choices_of(field.annotation)
    if name != "decoding_type"
]


@pytest.mark.parametrize(("name", "value"), CHOSEN)
def test_a_choice_of_ours_is_one_of_its_own(name: str, value: Any) -> None:
    section = {name: [value] if name == "nvfp4_gemm_allowed_backends" else value, "enable_chunked_prefill": True}
    config = ExperimentConfig.model_validate({"model": "m", "backend": "tensorrt", "tensorrt": section})
    LIBRARY.TorchLlmArgs(**engine_arguments(config, "/folder", LIBRARY))


@pytest.mark.parametrize(
    ("name", "place", "told"),
    [
        ("max_num_tokens", ARGUMENTS["max_num_tokens"], "8192"),
        ("stream_interval", ARGUMENTS["stream_interval"], "1"),
        ("attn_backend", ARGUMENTS["attn_backend"], "TRTLLM"),
        ("garbage_collection_gen0_threshold", ARGUMENTS["garbage_collection_gen0_threshold"], "20000"),
        ("free_gpu_memory_fraction", SHAPE["configurations"]["KvCacheConfig"]["free_gpu_memory_fraction"], "0.9"),
        ("tokens_per_block", SHAPE["configurations"]["KvCacheConfig"]["tokens_per_block"], "32"),
        ("moe_backend", SHAPE["configurations"]["MoeConfig"]["backend"], "CUTLASS"),
        ("attention_dp_timeout_iters", SHAPE["configurations"]["AttentionDpConfig"]["timeout_iters"], "50"),
        ("torch_compile_max_num_streams", SHAPE["configurations"]["TorchCompileConfig"]["max_num_streams"], "1"),
        (
            "capacity_scheduler_policy",
            SHAPE["configurations"]["SchedulerConfig"]["capacity_scheduler_policy"],
            "GUARANTEED_NO_EVICT",
        ),
    ],
)
def test_a_default_that_is_told_is_its_own(name: str, place: list[Any], told: str) -> None:
    assert str(place[1]) == told
    assert f"null is {told}." in (TensorRTConfig.model_fields[name].description or "")
