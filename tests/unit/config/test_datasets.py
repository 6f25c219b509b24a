"""Where prompts come from: one source, its fields, its shorthand, and what it asks of other sections."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.loader import load_experiment_config
from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.config.random_prompts import LengthConfig, RandomPromptsConfig
from llenergymeasure.config.reading.merging import merged
from llenergymeasure.exceptions import ConfigError
from tests.unit.config.conftest import WriteConfig

FIXED = LengthConfig(value=8)


def config_of(dataset: Any, **fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", "dataset": dataset, **fields})


def refusals(dataset: Any, **fields: Any) -> dict[str, str]:
    """Messages by the field that each is told at."""
    with pytest.raises(ValidationError) as caught:
        config_of(dataset, **fields)
    return {
        ".".join(map(str, (*e["loc"], *([e["ctx"]["field"]] if "field" in e.get("ctx", {}) else [])))): e["msg"]
        for e in caught.value.errors()
    }


@pytest.mark.parametrize(
    ("written", "source"),
    [
        (None, {"name": "mixed"}),
        ({}, {"name": "mixed"}),
        ({"order": "as_is"}, {"name": "mixed"}),
        ({"name": None, "random": None, "hub": None}, {"name": "mixed"}),
        ("p.csv", {"path": Path("p.csv")}),
        ("org/prompts", {"path": Path("org/prompts")}),
        ("random", {"random": RandomPromptsConfig()}),
        ("./random", {"path": Path("random")}),
        ({"random": {"input_tokens": 8}}, {"random": RandomPromptsConfig(input_tokens=FIXED)}),
        ({"random": {"output_tokens": {"value": 8}}}, {"random": RandomPromptsConfig(output_tokens=FIXED)}),
        ({"random": {"output_tokens": None}}, {"random": RandomPromptsConfig()}),
        ({"hub": "owner/name", "split": "test"}, {"hub": "owner/name"}),
    ],
)
def test_a_dataset_has_one_source_and_mixed_when_none_is_named(written: Any, source: dict[str, Any]) -> None:
    dataset = ExperimentConfig(model="m").dataset if written is None else config_of(written).dataset
    assert {
        n: getattr(dataset, n) for n in ("name", "path", "hub", "random") if getattr(dataset, n) is not None
    } == source


@pytest.mark.parametrize(
    "two", [{"name": "mixed", "path": "a.txt"}, {"path": "a.txt", "hub": "a/b"}, {"hub": "a/b", "random": {}}], ids=str
)
def test_two_sources_are_refused_by_both_names(two: dict[str, Any]) -> None:
    ((where, message),) = refusals(two).items()
    assert where == "dataset"
    assert f"not {' and '.join(two)}" in message


@pytest.mark.parametrize(
    ("dataset", "where", "said"),
    [
        ({"path": "p.txt", "column": "text"}, "dataset.column", ["p.txt", "remove"]),
        ({"hub": ""}, "dataset.hub", ["at least 1"]),
        ({"random": {"input_tokens": 0}}, "dataset.random.input_tokens.value", ["greater than or equal to 1"]),
        ({"random": {"input_tokens": 1.5}}, "dataset.random.input_tokens", ["a number of tokens"]),
        ({"random": {"input_tokens": True}}, "dataset.random.input_tokens", ["a number of tokens"]),
        ({"random": {"input_tokens": "128"}}, "dataset.random.input_tokens", ["a number of tokens"]),
        ({"random": 128}, "dataset.random", ["mapping of fields"]),
        ({"random": {"output_tokens": {"distribution": "lognormal", "median": 9}}},
         "dataset.random.output_tokens.distribution", ["median and sigma"]),
        ({"random": {"output_tokens": {"distribution": "uniform", "low": 9, "high": 8}}},
         "dataset.random.output_tokens.high", ["8 is below low: 9"]),
        ({"random": {"output_tokens": {"distribution": "lognormal", "median": 9, "sigma": 1, "high": 8}}},
         "dataset.random.output_tokens.median", ["9 lies beyond"]),
        ({"random": {"output_tokens": {"distribution": "lognormal", "median": 9, "sigma": 1, "low": 10}}},
         "dataset.random.output_tokens.median", ["9 lies beyond"]),
        ({"random": {"input_tokens": {"distribution": "zipf"}}}, "dataset.random.input_tokens.distribution", ["fixed"]),
        ({"random": {"input_tokens": {"distribution": "lognormal", "median": 9, "sigma": 0}}},
         "dataset.random.input_tokens.sigma", ["greater than 0"]),
    ],
)  # fmt: skip
def test_what_is_no_length_or_column_is_refused_at_its_own_field(
    dataset: dict[str, Any], where: str, said: list[str]
) -> None:
    ((told_at, message),) = refusals(dataset).items()
    assert told_at == where
    assert all(words in message for words in said)


@pytest.mark.parametrize(
    ("length", "most"),
    [
        (600, 600),
        ({"distribution": "uniform", "low": 1, "high": 600}, 600),
        ({"distribution": "uniform", "low": 600}, 600),
        ({"distribution": "lognormal", "median": 599.5, "sigma": 0.1}, 600),
        ({"distribution": "lognormal", "median": 20, "sigma": 0.1, "high": 600}, 600),
        ({"distribution": "lognormal", "median": 600, "sigma": 0.1, "low": 600}, 600),
    ],
)
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens"])
def test_a_length_above_its_limit_is_refused_with_the_field_to_raise(name: str, length: Any, most: int) -> None:
    limit = f"max_{name}"
    ((where, message),) = refusals({"random": {name: length}}).items()
    assert where == limit
    assert f"dataset.random.{name} needs up to {most} tokens; raise {limit}" in message
    config_of({"random": {name: length}}, **{limit: most})
    assert list(refusals({"random": {name: length}}, **{limit: most - 1})) == [limit]


def test_both_limits_are_told_at_once() -> None:
    assert list(refusals({"random": {"input_tokens": 600, "output_tokens": 600}})) == [
        "max_input_tokens",
        "max_output_tokens",
    ]


def test_random_prompts_ignore_end_tokens_in_the_resolved_configuration() -> None:
    implied, said = config_of("random"), config_of("random", decoder={"ignore_eos": True})
    assert implied.decoder.ignore_eos
    assert implied.resolved() == said.resolved()
    assert not config_of("mixed").decoder.ignore_eos
    assert config_of("random", decoder={"do_sample": True}).decoder.ignore_eos


def test_what_random_prompts_imply_is_not_kept_for_another_dataset() -> None:
    config = config_of("random", decoder={"do_sample": True})
    unsaid = config.model_dump(exclude_unset=True)
    assert unsaid == {"model": "m", "dataset": {"random": {}}, "decoder": {"do_sample": True}}
    assert not ExperimentConfig.model_validate(merged(unsaid, {"dataset": "mixed"})).decoder.ignore_eos
    assert ExperimentConfig.model_validate(unsaid) == config


def test_an_end_token_that_is_to_be_obeyed_cannot_go_with_random_prompts(write_config: WriteConfig) -> None:
    path = write_config("model: m\ndataset: random\ndecoder:\n  do_sample: true\n  ignore_eos: false\n")
    with pytest.raises(ValidationError) as caught:
        load_experiment_config(path)
    (note,) = caught.value.__notes__
    assert note.startswith(f"{path}:5: decoder.ignore_eos: ")
    assert all(words in note for words in ("dataset.random", "remove it"))


def test_beams_need_answers_of_one_length() -> None:
    beams = {"num_beams": 2}
    drawn = {"random": {"output_tokens": {"distribution": "uniform", "high": 9}}}
    ((where, message),) = refusals(drawn, decoder=beams).items()
    assert where == "decoder.num_beams"
    assert all(words in message for words in ("dataset.random.output_tokens", "num_beams: 1"))
    for same in (9, None, {"distribution": "uniform", "low": 9, "high": 9}):
        assert config_of({"random": {"output_tokens": same}}, decoder=beams).decoder.num_beams == 2
    assert config_of({"random": {"input_tokens": {"distribution": "uniform"}}}, decoder=beams).decoder.num_beams == 2


def test_speculation_goes_with_answers_of_different_lengths() -> None:
    drawn = {"random": {"output_tokens": {"distribution": "uniform"}}}
    assert config_of(drawn, pytorch={"prompt_lookup_num_tokens": 3}).dormant_fields() == {}


# One dataset over another.

COLUMN = {"path": "a.csv", "column": "text", "order": "as_is", "chat": True}
REST = {"order": "as_is", "chat": True}
DRAWN = {"distribution": "uniform", "low": 2, "high": 9}


@pytest.mark.parametrize(
    ("below", "given", "expected"),
    [
        (COLUMN, "mixed", {"name": "mixed", **REST}),
        (COLUMN, "b.csv", {"path": "b.csv", **REST}),
        (COLUMN, "random", {"random": {}, **REST}),
        (COLUMN, {"hub": "a/b", "split": "test"}, {"hub": "a/b", "split": "test", **REST}),
        (COLUMN, {"column": "question"}, {**COLUMN, "column": "question"}),
        ({"hub": "a/b", "split": "test", "revision": "v1"}, {"subset": "one"},
         {"hub": "a/b", "split": "test", "revision": "v1", "subset": "one"}),
        ({"hub": "a/b", "split": "test", "revision": "v1"}, {"hub": "c/d"}, {"hub": "c/d"}),
        ({"random": {"input_tokens": 8}, "hub": None}, "p.txt", {"path": "p.txt"}),
        # Lengths over lengths.
        ("random", {"random": {"input_tokens": 8}}, {"random": {"input_tokens": 8}}),
        ({"random": {"input_tokens": 8}}, "random", {"random": {"input_tokens": 8}}),
        ({"random": {"input_tokens": 8}}, {"random": {"output_tokens": 9}},
         {"random": {"input_tokens": 8, "output_tokens": 9}}),
        ({"random": {"input_tokens": 8}}, {"random": {"input_tokens": 9}}, {"random": {"input_tokens": 9}}),
        ({"random": {"input_tokens": DRAWN}}, {"random": {"input_tokens": {"high": 7}}},
         {"random": {"input_tokens": {**DRAWN, "high": 7}}}),
        ({"random": {"input_tokens": DRAWN}}, {"random": {"input_tokens": 7}}, {"random": {"input_tokens": 7}}),
        ({"random": {"input_tokens": 7}}, {"random": {"input_tokens": DRAWN}}, {"random": {"input_tokens": DRAWN}}),
        ({"random": {"input_tokens": 7}}, {"random": {"input_tokens": {"value": 8}}},
         {"random": {"input_tokens": {"distribution": "fixed", "value": 8}}}),
    ],
)  # fmt: skip
def test_a_new_source_replaces_the_old_one_with_its_fields_and_lengths_are_merged(
    below: Any, given: Any, expected: Any
) -> None:
    found = merged({"dataset": below}, {"dataset": given})["dataset"]
    full = DatasetConfig.from_shorthand(found) if isinstance(found, str) else found
    assert full == expected


def test_a_length_can_be_given_by_name_over_a_file(write_config: WriteConfig) -> None:
    path = write_config("model: m\ndataset: random\n")
    overrides = {"dataset": {"random": {"input_tokens": {"distribution": "uniform", "low": 3}}}}
    random = load_experiment_config(path, overrides).dataset.random
    assert random is not None
    assert random.input_tokens == LengthConfig(distribution="uniform", low=3)
    assert random.output_tokens == LengthConfig()


@pytest.mark.parametrize(
    ("length", "span"),
    [
        (LengthConfig(), (50, 50)),
        (LengthConfig(value=7), (7, 7)),
        (LengthConfig(distribution="uniform"), (1, 50)),
        (LengthConfig(distribution="uniform", low=3, high=9), (3, 9)),
        (LengthConfig(distribution="lognormal", median=5, sigma=1, low=2), (2, 50)),
    ],
)
def test_the_span_of_a_length_is_what_it_can_be_under_a_limit(length: LengthConfig, span: tuple[int, int]) -> None:
    assert length.span(50) == span


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("hub", "did you mean 'dataset.hub'?"),
        ("revision", "did you mean 'dataset.revision' or 'pytorch.revision'?"),
        ("path", "did you mean 'dataset.path' or 'lora.path'?"),
    ],
)
def test_a_key_that_stands_too_high_is_told_every_place_where_it_belongs(
    write_config: WriteConfig, key: str, hint: str
) -> None:
    with pytest.raises(ConfigError) as error:
        load_experiment_config(write_config(f"model: m\n{key}: x\n"))
    assert hint in str(error.value)
