"""``passthrough_kwargs``: what no field sets goes to the engine, what a field sets is refused in its own line."""

import re
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from llenergymeasure.config.engines import ENGINE_SECTIONS
from llenergymeasure.config.loader import load_experiment_config, load_study_config
from llenergymeasure.config.models import DecoderConfig, ExperimentConfig
from llenergymeasure.exceptions import ConfigError
from tests.unit.config.conftest import WriteConfig, calm

PRECISION = {engine: section.precisions[-1] for engine, section in ENGINE_SECTIONS.items()}
each_engine = pytest.mark.parametrize("engine", ENGINE_SECTIONS)


def config_with(kwargs: dict[str, Any], engine: str = "pytorch") -> ExperimentConfig:
    precision = PRECISION.get(engine, "bf16")
    return ExperimentConfig.model_validate(
        {"model": "m", "backend": engine, "precision": precision, "passthrough_kwargs": kwargs}
    )


def refusals(kwargs: dict[str, Any], engine: str = "pytorch") -> list[str]:
    with pytest.raises(ValidationError) as caught:
        config_with(kwargs, engine)
    for error in caught.value.errors():
        assert error["loc"][0] == "passthrough_kwargs"
    return [error["msg"] for error in caught.value.errors()]


def refusal(name: str, engine: str = "pytorch") -> str:
    (message,) = refusals({name: 1}, engine)
    return message


def notes_of(text: str, write_config: WriteConfig) -> dict[str, str]:
    """``{file:line: field}`` of the errors in a file."""
    path = write_config(text)
    load = load_study_config if "experiments:" in text else load_experiment_config
    with pytest.raises(ValidationError) as caught:
        load(path)
    notes = [note.removeprefix(f"{path}:").split(": ") for note in caught.value.__notes__]
    assert len({place for place, *_ in notes}) == len(notes)
    return {place: field for place, field, *_ in notes}


# What a field sets.


@each_engine
def test_no_field_of_an_experiment_can_be_passed_through(engine: str) -> None:
    for name in ExperimentConfig.model_fields:
        message = refusal(name, engine)
        # What the library calls n is not the number of prompts.
        field = "decoder.num_return_sequences" if name == "n" and engine in ("vllm", "tensorrt") else name
        # Some engines have a device of that name, which is another thing than the knobs of a card.
        field = f"{engine}.{name}" if name in ENGINE_SECTIONS[engine].model_fields else field
        told = re.search(rf"{name} is set by the field {field}; give it there and remove it here", message)
        assert told or "may not be passed through" in message


@each_engine
def test_no_field_of_the_decoder_can_be_passed_through(engine: str) -> None:
    for name in DecoderConfig.model_fields:
        message = refusal(name, engine)
        is_lacking = name in ENGINE_SECTIONS[engine].lacks_decoder_fields
        told = f"{name} is set by the field decoder.{name}; " in message
        assert told or (is_lacking and f"{name} may not be passed through: " in message)


@each_engine
def test_no_field_of_the_engines_section_can_be_passed_through(engine: str) -> None:
    for name in ENGINE_SECTIONS[engine].model_fields:
        assert f"{name} is set by the field {engine}.{name}; " in refusal(name, engine)


@pytest.mark.parametrize("name", ["n_ctx", "max_num_seqs", "gpu_memory_utilization", "max_tokens"])
def test_fields_and_names_of_other_engines_do_not_matter(name: str) -> None:
    assert config_with({name: 1}).passthrough_kwargs == {name: 1}


@pytest.mark.parametrize(
    ("engine", "name", "field"),
    [
        ("pytorch", "dtype", "precision"),
        ("pytorch", "torch_dtype", "precision"),
        ("pytorch", "max_new_tokens", "max_output_tokens"),
        ("pytorch", "max_length", "max_output_tokens"),
        ("pytorch", "min_new_tokens", "decoder.min_output_tokens"),
        ("pytorch", "min_length", "decoder.min_output_tokens"),
        ("pytorch", "pretrained_model_name_or_path", "model"),
        ("pytorch", "gguf_file", "model"),
        ("pytorch", "quantization_config", "pytorch.load_in_4bit"),
        ("pytorch", "compile_config", "pytorch.compile_mode"),
        ("pytorch", "cache_config", "pytorch.cache_backend"),
        ("pytorch", "seed", "random_seed"),
        ("vllm", "dtype", "precision"),
        ("vllm", "max_tokens", "max_output_tokens"),
        ("vllm", "min_tokens", "decoder.min_output_tokens"),
        ("vllm", "seed", "random_seed"),
        ("vllm", "speculative_config", "vllm.spec_method"),
        ("tensorrt", "dtype", "precision"),
        ("tensorrt", "max_tokens", "max_output_tokens"),
        ("tensorrt", "n", "decoder.num_return_sequences"),
        ("vllm", "n", "decoder.num_return_sequences"),
        ("vllm", "ignore_eos", "decoder.ignore_eos"),
        ("pytorch", "num_return_sequences", "decoder.num_return_sequences"),
        ("llamacpp", "n_predict", "max_output_tokens"),
        ("llamacpp", "temp", "decoder.temperature"),
        ("llamacpp", "seed", "random_seed"),
    ],
)
def test_the_librarys_own_name_of_a_field_is_refused_with_the_field(engine: str, name: str, field: str) -> None:
    assert re.match(
        rf"Value error, {name} is set by the field {re.escape(field)}\b.*; give it there", refusal(name, engine)
    )


@pytest.mark.parametrize(
    ("engine", "name", "reason"),
    [
        ("pytorch", "stop_strings", "ends a row without an end token"),
        ("pytorch", "max_time", "depend on the machine"),
        ("pytorch", "eos_token_id", "tokens are counted by it"),
        ("pytorch", "pad_token_id", "tokens are counted by it"),
        ("pytorch", "streamer", "in the measured loop"),
        ("pytorch", "output_scores", "changes what generate returns"),
        ("pytorch", "logits_processor", "an object of Python"),
        ("pytorch", "custom_generate", "replace the loop that is measured"),
        ("pytorch", "num_beam_groups", "transformers 5"),
        ("vllm", "best_of", "discards answers"),
        ("vllm", "stop", "ends answers early"),
        ("tensorrt", "end_id", "tokens are counted by it"),
        ("tensorrt", "max_beam_width", "tokens change after they were told"),
        ("tensorrt", "sampler_type", "the sampler in C"),
        ("llamacpp", "t_max_predict_ms", "depend on the machine"),
    ],
)
def test_what_would_spoil_the_measurement_is_refused_with_the_reason(engine: str, name: str, reason: str) -> None:
    message = refusal(name, engine)
    assert f"{name} may not be passed through: " in message
    assert reason in message


@each_engine
def test_the_reason_is_a_sentence(engine: str) -> None:
    for name in ENGINE_SECTIONS[engine].refused_names:
        reason = refusal(name, engine).partition("passed through: ")[2]
        assert not re.match(r"it (one request|transformers 5) ", reason), reason


# Where it is told.


def test_each_key_that_is_refused_is_told_in_its_own_line_beside_all_other_errors(write_config: WriteConfig) -> None:
    text = (
        "model: m\n"
        "n: 0\n"
        "passthrough_kwargs:\n"
        "  rope_theta: 5\n"
        "  dtype: fp32\n"
        "  # a comment\n"
        "  streamer: x\n"
        "  batch_size: 4\n"
        "  top_k: 3\n"
        "  max_output_tokens: 3\n"
        "  when: 2024-01-01\n"
        "pytorch:\n"
        "  batch_size: 0\n"
    )
    assert notes_of(text, write_config) == {
        "2": "n",
        "5": "passthrough_kwargs.dtype",
        "7": "passthrough_kwargs.streamer",
        "8": "passthrough_kwargs.batch_size",
        "9": "passthrough_kwargs.top_k",
        "10": "passthrough_kwargs.max_output_tokens",
        "11": "passthrough_kwargs.when",
        "13": "pytorch.batch_size",
    }


def test_in_a_study_the_line_is_that_of_the_experiment_at_fault(write_config: WriteConfig) -> None:
    text = (
        "experiments:\n"
        "- model: m\n"
        "  passthrough_kwargs: {rope_theta: 5}\n"
        "- model: m\n"
        "  passthrough_kwargs:\n"
        "    seed: 3\n"
        "- model: m\n"
        "  backend: vllm\n"
        "  passthrough_kwargs:\n"
        "    rope_theta: 5\n"
        "    max_num_seqs: 8\n"
    )
    assert notes_of(text, write_config) == {
        "6": "experiments.1.passthrough_kwargs.seed",
        "11": "experiments.2.passthrough_kwargs.max_num_seqs",
    }


def test_an_unknown_key_elsewhere_makes_all_of_it_one_config_error(write_config: WriteConfig) -> None:
    path = write_config("model: m\nnn: 1\npassthrough_kwargs:\n  dtype: fp32\n")
    with pytest.raises(ConfigError) as caught:
        load_experiment_config(path)
    assert {line.split(": ")[0] for line in str(caught.value).splitlines()} == {f"{path}:2", f"{path}:4"}


@pytest.mark.parametrize("backend", ["3", "''", "[a]"])
def test_a_wrong_engine_does_not_hide_what_is_refused(write_config: WriteConfig, backend: str) -> None:
    text = f"model: m\nbackend: {backend}\npassthrough_kwargs:\n  max_input_tokens: 3\n"
    assert notes_of(text, write_config) == {"2": "backend", "4": "passthrough_kwargs.max_input_tokens"}


@pytest.mark.parametrize("kwargs", ["3", "[a]", "text", "null", "true"])
def test_anything_but_a_mapping_is_a_wrong_value(write_config: WriteConfig, kwargs: str) -> None:
    assert notes_of(f"model: m\npassthrough_kwargs: {kwargs}\n", write_config) == {"2": "passthrough_kwargs"}


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf", "[1, .nan]", "{a: .inf}", "2024-01-01", "!!set {a}"])
def test_a_value_that_json_has_not_is_refused(write_config: WriteConfig, value: str) -> None:
    text = f"model: m\npassthrough_kwargs:\n  good: 1\n  bad: {value}\n"
    assert notes_of(text, write_config) == {"4": "passthrough_kwargs.bad"}


# What is handed on.

OF_ENGINES = {
    name
    for section in ENGINE_SECTIONS.values()
    for name in (*section.model_fields, *section.library_names, *section.refused_names)
}
KNOWN = {*ExperimentConfig.model_fields, *DecoderConfig.model_fields} | OF_ENGINES
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@calm
@given(st.dictionaries(st.text(min_size=1, max_size=12), json_values, max_size=4), st.sampled_from([*ENGINE_SECTIONS]))
def test_any_other_key_is_kept_with_its_value_as_it_is(kwargs: dict[str, Any], engine: str) -> None:
    assume(not KNOWN & set(kwargs))
    kept = config_with(kwargs, engine).passthrough_kwargs
    assert kept == kwargs
    assert repr(kept) == repr(kwargs)  # 1, 1.0 and true are three values


@calm
@given(st.lists(st.sampled_from(sorted(KNOWN)), unique=True, max_size=6))
def test_all_that_is_refused_is_told_at_once(names: list[str]) -> None:
    section = ENGINE_SECTIONS["pytorch"]
    taken = {*ExperimentConfig.model_fields, *DecoderConfig.model_fields, *section.model_fields}
    taken |= {*section.library_names, *section.refused_names}
    wrong = [name for name in names if name in taken]
    if not wrong:
        assert config_with(dict.fromkeys(names, 1)).passthrough_kwargs == dict.fromkeys(names, 1)
        return
    messages = refusals(dict.fromkeys(names, 1))
    assert sorted(m.removeprefix("Value error, ").split()[0] for m in messages) == sorted(wrong)


def test_keys_are_told_apart_by_case() -> None:
    assert config_with({"Dtype": 1, "TOP_K": 2}).passthrough_kwargs == {"Dtype": 1, "TOP_K": 2}
