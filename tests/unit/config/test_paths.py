"""Paths in a configuration: the home directory is ``~``, wherever it is given, and what cannot be a path is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure import run_experiment
from llenergymeasure.config.loader import load_experiment_config
from llenergymeasure.config.models import ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.exceptions import ConfigError
from tests.unit.config.conftest import WriteConfig


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")


def made(**fields: Any) -> ExperimentConfig:
    """As somebody in Python would make it who does not look at types."""
    return ExperimentConfig(**fields)


def with_paths(home: str) -> dict[str, Any]:
    """A configuration with every kind of path, all of them under a home directory."""
    return {
        "model": f"{home}/mymodel",
        "dataset": {"path": f"{home}/p.jsonl"},
        "lora": {"path": f"{home}/adapter"},
        "quality": {"text": f"{home}/text.txt"},
        "output_dir": f"{home}/results",
        "passthrough_kwargs": {"cache_dir": f"{home}/cache", "nested": {"lora_paths": [f"{home}/x"]}},
        "pytorch": {"offload_folder": f"{home}/offload", "assistant_model": f"{home}/draft"},
    }


def test_it_is_kept_and_hashed_as_a_tilde_however_it_was_given() -> None:
    long, short = ExperimentConfig(**with_paths("/home/me")), ExperimentConfig(**with_paths("~"))
    assert long == short
    assert measurement_config_hash(long) == measurement_config_hash(short)
    assert "/home/me" not in long.model_dump_json()
    assert (long.model, long.output_dir) == ("~/mymodel", Path("~/results"))


def test_it_is_put_in_place_where_it_is_used() -> None:
    used = in_use(ExperimentConfig(**with_paths("~")))
    assert used.model_dump(mode="json", exclude_unset=True) == {
        **with_paths("/home/me"),
        # A dataset has no other fields that were given.
        "dataset": {"path": "/home/me/p.jsonl"},
    }


@pytest.mark.parametrize("text", ["~", "~~~", "~/x", "~root/x", "/home/me/x"])
def test_a_text_that_is_no_path_stays_as_it_is(text: str) -> None:
    passed = {"stop": [text], "anything": text, "nested": {"of": {"prefix": text}}}
    config = made(model="m", name=text, dataset={"hub": "org/d", "column": text}, passthrough_kwargs=passed)
    assert config.passthrough_kwargs == passed
    assert (config.name, config.dataset.column) == (text, text)
    assert in_use(config) is config


def test_a_file_of_an_editor_of_windows_is_read(write_config: WriteConfig) -> None:
    text = '\ufeffname: "bom café 模"\r\nmodel: ~/mymodel\r\ndataset:\r\n  path: ~/p.jsonl\r\noutput_dir: ~/results\r\n'
    config = load_experiment_config(write_config(text))
    assert (config.name, config.model, str(config.dataset.path)) == ("bom café 模", "~/mymodel", "~/p.jsonl")
    used = in_use(config)
    assert (used.model, used.dataset.path) == ("/home/me/mymodel", Path("/home/me/p.jsonl"))


fields = pytest.mark.parametrize(
    "place", ["model", "lora.path", "dataset.path", "dataset.hub", "output_dir", "pytorch.assistant_model"]
)


def given_at(place: str, value: object) -> dict[str, Any]:
    section, _, name = place.partition(".")
    return {"model": "m", section: {name: value} if name else value}


@fields
@pytest.mark.parametrize(("text", "why"), [("a\0b", "NUL"), ("a\udcffb", "half"), ("x" * 256, "255 bytes")])
def test_what_no_file_can_be_called_is_refused_at_its_field(place: str, text: str, why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ExperimentConfig(**given_at(place, text))
    (error,) = caught.value.errors(include_url=False)
    assert ".".join(map(str, error["loc"])).startswith(place)
    assert why in error["msg"]


def test_half_characters_and_endless_numbers_are_refused_wherever_they_stand() -> None:
    for wrong in ({"passthrough_kwargs": {"a": ["x\udcff"]}}, {"name": "x\udcff"}, {"max_output_tokens": 10**400}):
        with pytest.raises(ValidationError):
            made(**{"model": "m", **wrong})


SECTIONS = ["lora", "dataset", "decoder", "warmup", "energy", "baseline", "measurement", "phases", "quality", "pytorch"]


@pytest.mark.parametrize(
    ("section", "value"),
    [
        *((section, value) for section in SECTIONS for value in (3, object())),
        # A list of texts is one of prompts.
        *((section, ["./dir"]) for section in SECTIONS if section != "dataset"),
    ],
)
def test_a_section_of_another_kind_is_told_in_our_words(section: str, value: object) -> None:
    for make in (
        lambda: made(**{"model": "m", section: value}),
        lambda: run_experiment(None, **{"model": "m", section: value}),
        lambda: StudyConfig.model_validate({"experiments": [{"model": "m", section: value}]}),
    ):
        with pytest.raises(ValidationError) as caught:
            make()
        (error,) = caught.value.errors()
        assert error["msg"] == "Input should be a mapping of fields"
        assert "https://" not in str(caught.value)


def test_no_error_of_a_value_sends_anybody_to_a_librarys_pages() -> None:
    wrong = {"model": "", "n": "5", "modle": 1, "dataset": {"name": "nope"}, "decoder": {"top_p": 7}, "lora": "./dir"}
    with pytest.raises(ValidationError) as caught:
        made(**wrong)
    assert caught.value.error_count() == len(wrong)
    assert "https://" not in str(caught.value)


@pytest.mark.parametrize("given", [3, {"model": "m"}, ["m"], object()])
def test_what_is_neither_a_path_nor_a_model_is_told(given: Any) -> None:
    with pytest.raises(ConfigError, match="given as the path of a YAML file, or as a model"):
        run_experiment(given)
