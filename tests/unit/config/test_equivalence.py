"""Which configurations would be run alike, which settings sleep, and which cannot go together."""

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llenergymeasure.config.introspection import field_defaults, field_test_values
from llenergymeasure.config.loader import load_experiment_config
from llenergymeasure.config.models import ExperimentConfig, measurement_config_hash
from tests.unit.config.conftest import WriteConfig, calm

SAMPLED = {"do_sample": True}
SAMPLING: dict[str, Any] = {"decoder": SAMPLED}
BEAMS: dict[str, Any] = {"decoder": {"num_beams": 2}}
COMPILED: dict[str, Any] = {"pytorch": {"compile": True}}
IN_4_BIT: dict[str, Any] = {"pytorch": {"load_in_4bit": True}}
IN_8_BIT: dict[str, Any] = {"pytorch": {"load_in_8bit": True}}
PLACED: dict[str, Any] = {"pytorch": {"device_map": "auto"}}
STATIC: dict[str, Any] = {"pytorch": {"cache_implementation": "static"}}
QUANTISED_CACHE: dict[str, Any] = {"pytorch": {"cache_implementation": "quantized"}}
DRAFTED: dict[str, Any] = {"pytorch": {"assistant_model": "draft"}}
LOOKED_UP: dict[str, Any] = {"pytorch": {"prompt_lookup_num_tokens": 3}}
NO_WARMUP: dict[str, Any] = {"warmup": {"enabled": False}}
NO_BASELINE: dict[str, Any] = {"baseline": {"enabled": False}}
NO_ENERGY: dict[str, Any] = {"energy": {"backend": None}}
AS_IS: dict[str, Any] = {"dataset": {"order": "as_is"}}
HUB: dict[str, Any] = {"dataset": {"hub": "owner/name"}}
RANDOM: dict[str, Any] = {"dataset": {"random": {}}}
UNIFORM: dict[str, Any] = {"distribution": "uniform"}
LOGNORMAL: dict[str, Any] = {"distribution": "lognormal", "median": 30, "sigma": 0.5}
CONVERGING: dict[str, Any] = {"warmup": {"convergence_detection": True}}
FIXED: dict[str, Any] = {"warmup": {"convergence_detection": False}}


def drawn(name: str, length: dict[str, Any]) -> dict[str, Any]:
    """Random prompts with a length that is drawn."""
    return {"dataset": {"random": {name: length}}}


# A field and a value, a configuration that it changes nothing about, and one that it does.
SLEEPERS: list[tuple[str, Any, dict[str, Any], dict[str, Any]]] = [
    ("decoder.temperature", 0.7, {}, SAMPLING),
    ("decoder.temperature", 0.7, BEAMS, SAMPLING),
    ("decoder.top_k", 0, {}, SAMPLING),
    ("decoder.top_p", 0.5, {}, SAMPLING),
    ("decoder.min_p", 0.1, {}, SAMPLING),
    ("decoder.length_penalty", 0.0, {}, BEAMS),
    ("decoder.length_penalty", 2.0, SAMPLING, BEAMS),
    ("decoder.early_stopping", False, {}, BEAMS),
    ("decoder.early_stopping", "never", {}, BEAMS),
    ("pytorch.typical_p", 0.5, {}, SAMPLING),
    ("pytorch.top_h", 0.5, {}, SAMPLING),
    ("pytorch.epsilon_cutoff", 0.0, {}, SAMPLING),
    ("pytorch.eta_cutoff", 0.1, BEAMS, SAMPLING),
    ("pytorch.compile_mode", "max-autotune", {}, COMPILED),
    ("pytorch.compile_mode", "max-autotune", {"pytorch": {"compile": False}}, COMPILED),
    ("pytorch.compile_backend", "eager", {}, COMPILED),
    ("pytorch.compile_fullgraph", False, {}, COMPILED),
    ("pytorch.compile_dynamic", True, {}, COMPILED),
    ("pytorch.bnb_4bit_quant_type", "nf4", {}, IN_4_BIT),
    ("pytorch.bnb_4bit_quant_type", "nf4", IN_8_BIT, IN_4_BIT),
    ("pytorch.bnb_4bit_compute_dtype", "bf16", {"pytorch": {"load_in_4bit": False}}, IN_4_BIT),
    ("pytorch.bnb_4bit_use_double_quant", True, {}, IN_4_BIT),
    ("pytorch.llm_int8_threshold", 0, {}, IN_8_BIT),
    ("pytorch.llm_int8_threshold", 5.0, IN_4_BIT, IN_8_BIT),
    ("pytorch.llm_int8_skip_modules", ["lm_head"], {}, IN_8_BIT),
    ("pytorch.llm_int8_skip_modules", ["lm_head"], {}, IN_4_BIT),
    ("pytorch.llm_int8_enable_fp32_cpu_offload", True, {}, IN_4_BIT),
    (
        "pytorch.torchao_group_size",
        32,
        {"pytorch": {"torchao": "int8_weight_only"}},
        {"pytorch": {"torchao": "int4_weight_only"}},
    ),
    ("pytorch.max_memory", {"cpu": "8GiB"}, {}, PLACED),
    ("pytorch.offload_folder", "layers", {}, PLACED),
    ("pytorch.offload_buffers", True, {}, PLACED),
    ("pytorch.tp_size", 2, {}, {"pytorch": {"tp_plan": "auto"}}),
    ("pytorch.max_cache_len", 64, {}, STATIC),
    ("pytorch.max_cache_len", 64, QUANTISED_CACHE, {"pytorch": {"cache_implementation": "offloaded_static"}}),
    ("pytorch.cache_backend", "hqq", {}, QUANTISED_CACHE),
    ("pytorch.cache_nbits", 2, STATIC, QUANTISED_CACHE),
    ("pytorch.cache_group_size", 32, {}, QUANTISED_CACHE),
    ("pytorch.cache_residual_length", 32, {}, QUANTISED_CACHE),
    ("pytorch.max_matching_ngram_size", 3, {}, LOOKED_UP),
    ("pytorch.max_matching_ngram_size", 3, DRAFTED, LOOKED_UP),
    ("pytorch.num_assistant_tokens", 3, {}, DRAFTED),
    ("pytorch.num_assistant_tokens", 3, LOOKED_UP, {"pytorch": {"assistant_early_exit": 4}}),
    ("pytorch.num_assistant_tokens_schedule", "heuristic", {}, DRAFTED),
    ("pytorch.assistant_confidence_threshold", 0.0, {}, {"pytorch": {"assistant_early_exit": 4}}),
    ("pytorch.assistant_ensemble_weight", 0.5, {"pytorch": {"assistant_model": None}}, DRAFTED),
    ("pytorch.assistant_revision", "main", {"pytorch": {"assistant_early_exit": 4}}, DRAFTED),
    ("warmup.n_warmup", 9, NO_WARMUP, {}),
    ("warmup.n_warmup", 9, NO_WARMUP, CONVERGING),
    ("warmup.convergence_detection", True, NO_WARMUP, {}),
    ("warmup.cv_threshold", 0.2, FIXED, CONVERGING),
    ("warmup.max_warmup_prompts", 9, FIXED, CONVERGING),
    ("warmup.window_size", 9, FIXED, CONVERGING),
    ("warmup.min_prompts", 9, FIXED, CONVERGING),
    ("warmup.min_prompts", 9, {"warmup": {"enabled": False, "convergence_detection": True}}, CONVERGING),
    ("warmup.thermal_floor_seconds", 90.0, NO_ENERGY, {}),
    ("warmup.thermal_floor_seconds", 90.0, NO_ENERGY, NO_WARMUP),
    ("baseline.enabled", False, NO_ENERGY, {}),
    ("baseline.duration_seconds", 9.0, NO_BASELINE, {}),
    ("baseline.duration_seconds", 9.0, NO_ENERGY, {}),
    ("baseline.sample_interval_ms", 50, NO_BASELINE, {}),
    ("baseline.sample_interval_ms", 50, NO_ENERGY, {}),
    ("baseline.cache_ttl_sec", 0.0, NO_BASELINE, {}),
    ("baseline.cache_ttl_sec", 0.0, NO_ENERGY, {}),
    ("dataset.split", "test", {}, HUB),
    ("dataset.split", "test", RANDOM, HUB),
    ("dataset.subset", "one", {"dataset": {"path": "p.csv"}}, HUB),
    ("dataset.revision", "main", {}, HUB),
    ("dataset.column", "text", {}, HUB),
    ("dataset.column", "text", RANDOM, {"dataset": {"path": "p.csv"}}),
    ("dataset.chat", False, RANDOM, {}),
    ("dataset.order", "as_is", RANDOM, {}),
    ("dataset.random.input_tokens.value", 9, drawn("input_tokens", UNIFORM), RANDOM),
    ("dataset.random.output_tokens.value", 9, drawn("output_tokens", LOGNORMAL), RANDOM),
    ("dataset.random.input_tokens.low", 9, RANDOM, drawn("input_tokens", UNIFORM)),
    ("dataset.random.output_tokens.low", 9, RANDOM, drawn("output_tokens", LOGNORMAL)),
    ("dataset.random.input_tokens.high", 9, drawn("output_tokens", UNIFORM), drawn("input_tokens", UNIFORM)),
    ("dataset.random.output_tokens.high", 90, RANDOM, drawn("output_tokens", LOGNORMAL)),
    ("dataset.random.input_tokens.median", 9, drawn("input_tokens", UNIFORM), drawn("input_tokens", LOGNORMAL)),
    ("dataset.random.output_tokens.sigma", 2, RANDOM, drawn("output_tokens", LOGNORMAL)),
    ("random_seed", 7, AS_IS, {}),
    ("random_seed", 7, AS_IS, {"dataset": {"order": "grouped"}}),
    ("random_seed", 7, AS_IS, {"dataset": {"order": "as_is", "random": {}}}),
    ("random_seed", 7, AS_IS, {"dataset": {"order": "as_is"}, **SAMPLING}),
    ("random_seed", 7, {"dataset": {"order": "as_is"}, **BEAMS}, SAMPLING),
]
# Those that wake others under sampling only: the others cannot wake before them.
CHAINS = [
    ("llamacpp", {"xtc_probability": 0.5, "xtc_threshold": 0.2}),
    ("llamacpp", {"dynatemp_range": 0.5, "dynatemp_exponent": 2.0}),
    ("llamacpp", {"adaptive_target": 0.5, "adaptive_decay": 0.5}),
    ("llamacpp", {"mirostat": 1, "mirostat_tau": 3.0, "mirostat_eta": 0.2}),
]

REQUIRED = {"required": True}
DRAFTS: dict[str, Any] = {
    "assistant_model": "draft",
    "prompt_lookup_num_tokens": 3,
    "assistant_early_exit": 4,
}
DRAFT = {"assistant_model": "draft"}
UNDRAFTED: dict[str, Any] = {
    "batch_size": 2,
    "use_cache": False,
    "cache_implementation": "static",
    "prefill_chunk_size": 8,
}
# Two fields of a section that cannot go together.
PAIRS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"device_map": "auto"}, {"tp_plan": "auto"}),
    ({"device_map": "cpu"}, {"data_parallel_size": 2}),
    ({"data_parallel_size": 2}, {"tp_plan": "auto"}),
    *(
        ({"random_weights": True}, {name: value})
        for name, value in {
            **DRAFTS,
            "variant": "fp16",
            "use_safetensors": False,
            "offload_folder": "disk",
            "tp_plan": "auto",
            "load_in_8bit": True,
            "load_in_4bit": True,
            "torchao": "int8_weight_only",
            "checkpoint_backend": "marlin",
            "checkpoint_dequantize": True,
        }.items()
    ),
    *(({"tp_plan": "auto"}, {name: True}) for name in ("load_in_8bit", "load_in_4bit")),
    ({"load_in_8bit": True}, {"load_in_4bit": True}),
    ({"load_in_8bit": True}, {"torchao": "int8_weight_only"}),
    ({"load_in_4bit": True}, {"torchao": "int4_weight_only"}),
    *(({"use_cache": False}, {"cache_implementation": kind}) for kind in ("dynamic", "static", "quantized")),
    *(({name: UNDRAFTED[name]}, {draft: DRAFTS[draft]}) for name in UNDRAFTED for draft in DRAFTS),
    *(({"cache_implementation": "offloaded_static"}, {draft: DRAFTS[draft]}) for draft in DRAFTS),
    *(({"cache_implementation": "quantized"}, {draft: DRAFTS[draft]}) for draft in DRAFTS),
    ({"use_cache": False}, {"prefill_chunk_size": 8}),
    ({"compile_mode": "default"}, {"compile_backend": "eager"}),
    ({"prompt_lookup_num_tokens": 3}, {"assistant_ensemble_weight": 0.5}),
    *(
        ({one: DRAFTS[one]}, {other: DRAFTS[other]})
        for number, one in enumerate(DRAFTS)
        for other in list(DRAFTS)[number + 1 :]
    ),
]


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Both, a section of either being a section of both."""
    result = deepcopy(base)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both else value
    return result


def with_field(base: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    given: Any = value
    for part in reversed(name.split(".")):
        given = {part: given}
    return merged(base, given)


def config_of(fields: dict[str, Any]) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", **fields})


def refusal(fields: dict[str, Any]) -> list[tuple[str, str]]:
    """Where each error is reported, and its message."""
    with pytest.raises(ValidationError) as caught:
        config_of(fields)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


# Dormant fields.


@pytest.mark.parametrize(("name", "value", "rest", "wake"), SLEEPERS)
def test_a_field_without_what_it_needs_makes_no_difference(
    name: str, value: Any, rest: dict[str, Any], wake: dict[str, Any]
) -> None:
    without, with_it = config_of(rest), config_of(with_field(rest, name, value))
    assert name in with_it.dormant_fields()
    assert name not in without.dormant_fields()
    assert with_it.equivalent_to(without)
    assert without.equivalent_to(with_it)


@pytest.mark.parametrize(("name", "value", "rest", "wake"), SLEEPERS)
def test_the_same_field_makes_a_difference_where_it_has_what_it_needs(
    name: str, value: Any, rest: dict[str, Any], wake: dict[str, Any]
) -> None:
    with_it = config_of(with_field(wake, name, value))
    assert name not in with_it.dormant_fields()
    assert not with_it.equivalent_to(config_of(wake))


@pytest.mark.parametrize(("name", "value", "rest", "wake"), SLEEPERS)
def test_the_hash_tells_dormant_fields_apart_all_the_same(
    name: str, value: Any, rest: dict[str, Any], wake: dict[str, Any]
) -> None:
    hashes = {measurement_config_hash(config_of(f)) for f in (rest, with_field(rest, name, value))}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({"decoder": {"temperature": 0.7}}, {"decoder.temperature": "do_sample"}),
        ({"decoder": {"early_stopping": True}}, {"decoder.early_stopping": "num_beams"}),
        ({"pytorch": {"bnb_4bit_quant_type": "nf4"}}, {"pytorch.bnb_4bit_quant_type": "load_in_4bit"}),
        ({"pytorch": {"compile_mode": "default"}}, {"pytorch.compile_mode": "compile"}),
        ({"pytorch": {"torchao_group_size": 8}}, {"pytorch.torchao_group_size": "torchao: int4_weight_only"}),
        (
            {"pytorch": {"max_cache_len": 8}},
            {"pytorch.max_cache_len": "cache_implementation: static or offloaded_static"},
        ),
        ({"pytorch": {"typical_p": 0.5}}, {"pytorch.typical_p": "decoder.do_sample"}),
        ({**NO_ENERGY, "baseline": {"cache_ttl_sec": 1}}, {"baseline.cache_ttl_sec": "energy"}),
        (
            {**NO_ENERGY, "warmup": {"thermal_floor_early_end": True}},
            {"warmup.thermal_floor_early_end": "energy"},
        ),
        (
            {**NO_ENERGY, "warmup": {"thermal_settle_max_s": 90}, "measurement": {"dither_s": 0.1}},
            {"warmup.thermal_settle_max_s": "energy", "measurement.dither_s": "energy"},
        ),
        (
            {"warmup": {"enabled": False, "window_size": 3}},
            {"warmup.convergence_detection": "enabled", "warmup.window_size": "convergence_detection"},
        ),
        ({**AS_IS, "random_seed": 1}, {"random_seed": "decoder.do_sample or dataset.order: shuffled"}),
        (
            {"decoder": {"preset": "factual", "do_sample": False, "top_p": None, "top_k": None}},
            {"decoder.temperature": "do_sample"},
        ),
        ({}, {}),
        (NO_ENERGY, {}),
        (NO_WARMUP, {}),
        (AS_IS, {}),
        ({"decoder": {"preset": "creative"}}, {}),
    ],
)  # fmt: skip
def test_dormant_fields_are_told_with_what_they_need_and_nothing_else_is(
    fields: dict[str, Any], needs: dict[str, str]
) -> None:
    told = config_of(fields).dormant_fields()
    assert set(told) == set(needs)
    for name, need in needs.items():
        assert need in told[name]


@pytest.mark.parametrize(("engine", "section"), CHAINS)
def test_what_a_sleeper_would_wake_sleeps_too(engine: str, section: dict[str, Any]) -> None:
    plain: dict[str, Any] = {"backend": engine, "precision": "fp16"}
    asleep = config_of({**plain, engine: section})
    assert set(asleep.dormant_fields()) == {f"{engine}.{name}" for name in section}
    assert asleep.equivalent_to(config_of(plain))
    awake = config_of({**plain, engine: section, **SAMPLING})
    assert awake.dormant_fields() == {}
    assert not awake.equivalent_to(config_of({**plain, **SAMPLING}))


# Everything that is awake.

LENGTHS = ("input_tokens", "output_tokens")

# By hand: fields that change nothing in a configuration that has nothing else.
ALONE_ASLEEP = {
    *(f"measurement.{name}" for name in ("window_start_s", "window_length_s")),
    *(f"measurement.{name}" for name in ("steady_cv_threshold", "n_steady_batches")),
    *(f"phases.{name}" for name in ("n_pairs", "n_batches")),
    *(f"decoder.{name}" for name in ("temperature", "top_k", "top_p", "min_p", "length_penalty", "early_stopping")),
    *(f"pytorch.compile_{name}" for name in ("mode", "backend", "fullgraph", "dynamic")),
    *(f"pytorch.bnb_4bit_{name}" for name in ("quant_type", "compute_dtype", "use_double_quant")),
    *(f"pytorch.llm_int8_{name}" for name in ("threshold", "skip_modules", "enable_fp32_cpu_offload")),
    *(f"pytorch.cache_{name}" for name in ("backend", "nbits", "group_size", "residual_length")),
    *(f"pytorch.{name}" for name in ("max_memory", "offload_folder", "offload_buffers", "tp_size")),
    *(f"pytorch.{name}" for name in ("torchao_group_size", "max_cache_len", "max_matching_ngram_size")),
    *(f"pytorch.{name}" for name in ("num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_revision")),
    *(f"pytorch.{name}" for name in ("assistant_confidence_threshold", "assistant_ensemble_weight")),
    *(f"pytorch.{name}" for name in ("typical_p", "top_h", "epsilon_cutoff", "eta_cutoff")),
}
ALONE_ASLEEP |= {
    *(f"dataset.{name}" for name in ("split", "subset", "revision", "column")),
    *(f"dataset.random.{name}.{field}" for name in LENGTHS for field in ("low", "high", "median", "sigma")),
}
ALONE_ASLEEP |= {"load.burstiness", "load.trace_speed"}
NO_PART = {
    "name",
    "output_dir",
    *(f"slo.{name}_p95_s" for name in ("ttft", "tpot", "e2e")),
    *(f"quality.{name}" for name in ("text", "n_scored_tokens", "n_context_tokens")),
}
# Other words for what there is anyway.
RESTATED = [("decoder.preset", "deterministic"), ("dataset.name", "mixed")]
# Where introspection knows of no value but the default.
MORE_VALUES: dict[str, list[Any]] = {
    "model": ["other"],
    "name": ["mine"],
    "backend": ["vllm"],
    "warmup.max_warmup_prompts": [9],  # the least is under the window, and refused
    "warmup.thermal_settle_max_s": [90],  # the least is under the floor, and refused
    "dataset.path": ["prompts.jsonl"],
    "dataset.hub": ["owner/name"],
    "dataset.in_memory": [{"n": 2, "sha256": "0f" * 32}],
    "dataset.split": ["test"],
    "dataset.subset": ["one"],
    "dataset.revision": ["main"],
    "dataset.column": ["text"],
    **{f"dataset.random.{name}.{field}": [2] for name in LENGTHS for field in ("value", "median", "low", "high")},
    **{f"dataset.random.{name}.sigma": [0.5] for name in LENGTHS},
    "decoder.num_beams": [2],
    "measurement.window_start_s": [1.0],
    "decoder.num_return_sequences": [2],
    "decoder.length_penalty": [1.0],
    "passthrough_kwargs": [{"rope_theta": 5}],
    "output_dir": ["here"],
    "pytorch.batch_size": [2],
    "pytorch.revision": ["main"],
    "pytorch.variant": ["fp16"],
    "pytorch.subfolder": ["model"],
    "pytorch.device_map": ["auto", {"": 0}],
    "pytorch.max_memory": [{"cpu": "8GiB"}],
    "pytorch.offload_folder": ["layers"],
    "pytorch.compile_backend": ["eager"],
    "pytorch.llm_int8_skip_modules": [[]],
    "pytorch.checkpoint_backend": ["marlin"],
    "pytorch.assistant_model": ["draft"],
    "pytorch.assistant_revision": ["main"],
    "pytorch.cache_nbits": [2],
    "pytorch.exponential_decay_length_penalty": [[8, 1.5]],
    "pytorch.suppress_tokens": [[0]],
    "pytorch.begin_suppress_tokens": [[0]],
    "pytorch.bad_words_ids": [[[0]]],
    "quality.text": ["a.txt"],
    "pytorch.forced_eos_token_id": [0],
    "execution.pause_s": [1.5],
    "load.trace": ["./arrivals.jsonl"],
    "load.burstiness": [0.5],
    "load.trace_speed": [2.0],
    "execution.wait_for_quiet_s": [60.0],
    "nodes.command": [["ray", "start"]],
}
# What a field cannot do without.
BESIDE: dict[str, dict[str, Any]] = {
    "lora.merge": {"lora": {"path": "adapter"}},
    "decoder.num_return_sequences": {"decoder": {"do_sample": True}},
    **{f"load.{name}": {"load": {"rate": 2.0}} for name in ("arrival", "burstiness", "duration_s", "n", "ramp_s")},
    **{f"load.{name}": {"load": {"rate": 2.0}} for name in ("trace_speed", "until_cv")},
    **{f"slo.{name}_p95_s": {"load": {"rate": 2.0}} for name in ("ttft", "tpot", "e2e")},
    **{f"nodes.{name}": {"nodes": {"n": 2}} for name in ("command", "wait_s")},
}
OTHER_ENGINES = ("vllm.", "tensorrt.", "llamacpp.", "ctranslate2.", "onnxruntime.", "sglang.", "server.")
VALUES = field_test_values()
FIELDS = [name for name in VALUES if not name.startswith(OTHER_ENGINES)]


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_alone_makes_a_difference_unless_it_sleeps_or_is_only_a_name_or_a_place(name: str) -> None:
    defaults = field_defaults()
    values = [v for v in VALUES[name] if name not in defaults or v != defaults[name]]
    values += MORE_VALUES.get(name, [])
    assert values
    rest: dict[str, Any] = RANDOM if name.startswith("dataset.random.") else BESIDE.get(name, {})
    for value in values:
        changed = config_of(with_field(rest, name, value))
        alike = name in ALONE_ASLEEP | NO_PART or (name, value) in RESTATED or name.startswith("execution.")
        assert changed.equivalent_to(config_of(rest)) == alike
        assert (name in changed.dormant_fields()) == (name in ALONE_ASLEEP)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"name": "mine", "output_dir": Path("elsewhere")}),
        ({}, {"pytorch": {}}),
        ({}, {"pytorch": {"batch_size": 1, "load_in_4bit": False, "use_cache": None}}),
        ({"decoder": {"preset": "factual"}}, {"decoder": {**SAMPLED, "temperature": 0.3, "top_p": 0.9, "top_k": 40}}),
        ({}, {"decoder": {"preset": "standard", "do_sample": False}}),
        ({"dataset": "./a.txt"}, {"dataset": {"path": "a.txt"}}),
        ({}, {"dataset": {"name": "mixed"}}),
        ({"warmup": {"max_prompts": 9}}, {"warmup": {"max_warmup_prompts": 9, "convergence_detection": True}}),
        ({"decoder": {"temperature": 0.7, "top_k": 4}}, {"decoder": {"min_p": 0.1}}),
        (NO_WARMUP, {"warmup": {"enabled": False, "n_warmup": 2, "cv_threshold": 0.2, "window_size": 4}}),
        (NO_ENERGY, {**NO_ENERGY, "baseline": {"enabled": False, "duration_seconds": 5}}),
        ({"pytorch": {"llm_int8_threshold": 5}}, {"pytorch": {"llm_int8_threshold": 5.0}}),
    ],
)  # fmt: skip
def test_two_ways_to_write_one_measurement_are_equivalent(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert config_of(one).equivalent_to(config_of(other))
    assert config_of(other).equivalent_to(config_of(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": True}),
        ({"a": 0}, {"a": False}),
        ({"a": [1]}, {"a": [True]}),
        ({"a": None}, {}),
        ({"a": "1"}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
    ],
)
def test_what_is_passed_through_makes_a_difference_down_to_its_type(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = config_of({"passthrough_kwargs": one}), config_of({"passthrough_kwargs": other})
    assert not first.equivalent_to(second)
    assert measurement_config_hash(first) != measurement_config_hash(second)


def test_engines_are_different_measurements() -> None:
    configs = [config_of({"backend": name}) for name in ("pytorch", "vllm", "tensorrt", "llamacpp")]
    assert [[a.equivalent_to(b) for b in configs] for a in configs] == [[a is b for b in configs] for a in configs]


# Equivalence is an equivalence: few values, so that equal and equivalent pairs are drawn often.

few_configs = st.builds(
    config_of,
    st.fixed_dictionaries(
        {},
        optional={
            "name": st.sampled_from(["one", "two"]),
            "output_dir": st.just("here"),
            "random_seed": st.sampled_from([42, 7]),
            "dataset": st.fixed_dictionaries(
                {},
                optional={
                    "order": st.sampled_from(["shuffled", "as_is"]),
                    "split": st.just("test"),
                    "random": st.sampled_from([{}, {"input_tokens": 9}, {"input_tokens": {"value": 9, "low": 2}}]),
                },
            ),
            "decoder": st.fixed_dictionaries(
                {},
                optional={
                    "do_sample": st.booleans(),
                    "temperature": st.sampled_from([None, 0.5]),
                    "num_beams": st.sampled_from([1, 2]),
                    "early_stopping": st.just(True),
                },
            ),
            "energy": st.just({"backend": None}),
            "baseline": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "cache_ttl_sec": st.just(1)}),
            "warmup": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "window_size": st.just(3)}),
            "pytorch": st.fixed_dictionaries(
                {},
                optional={
                    "compile": st.booleans(),
                    "compile_mode": st.just("default"),
                    "load_in_4bit": st.booleans(),
                    "bnb_4bit_quant_type": st.just("nf4"),
                },
            ),
        },
    ),
)
DOTTED = re.compile(r"[a-z_0-9]+(\.[a-z_0-9]+)*")


@calm
@given(few_configs, few_configs)
def test_equivalence_is_reflexive_and_symmetric(one: ExperimentConfig, other: ExperimentConfig) -> None:
    assert one.equivalent_to(one)
    assert one.equivalent_to(one.model_copy(deep=True))
    assert one.equivalent_to(other) == other.equivalent_to(one)
    if measurement_config_hash(one) == measurement_config_hash(other):
        assert one.equivalent_to(other)


@calm
@given(st.lists(few_configs, min_size=8, max_size=8))
def test_equivalence_is_transitive(configs: list[ExperimentConfig]) -> None:
    # Classes of what is equivalent to each; in an equivalence two of them are the same or have nothing in common.
    classes = [frozenset(i for i, other in enumerate(configs) if one.equivalent_to(other)) for one in configs]
    for number, members in enumerate(classes):
        assert number in members
        assert all(classes[member] == members for member in members)


@calm
@given(few_configs, st.data())
def test_any_of_the_dormant_fields_can_be_put_back_to_its_default(
    config: ExperimentConfig, data: st.DataObject
) -> None:
    dormant = config.dormant_fields()
    assert all(DOTTED.fullmatch(name) for name in dormant)
    defaults = field_defaults()
    fields = config.resolved()
    for name in data.draw(st.sets(st.sampled_from(sorted(dormant)))) if dormant else ():
        fields = with_field(fields, name, defaults[name])
    put_back = ExperimentConfig.model_validate(fields)
    assert put_back.equivalent_to(config)
    assert set(put_back.dormant_fields()) <= set(dormant)


# Conflicts.


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("turned", [False, True], ids=["in order", "turned"])
def test_two_fields_that_cannot_go_together_are_refused_by_both_names_with_a_way_out(
    one: dict[str, Any], other: dict[str, Any], turned: bool
) -> None:
    config_of({"pytorch": one})
    config_of({"pytorch": other})
    ((where, message),) = refusal({"pytorch": {**other, **one} if turned else {**one, **other}})
    (first,), (second,) = one, other
    assert where in (f"pytorch.{first}", f"pytorch.{second}")
    assert re.search(rf"\b{first}\b", message)
    assert re.search(rf"\b{second}\b", message)
    assert re.search(r"; .*\b(remove|set|change|must)\b", message)


@pytest.mark.parametrize("draft", DRAFTS)
def test_drafted_tokens_and_beams_cannot_go_together(draft: str) -> None:
    ((where, message),) = refusal({"pytorch": {draft: DRAFTS[draft]}, **BEAMS})
    assert where.startswith("pytorch")
    assert draft in message
    assert "decoder.num_beams" in message
    assert "remove" in message


@pytest.mark.parametrize(
    ("fields", "where", "said"),
    [
        ({"baseline": {"enabled": False, **REQUIRED}}, "baseline", ["required: true", "enabled: false", "change"]),
        ({**NO_ENERGY, "baseline": REQUIRED}, "baseline", ["required: true", "energy.backend: null", "change"]),
        ({"dataset": {"name": "mixed", "path": "a.txt"}}, "dataset", ["name", "path", "either"]),
        ({"backend": "vllm", "pytorch": {}}, "pytorch", ["'pytorch'", "'vllm'", "remove the section", "set backend"]),
        ({"backend": "vllm", **BEAMS}, "decoder", ["num_beams", "backend: vllm", "remove it"]),
        ({"backend": "tensorrt", "precision": "fp32"}, "precision", ["fp32", "backend: tensorrt", "bf16", "change"]),
    ],
)  # fmt: skip
def test_settings_of_different_sections_that_cannot_go_together_are_refused(
    fields: dict[str, Any], where: str, said: list[str]
) -> None:
    ((reported_at, message),) = refusal(fields)
    assert reported_at == where
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    "section",
    [
        {"load_in_8bit": False, "load_in_4bit": True},
        {"load_in_8bit": True, "torchao": None},
        {"random_weights": False, "use_safetensors": False, "load_in_4bit": True},
        {"random_weights": True, "use_safetensors": None, "device_map": "auto", "torchao": None},
        {"use_cache": True, "cache_implementation": "static"},
        {"use_cache": False, "cache_implementation": None},
        {"batch_size": 1, "assistant_model": "draft"},
        {"cache_implementation": "dynamic", "assistant_model": "draft"},
        {"assistant_model": "draft", "prompt_lookup_num_tokens": None},
        {"batch_size": 2, "assistant_early_exit": None},
        {"tp_plan": "auto", "device_map": None},
        {"tp_plan": "auto", "data_parallel_size": 1},
        {"data_parallel_size": 1, "device_map": "auto"},
    ],
)
def test_a_switch_that_is_off_conflicts_with_nothing(section: dict[str, Any]) -> None:
    kept = config_of({"pytorch": section}).pytorch
    assert {name: getattr(kept, name) for name in section} == section


def test_several_conflicts_are_told_at_once_each_in_its_own_line(write_config: WriteConfig) -> None:
    path = write_config(
        "model: m\n"
        "baseline: {required: true}\n"
        "energy: {backend: null}\n"
        "pytorch:\n"
        "  torchao: int8_weight_only\n"
        "  load_in_8bit: true\n"
        "  cache_implementation: quantized\n"
        "  use_cache: false\n"
        "  tp_plan: auto\n"
        "  device_map: cpu\n"
        "  batch_size: 2\n"
        "  assistant_early_exit: 4\n"
    )
    with pytest.raises(ValidationError) as caught:
        load_experiment_config(path)
    assert sorted(note.removeprefix(f"{path}:").split(": ")[:2] for note in caught.value.__notes__) == [
        ["12", "pytorch.assistant_early_exit"],
        ["2", "baseline.required"],
        ["5", "pytorch.torchao"],
        ["7", "pytorch.cache_implementation"],
        ["9", "pytorch.tp_plan"],
    ]


def test_a_field_that_conflicts_with_two_others_names_both() -> None:
    said = " ".join(message for _, message in refusal({"pytorch": {"batch_size": 2, "use_cache": False, **DRAFT}}))
    assert "batch_size: 2" in said
    assert "use_cache: false" in said


def test_a_conflict_is_told_beside_wrong_values(write_config: WriteConfig) -> None:
    path = write_config("model: m\nn: 0\npytorch:\n  load_in_4bit: true\n  load_in_8bit: true\n  num_threads: 0\n")
    with pytest.raises(ValidationError) as caught:
        load_experiment_config(path)
    assert sorted(note.split(": ")[0] for note in caught.value.__notes__) == [f"{path}:{line}" for line in (2, 4, 6)]
