"""Everything that is wrong is found at once, and nothing is made by looking."""

import os
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.exceptions import ConfigError, PreFlightError
from llenergymeasure.orchestration.preflight import check


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A directory that looks like a model."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    return str(tmp_path / "model")


def problems_of(*experiments: ExperimentConfig, output_dir: Path | None = None) -> tuple[type[Exception], list[str]]:
    """The error's type and its lines."""
    with pytest.raises((ConfigError, PreFlightError)) as caught:
        check(experiments, output_dir)
    return caught.type, str(caught.value).splitlines()


def test_nothing_wrong_says_nothing_and_makes_no_folder(model: str, tmp_path: Path) -> None:
    check([ExperimentConfig(model=model)], tmp_path / "deep" / "er")
    check([ExperimentConfig(model=model)], None)
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"backend": "vllm"}, ["'vllm'", "cannot run it yet"]),
        ({"dataset": "./no-such.jsonl"}, ["no-such.jsonl", "cannot be read"]),
        ({"dataset": "./prompts.xml"}, ["'.xml'", "use .jsonl, .json, .csv, .parquet, .txt"]),
        ({"dataset": {"hub": "./no-such-folder"}}, ["./no-such-folder", "neither a folder nor the id"]),
    ],
)
def test_a_wrong_configuration_is_a_config_error(model: str, fields: dict[str, Any], said: list[str]) -> None:
    kind, lines = problems_of(ExperimentConfig(model=model, **fields))
    assert kind is ConfigError
    assert len(lines) == 1
    assert all(words in lines[0] for words in said)


def test_a_machine_that_lacks_the_library_of_a_dataset_is_a_preflight_error(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    kind, (line,) = problems_of(ExperimentConfig(model=model, dataset=DatasetConfig(hub="owner/name")))
    assert kind is PreFlightError
    assert "pip install 'llenergymeasure[datasets]'" in line


def test_random_prompts_need_no_file(model: str) -> None:
    check([ExperimentConfig.model_validate({"model": model, "dataset": "random"})], None)


def test_a_dataset_that_several_experiments_share_is_read_once(model: str, tmp_path: Path) -> None:
    # A pipe can be read once; a second reading would wait for ever.
    os.mkfifo(tmp_path / "p.txt")
    writer = threading.Thread(target=(tmp_path / "p.txt").write_text, args=("one\ntwo\n",), daemon=True)
    writer.start()
    dataset = DatasetConfig(path=tmp_path / "p.txt")
    check([ExperimentConfig(model=model, dataset=dataset, n=n) for n in (1, 2, 3)], None)
    writer.join()


def test_a_machine_that_lacks_the_model_is_a_preflight_error() -> None:
    kind, lines = problems_of(ExperimentConfig(model="./no-such-model"))
    assert kind is PreFlightError
    assert len(lines) == 1
    assert "./no-such-model" in lines[0]


def test_all_that_is_wrong_with_one_experiment_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    dataset = DatasetConfig(path=tmp_path / "no-such.txt")
    experiment = ExperimentConfig(model="./no-such-model", dataset=dataset)
    kind, lines = problems_of(experiment, output_dir=tmp_path / "file" / "below")
    assert kind is PreFlightError
    text = "\n".join(lines)
    assert "no-such.txt" in text
    assert "is a file, not a folder" in text
    assert "no-such-model" in text


def test_an_error_in_one_experiment_does_not_hide_what_the_next_one_lacks(model: str) -> None:
    kind, lines = problems_of(
        ExperimentConfig(model="./first-missing"),
        ExperimentConfig(model=model, backend="vllm"),
        ExperimentConfig(model="./second-missing"),
    )
    assert kind is PreFlightError
    text = "\n".join(lines)
    assert all(words in text for words in ("first-missing", "'vllm'", "second-missing"))


def test_the_same_problem_is_said_once() -> None:
    _, lines = problems_of(*[ExperimentConfig(model="./no-such-model", n=n) for n in (1, 2, 3)])
    assert len(lines) == 1


def test_an_output_below_a_file_is_refused(model: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        kind, lines = problems_of(ExperimentConfig(model=model), output_dir=output)
        assert kind is PreFlightError
        assert len(lines) == 1
        assert str(output) in lines[0]
        assert "--output" in lines[0]


def test_an_output_that_is_a_dangling_link_is_refused(model: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    problems_of(ExperimentConfig(model=model), output_dir=tmp_path / "link")


@pytest.mark.parametrize("name", ["x" * 300, "nul\0byte"])
def test_an_output_no_file_system_can_name_is_said_and_never_a_traceback(model: str, tmp_path: Path, name: str) -> None:
    problems_of(ExperimentConfig(model=model), output_dir=tmp_path / name)
