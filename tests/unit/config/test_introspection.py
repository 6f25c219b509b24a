"""What introspection says about the fields holds for the models it speaks of."""

from copy import deepcopy
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.introspection import (
    engine_support,
    experiment_schema,
    field_constraints,
    field_test_values,
)
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.nodes import NodesConfig


def full(engine: str) -> dict[str, Any]:
    """The fields of a configuration in which every section of an engine is present."""
    fields = ExperimentConfig.model_validate(
        {
            "model": "m",
            "backend": engine,
            "lora": {"path": "a"},
            "device": {},
            "dataset": "random",
            "quality": True,
            "load": {"rate": 1.0},
            "slo": {"e2e_p95_s": 1.0},
            engine: {},
        }
    )
    # Which nothing of load, quality and device goes with.
    nodes = NodesConfig(n=2).model_dump()
    return {**fields.model_dump(exclude=set(ENGINE_SECTIONS) - {engine}), "nodes": nodes}


# Every section of every engine, which no single configuration could have.
FULL = {name: value for engine in ENGINE_SECTIONS for name, value in full(engine).items()}
# Each takes a while, and hundreds of tests look at it.
CONSTRAINTS, VALUES = field_constraints(), field_test_values()
FIELDS = sorted(CONSTRAINTS)
EDGES = [(name, rule) for name in FIELDS for rule in sorted(set(CONSTRAINTS[name]) & {"ge", "gt", "le", "lt"})]


# What a field needs beside it for all of its values to be accepted.
NEIGHBOURS: dict[str, dict[str, Any]] = {
    "pytorch.cache_nbits": {"cache_backend": "hqq"},
    "warmup.thermal_settle_max_s": {"thermal_floor_seconds": 30.0},
    # There is one of them.
    **{f"load.{name}": {"rate": None} for name in ("concurrency", "trace", "max")},
}
RANDOM = "dataset.random."


def with_value(name: str, value: Any) -> ExperimentConfig:
    """The full configuration with one field changed, given by its dotted name."""
    *sections, last = name.split(".")
    engine = sections[0] if sections and sections[0] in ENGINE_SECTIONS else "pytorch"
    fields: dict[str, Any] = deepcopy(full(engine))
    inner = fields
    if not name.startswith(RANDOM):
        # Prompts have one source, and random ones make demands of the decoder.
        fields["dataset"]["random"] = None
        fields["decoder"]["ignore_eos"] = False
    if not name.startswith(("load.", "slo.")):
        # A load has a window of its own.
        fields |= {"load": None, "slo": None}
    if name.startswith("nodes."):
        fields |= {"quality": None, "device": None}
    else:
        fields["nodes"] = None
    for section in sections:
        inner = inner[section]
    inner |= {last: value, **({} if value is None else NEIGHBOURS.get(name, {}))}
    if name == "backend":
        # Not every engine has the precision of the others.
        fields = {key: kept for key, kept in fields.items() if key not in (*ENGINE_SECTIONS, "precision")}
    return ExperimentConfig.model_validate(fields)


def value_of(config: BaseModel, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def leaf_names(fields: dict[str, Any], prefix: str = "") -> set[str]:
    names = set()
    for key, value in fields.items():
        names |= leaf_names(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {prefix + key}
    return names


def test_every_field_of_every_section_is_described_once() -> None:
    assert set(CONSTRAINTS) == set(engine_support()) == set(VALUES) == leaf_names(FULL)


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("model", {"min_length": 1}),
        ("n", {"ge": 1}),
        ("random_seed", {"ge": 0, "lt": 2**32}),
        ("precision", {"choices": ["fp32", "fp16", "bf16", "as_served", "auto"]}),
        ("decoder.top_p", {"gt": 0, "le": 1}),
        ("warmup.thermal_floor_seconds", {"ge": 30}),
        ("warmup.cv_threshold", {"gt": 0, "lt": 1}),
        ("dataset.order", {"choices": ["shuffled", "as_is", "grouped"]}),
        ("dataset.random.input_tokens.sigma", {"gt": 0, "le": 10}),
        ("decoder.do_sample", {}),
        (
            "backend",
            {
                "choices": [
                    "pytorch",
                    "vllm",
                    "tensorrt",
                    "llamacpp",
                    "ctranslate2",
                    "onnxruntime",
                    "sglang",
                    "server",
                    "auto",
                ]
            },
        ),
    ],
)
def test_constraints_are_those_of_the_field(name: str, rules: dict[str, Any]) -> None:
    assert CONSTRAINTS[name] == rules


@pytest.mark.parametrize(("name", "rule"), EDGES)
def test_the_models_hold_to_the_edges_that_are_told(name: str, rule: str) -> None:
    edge = CONSTRAINTS[name][rule]
    outside = {"ge": edge - 1, "gt": edge, "le": edge + 1, "lt": edge}[rule]
    with pytest.raises(ValidationError):
        with_value(name, outside)
    if rule in ("ge", "le"):
        assert value_of(with_value(name, edge), name) == edge


@pytest.mark.parametrize("name", FIELDS)
def test_every_test_value_is_valid_and_comes_back_as_it_was_given(name: str) -> None:
    values = VALUES[name]
    assert values
    for value in values:
        kept = value_of(with_value(name, value), name)
        assert kept == value
        assert not (isinstance(kept, int) and isinstance(value, float)), f"{value!r} is no whole number"


def test_test_values_cover_choices_and_both_switch_positions() -> None:
    values = VALUES
    assert set(values["precision"]) == {"fp32", "fp16", "bf16", "auto"}
    engines = {"pytorch", "vllm", "tensorrt", "llamacpp", "ctranslate2", "onnxruntime", "sglang", "server"}
    assert set(values["backend"]) == {*engines, "auto"}
    assert set(values["energy.backend"]) >= {"auto", "zeus", "nvml", "rapl", "codecarbon", None}
    assert set(values["decoder.do_sample"]) == {True, False}
    assert 1 in values["n"]


def test_fields_of_a_section_are_for_its_engine_and_decoding_for_those_that_have_it() -> None:
    support = engine_support()
    assert support["pytorch.batch_size"] == ("pytorch",)
    assert support["vllm.max_num_seqs"] == ("vllm",)
    assert support["n"] is None
    assert support["decoder.temperature"] is None
    # vLLM and llama.cpp have no beam search.
    assert support["decoder.num_beams"] == ("pytorch",)
    limited = {name for name, engines in support.items() if engines is not None and not name.startswith("decoder.")}
    assert limited == {name for name in FIELDS if name.split(".")[0] in ENGINE_SECTIONS}


def test_the_schema_is_a_json_schema_that_refuses_unknown_keys_everywhere() -> None:
    schema = experiment_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["model"]
    assert set(schema["properties"]) == set(FULL)
    objects = [schema, *(d for d in schema["$defs"].values() if d.get("type") == "object")]
    # The experiment, its fourteen parts, the two that random prompts have, and a section for each engine.
    assert len(objects) == 1 + 14 + 2 + len(ENGINE_SECTIONS)
    assert all(o["additionalProperties"] is False for o in objects)


def test_every_field_of_the_schema_is_documented() -> None:
    schema = experiment_schema()
    for model in (schema, *schema["$defs"].values()):
        # A section that says no more than its own model's description refers to it.
        assert [
            n for n, field in model.get("properties", {}).items() if not field.keys() & {"description", "$ref"}
        ] == []


def test_the_schema_admits_every_shorthand_for_quality() -> None:
    options = experiment_schema()["properties"]["quality"]["anyOf"]
    assert {option.get("type", "section") for option in options} == {"boolean", "string", "section", "null"}


def test_the_schema_admits_the_shorthand_for_a_dataset() -> None:
    dataset = experiment_schema()["properties"]["dataset"]
    assert any(option.get("type") == "string" for option in dataset.get("anyOf", []))
