"""Fields, defaults and checks of the configuration, as the contract states them."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.engines import PyTorchConfig, VLLMConfig
from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.config.models import (
    BaselineConfig,
    DatasetConfig,
    DecoderConfig,
    EnergyConfig,
    ExecutionConfig,
    ExperimentConfig,
    LoRAConfig,
    StudyConfig,
    WarmupConfig,
)


@pytest.mark.parametrize(
    ("config", "defaults"),
    [
        (
            ExperimentConfig(model="m"),
            {
                "backend": "pytorch",
                "precision": "bf16",
                "n": 100,
                "max_input_tokens": 512,
                "max_output_tokens": 128,
                "random_seed": 42,
                "name": None,
                "lora": None,
                "output_dir": None,
                "pytorch": None,
            },
        ),
        (
            WarmupConfig(),
            {
                "enabled": True,
                "n_warmup": 5,
                "thermal_floor_seconds": 60.0,
                "convergence_detection": False,
                "cv_threshold": 0.05,
                "max_warmup_prompts": 20,
                "max_prompts": 20,
                "window_size": 5,
                "min_prompts": 5,
            },
        ),
        (
            BaselineConfig(),
            {
                "enabled": True,
                "required": False,
                "duration_seconds": 30.0,
                "sample_interval_ms": 100,
                "cache_ttl_sec": 3600.0,
            },
        ),
        (EnergyConfig(), {"backend": "auto"}),
        (ExperimentConfig(model="m").decoder, {"do_sample": False, "temperature": None, "top_k": None, "top_p": None}),
        (ExperimentConfig(model="m").dataset, {"name": "mixed", "path": None, "order": "shuffled"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_defaults_are_those_of_the_contract(config: object, defaults: dict[str, Any]) -> None:
    assert {name: getattr(config, name) for name in defaults} == defaults


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": "m", "n": 0}, "n"),
        ({"model": "m", "n": 1.5}, "n"),
        ({"model": "m", "max_input_tokens": 0}, "max_input_tokens"),
        ({"model": "m", "max_output_tokens": 0}, "max_output_tokens"),
        ({"model": "m", "random_seed": -1}, "random_seed"),
        ({"model": "m", "random_seed": 2**32}, "random_seed"),
        ({"model": "m", "precision": "int8"}, "precision"),
        ({"model": "m", "name": ""}, "name"),
        ({"model": "m", "name": "x" * 129}, "name"),
        ({"model": "m", "unknown": 1}, "unknown"),
        ({"model": "m", "warmup": {"n_warmup": 0}}, "warmup.n_warmup"),
        ({"model": "m", "warmup": {"thermal_floor_seconds": 29.9}}, "warmup.thermal_floor_seconds"),
        ({"model": "m", "warmup": {"thermal_floor_seconds": float("inf")}}, "warmup.thermal_floor_seconds"),
        ({"model": "m", "warmup": {"cv_threshold": 0}}, "warmup.cv_threshold"),
        ({"model": "m", "warmup": {"window_size": 1}}, "warmup.window_size"),
        ({"model": "m", "baseline": {"duration_seconds": float("nan")}}, "baseline.duration_seconds"),
        ({"model": "m", "energy": {"backend": "wattmeter"}}, "energy.backend"),
        ({"model": "m", "decoder": {"temperature": 0}}, "decoder.temperature"),
        ({"model": "m", "decoder": {"top_p": 1.01}}, "decoder.top_p"),
        ({"model": "m", "lora": {"path": ""}}, "lora.path"),
        ({"model": "m", "pytorch": {"batch_size": 0}}, "pytorch.batch_size"),
        ({"model": "m", "dataset": "nosuch"}, "dataset"),
        ({"model": "m", "dataset": {"name": "mixed", "path": "a.txt"}}, "dataset"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig.model_validate(fields)
    (error,) = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == field
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "m", "n": 1, "random_seed": 0},
        {"model": "m", "random_seed": 2**32 - 1, "name": "x" * 128},
        {"model": "m", "warmup": {"thermal_floor_seconds": 30, "n_warmup": 1, "window_size": 2}},
        {"model": "m", "decoder": {"top_p": 1, "top_k": 0}},
        {"model": "m", "energy": {"backend": None}},
        {"model": "m", "baseline": {"cache_ttl_sec": 0}},
    ],
)
def test_values_at_the_edge_are_accepted(fields: dict[str, Any]) -> None:
    config = ExperimentConfig.model_validate(fields)
    for name, value in fields.items():
        kept = getattr(config, name)
        if isinstance(value, dict):
            assert {key: getattr(kept, key) for key in value} == value
        else:
            assert kept == value


def test_configurations_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ExperimentConfig(model="m").n = 3


@pytest.mark.parametrize(
    "field",
    [{"cv_threshold": 0.1}, {"max_warmup_prompts": 9}, {"max_prompts": 9}, {"window_size": 3}, {"min_prompts": 2}],
)
def test_a_convergence_field_switches_convergence_detection_on(field: dict[str, Any]) -> None:
    assert WarmupConfig.model_validate(field).convergence_detection
    assert not WarmupConfig.model_validate({**field, "convergence_detection": False}).convergence_detection


@pytest.mark.parametrize("field", [{}, {"n_warmup": 2}, {"thermal_floor_seconds": 40}, {"enabled": False}])
def test_other_warmup_fields_leave_convergence_detection_off(field: dict[str, Any]) -> None:
    assert not WarmupConfig.model_validate(field).convergence_detection


def test_max_prompts_is_another_name_for_max_warmup_prompts() -> None:
    by_alias = WarmupConfig.model_validate({"max_prompts": 9})
    assert by_alias == WarmupConfig(max_warmup_prompts=9)
    assert by_alias.max_prompts == by_alias.max_warmup_prompts == 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mixed", DatasetConfig(name="mixed")),
        ("prompts.jsonl", DatasetConfig(path=Path("prompts.jsonl"))),
        ("folder/prompts", DatasetConfig(path=Path("folder/prompts"))),
        ("./mixed", DatasetConfig(path=Path("mixed"))),
    ],
)
def test_a_string_is_shorthand_for_a_dataset(text: str, expected: DatasetConfig) -> None:
    assert ExperimentConfig.model_validate({"model": "m", "dataset": text}).dataset == expected


def test_an_unknown_dataset_says_what_there_is() -> None:
    with pytest.raises(ValidationError, match=r"'mixd'.*mixed.*path"):
        DatasetConfig(name="mixd")


def test_a_section_of_another_engine_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"'pytorch' belongs to another engine than backend 'vllm'"):
        ExperimentConfig(model="m", backend="vllm", pytorch=PyTorchConfig())


def test_the_section_of_the_engine_is_there_even_when_it_was_left_out() -> None:
    assert ExperimentConfig(model="m").engine_section == PyTorchConfig(batch_size=1)
    section = PyTorchConfig(batch_size=4)
    assert ExperimentConfig(model="m", pytorch=section).engine_section == section
    assert ExperimentConfig(model="m", backend="vllm").engine_section == VLLMConfig()


def test_an_engine_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"'pytorhc'; did you mean 'pytorch'"):
        ExperimentConfig(model="m", backend="pytorhc")
    with pytest.raises(ValidationError, match=r"there are: pytorch, vllm, tensorrt, llamacpp"):
        ExperimentConfig(model="m", backend="zzz")


@pytest.mark.parametrize(
    "fields",
    [
        {"decoder": {"do_sample": "yes"}},
        {"decoder": {"do_sample": 1}},
        {"warmup": {"enabled": "off"}},
        {"dataset": {"chat": 0}},
        {"pytorch": {"load_in_4bit": 1}},
    ],
    ids=str,
)
def test_what_is_no_truth_value_is_not_taken_for_one(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="valid boolean"):
        ExperimentConfig.model_validate({"model": "m", **fields})


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"model": "org/tiny"}, "tiny-pytorch-bf16"),
        ({"model": "tiny", "precision": "fp32"}, "tiny-pytorch-fp32"),
        ({"model": "tiny", "name": "mine"}, "mine"),
    ],
)
def test_the_name_is_made_of_model_engine_and_precision(fields: dict[str, Any], name: str) -> None:
    assert ExperimentConfig.model_validate(fields).display_name == name


def test_sampling_fields_of_a_greedy_decoder_are_dormant() -> None:
    assert set(DecoderConfig(top_k=5, temperature=0.7).dormant_fields()) == {"temperature", "top_k"}
    assert DecoderConfig(repetition_penalty=1.1).dormant_fields() == {}
    assert DecoderConfig(do_sample=True, top_k=5).dormant_fields() == {}


def test_a_study_has_at_least_one_experiment_and_its_defaults() -> None:
    with pytest.raises(ValidationError, match="at least 1"):
        StudyConfig(experiments=[])
    study = StudyConfig(experiments=[ExperimentConfig(model="m")])
    assert study.execution == StudyExecutionConfig(
        launcher="subprocess", on_failure="continue", cycles=None, order="blocks", seed=42
    )
    assert study.n_cycles == 1
    assert study.output_dir is None


def test_how_a_single_experiment_is_carried_out_may_be_said_of_a_study() -> None:
    execution: Any = ExecutionConfig(pause_s=2, on_failure="stop")
    study = StudyConfig(experiments=[ExperimentConfig(model="m")], execution=execution)
    assert study.execution == StudyExecutionConfig(pause_s=2, on_failure="stop")
    assert study.carried_out[0].execution == execution


def test_an_adapter_needs_its_path_and_is_merged() -> None:
    assert LoRAConfig(path="a").merge
    with pytest.raises(ValidationError, match="path"):
        LoRAConfig.model_validate({})
