"""Prompts that are given as a list, in Python: known by number and digest."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llenergymeasure.config.in_memory import PromptsInMemory
from llenergymeasure.config.loader import load_config, load_experiment_config, load_study_config, study_config
from llenergymeasure.config.models import DatasetConfig, ExperimentConfig, StudyConfig, measurement_config_hash
from llenergymeasure.config.reading.layers import Overrides
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import examples
from tests.unit.config.conftest import WriteConfig

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]


def config_of(dataset: Any, **fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", "dataset": dataset, **fields})


def prompts_in(config: ExperimentConfig) -> PromptsInMemory:
    assert config.dataset.in_memory is not None
    return config.dataset.in_memory


def test_a_list_is_known_by_the_digest_of_its_lines() -> None:
    lines = b'{"prompt": "a"}\n{"prompt": "\xc3\x9f"}\n'
    prompts = prompts_in(ExperimentConfig(model="m", dataset=["a", {"prompt": "ß"}]))  # type: ignore[arg-type]
    assert (prompts.n, prompts.sha256) == (2, hashlib.sha256(lines).hexdigest())
    assert prompts.content == lines
    assert prompts.file_name == f"prompts-{prompts.sha256[:16]}.jsonl"


def test_what_is_kept_of_it_is_number_and_digest() -> None:
    config = config_of(["tell nobody", "this"], n=2)
    known = {"n": 2, "sha256": prompts_in(config).sha256}
    assert config.resolved()["dataset"]["in_memory"] == known
    assert json.loads(config.model_dump_json(exclude_unset=True))["dataset"] == {"in_memory": known}
    study = StudyConfig.model_validate({"experiments": [{"model": "m", "dataset": ["tell nobody", "this"]}]})
    assert study.model_dump(mode="json", exclude_unset=True)["experiments"][0]["dataset"] == {"in_memory": known}
    for said in (repr(config), str(config), repr(study), json.dumps(config.resolved())):
        assert "tell nobody" not in said
    # As it comes back from a plan or a result.
    assert measurement_config_hash(ExperimentConfig.model_validate(config.resolved())) == measurement_config_hash(
        config
    )
    assert ExperimentConfig.model_validate(config.resolved()).dataset == config.dataset


def test_the_configuration_of_ten_thousand_prompts_is_as_small_as_that_of_ten() -> None:
    few, many = (json.dumps(config_of([f"prompt {i}" for i in range(n)]).resolved()) for n in (10, 10_000))
    assert len(many) - len(few) == len("10000") - len("10")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a", "b"], ("a", "b")),
        (["a"], [{"prompt": "a"}]),
        ([{"id": 1, "prompt": "a"}], [{"prompt": "a", "id": 1}]),
        ([{"messages": TURNS}], [{"messages": [dict(reversed(turn.items())) for turn in TURNS]}]),
        (["a"], {"in_memory": ["a"]}),
        (["a"], DatasetConfig(in_memory=["a"])),  # type: ignore[arg-type]
    ],
    ids=str,
)
def test_the_same_prompts_have_the_same_hash(one: Any, other: Any) -> None:
    assert measurement_config_hash(config_of(one)) == measurement_config_hash(config_of(other))
    assert config_of(one) == config_of(other)


@pytest.mark.parametrize(
    "other",
    [
        ["b", "a"], ["a"], ["a", "b", "b"], ["a", "B"], ["ab"], [{"messages": TURNS}],
        {"in_memory": ["a", "b"], "chat": True},
    ],
    ids=str,
)  # fmt: skip
def test_other_prompts_have_another_hash(other: Any) -> None:
    assert measurement_config_hash(config_of(["a", "b"])) != measurement_config_hash(config_of(other))
    assert config_of(["a", "b"]) != config_of(other)


@settings(max_examples=examples(50))
@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=5))
def test_any_texts_can_be_given_and_are_lines_of_a_file(texts: list[str]) -> None:
    content = prompts_in(config_of(texts)).content
    assert content is not None
    lines = content.decode().split("\n")
    assert [json.loads(line) for line in lines[:-1]] == [{"prompt": text} for text in texts]
    assert lines[-1] == ""


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "this list is empty; give one prompt at least"),
        (["a", 5], "row 2: a prompt is a text, or a mapping such as .* this is of type int"),
        (["a", None], "row 2: .* this is of type NoneType"),
        ([["a"]], "row 1: .* this is of type list"),
        ([b"a"], "row 1: .* this is of type bytes"),
        (["a", "b", "\ud800"], "row 3: it holds half a character"),
        ([{"messages": [{"role": "user", "content": "\udc00"}]}], "row 1: it holds half a character"),
        ([{"prompt": "a", "score": float("nan")}], "row 1: it holds what JSON does not have: Out of range"),
        ([{"prompt": {1}}], "row 1: it holds what JSON does not have: Object of type set"),
        ([{"prompt": "a", "id": 10**5000}], "row 1: it holds what JSON does not have"),
    ],
    ids=range(10),
)
def test_what_is_no_list_of_prompts_is_told_with_its_row(rows: list[Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        config_of(rows)
    (error,) = caught.value.errors()
    assert (*error["loc"], error["ctx"]["field"]) == ("dataset", "in_memory")
    with pytest.raises(ValidationError, match=said):
        load_experiment_config(None, {"model": "m", "dataset": rows})
    with pytest.raises((ValidationError, ConfigError), match=said):
        study_config({"model": "m", "dataset": rows, "sweep": {"n": [1, 2]}})


def test_a_list_that_holds_itself_is_told_too() -> None:
    rows: list[Any] = ["a"]
    rows.append({"prompt": rows})
    with pytest.raises(ValidationError, match="row 2: it holds what JSON does not have: Circular"):
        config_of(rows)


def test_what_prompts_say_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    # What looks like a secret is refused in settings, and paths of the home directory are written as ~.
    texts = ["hf_" + "a1B2c3D4" * 5, "/home/me/notes"]
    assert prompts_in(config_of(texts)).content == "".join(f'{{"prompt": "{t}"}}\n' for t in texts).encode()
    assert prompts_in(study_config({"model": "m", "dataset": texts, "sweep": {"n": [1, 2]}}).experiments[1]).n == 2


@pytest.mark.parametrize(
    "known",
    [
        {"n": 1, "sha256": "ab"}, {"n": 0, "sha256": "0" * 64}, {"n": True, "sha256": "0" * 64}, {"sha256": "0" * 64},
        {"n": 1, "sha256": "0" * 64, "rows": []}, {"n": 1, "sha256": "0" * 64, "file": 3},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_result_does_not_have_is_refused(known: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="a file has n and sha256"):
        config_of({"in_memory": known})


def test_a_list_takes_the_place_of_another_source_and_keeps_the_order(write_config: WriteConfig) -> None:
    file = write_config("model: m\ndataset: {path: p.jsonl, column: text, order: as_is}\n")
    config = load_experiment_config(file, {"dataset": ["a"]})
    assert (config.dataset.path, config.dataset.column, config.dataset.order) == (None, None, "as_is")
    assert prompts_in(config).n == 1


def test_a_list_beside_another_source_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"random tokens\) or in_memory .*, not path and in_memory"):
        config_of({"path": "p.txt", "in_memory": ["a"]})


def test_a_study_shares_a_list_or_each_experiment_has_its_own() -> None:
    shared = study_config({"model": "m", "dataset": ["a", "b"], "sweep": {"max_output_tokens": [8, 16]}})
    assert [prompts_in(each).n for each in shared.experiments] == [2, 2]
    own = study_config({"model": "m", "experiments": [{"dataset": ["a"]}, {"dataset": ["b", "c"]}, {"n": 3}]})
    assert [each.dataset.in_memory and each.dataset.in_memory.n for each in own.experiments] == [1, 2, None]
    assert len({measurement_config_hash(each) for each in own.experiments}) == 3
    over = study_config({"model": "m", "dataset": ["a", "b"], "experiments": [{"dataset": "mixed"}, {"n": 1}]})
    assert [each.dataset.name for each in over.experiments] == ["mixed", None]


def test_equal_configurations_are_listed_without_their_prompts() -> None:
    study = study_config({
        "model": "m", "sweep": {"n": [1]}, "experiments": [{"dataset": ["a secret"]}, {"dataset": ["a secret"]}],
    })  # fmt: skip
    (equal,) = study.left_out
    assert equal.kind == "equal"
    assert "a secret" not in study.model_dump_json()


@pytest.mark.parametrize("how", ["sweep", "zip", "zips"])
def test_several_lists_may_vary_in_python(how: str) -> None:
    varied: Any = {"dataset": [["a secret"], ["b", "c"], "mixed"], **({} if how == "sweep" else {"n": [1, 2, 3]})}
    study = study_config({"model": "m", **({"zip": [varied]} if how == "zips" else {how: varied})})
    assert [each.dataset.in_memory and each.dataset.in_memory.n for each in study.experiments] == [1, 2, None]
    assert "a secret" not in study.model_dump_json()


def test_of_a_list_that_is_left_out_a_study_has_the_digest_only() -> None:
    study = study_config({
        "model": "m", "sweep": {"dataset": [["a secret"], ["b", "c"]], "n": [1, 2]},
        "exclude": [{"n": 2, "dataset.order": "shuffled"}],
    })  # fmt: skip
    assert len(study.left_out) == 2
    assert "prompts in memory (1, SHA-256 " in study.left_out[0].in_words
    assert "a secret" not in study.model_dump_json()


OF_FILES = {
    "dataset: [a, b]": "1: dataset",
    "n: 3\ndataset: [a]": "2: dataset",
    "dataset: {in_memory: [a]}": "1: dataset",
    "experiments:\n- {n: 1}\n- {dataset: [a, b]}": "3: experiments.1.dataset",
    "sweep:\n  dataset: [[a, b], [c]]": "2: sweep.dataset",
    "zip:\n  dataset: [[a], [b]]\n  n: [1, 2]": "2: zip.dataset",
    "zip:\n- {dataset: [[a], [b]], n: [1, 2]}": "2: zip.0.dataset",
}


@pytest.mark.parametrize(("written", "where"), OF_FILES.items(), ids=OF_FILES)
def test_in_a_file_a_list_is_refused_and_a_jsonl_file_named(
    write_config: WriteConfig, written: str, where: str
) -> None:
    file = write_config(f"{written}\nmodel: m\n")
    load = load_study_config if "- " in written or "[[" in written else load_experiment_config
    with pytest.raises(ConfigError, match=f"^{file}:{where}: a list of prompts .* such as ./prompts.jsonl; several"):
        load(file)


def test_in_a_file_several_datasets_vary_as_ever(write_config: WriteConfig) -> None:
    study = load_study_config(write_config("model: m\nsweep: {dataset: [a.jsonl, mixed]}\n"))
    assert [(each.dataset.path, each.dataset.name) for each in study.experiments] == [
        (Path("a.jsonl"), None), (None, "mixed"),
    ]  # fmt: skip


def _by_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLEM_DATASET", "[a, b]")
    load_experiment_config(None, {"model": "m"})


def _by_flag(_: pytest.MonkeyPatch) -> None:
    load_config(None, Overrides(fields={"model": "m", "dataset": ["a", "b"]}, origin="command line"))


@pytest.mark.parametrize(("load", "origin"), [(_by_variable, "LLEM_DATASET"), (_by_flag, "command line")])
def test_flags_and_variables_have_no_lists_of_prompts(
    monkeypatch: pytest.MonkeyPatch, load: Callable[[pytest.MonkeyPatch], None], origin: str
) -> None:
    with pytest.raises(ConfigError, match=f"{origin}: dataset: a list of prompts can be given in Python only"):
        load(monkeypatch)
