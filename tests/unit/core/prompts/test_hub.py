"""Prompts that the ``datasets`` library reads, from folders that it made itself."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.prompts.selection import read_dataset, select_prompts
from llenergymeasure.domain.inference import ChatMessage
from llenergymeasure.exceptions import ConfigError, PreFlightError
from tests.fakes.effort import PATIENCE_S

# An extra; without it these tests are skipped.
datasets = pytest.importorskip("datasets")

CHAT = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def questions() -> Any:
    return datasets.Dataset.from_dict(
        {"id": [1, 2, 3], "prompt": ["one", "two", "three"], "topic": ["a", "b", "c"], "talk": [CHAT, CHAT[1:], CHAT]}
    )


@pytest.fixture
def saved(tmp_path: Path, questions: Any) -> Path:
    """Two splits, by save_to_disk."""
    datasets.DatasetDict({"train": questions, "test": questions.select([2, 0])}).save_to_disk(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.fixture
def files(tmp_path: Path, questions: Any) -> Path:
    """Two splits as Parquet files."""
    (tmp_path / "files").mkdir()
    questions.to_parquet(tmp_path / "files" / "train-00000-of-00001.parquet")
    questions.select([1]).to_parquet(tmp_path / "files" / "validation-00000-of-00001.parquet")
    return tmp_path / "files"


@pytest.fixture
def subsets(tmp_path: Path) -> Path:
    """Two configurations as CSV files, which a card names."""
    folder = tmp_path / "subsets"
    for name, text in (("one", "prompt\nfirst\n"), ("two", "prompt\nsecond\n")):
        (folder / name).mkdir(parents=True)
        (folder / name / "train.csv").write_text(text, encoding="utf-8")
    card = (
        "---\nconfigs:\n- config_name: one\n  data_files: one/*.csv\n- config_name: two\n  data_files: two/*.csv\n---\n"
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    return folder


def texts(folder: Path, **fields: Any) -> list[str]:
    return [messages[0].content for messages, _ in read_dataset(DatasetConfig(hub=str(folder), **fields)).rows]


def refusal(folder: Path | str, **fields: Any) -> str:
    with pytest.raises(ConfigError) as error:
        read_dataset(DatasetConfig(hub=str(folder), **fields))
    message = str(error.value)
    assert message.startswith(f"dataset {folder}")
    assert "\n" not in message
    return message


def test_a_saved_dataset_is_read_split_by_split(saved: Path) -> None:
    assert texts(saved) == ["one", "two", "three"]
    assert texts(saved, split="test") == ["three", "one"]
    assert texts(saved, column="topic") == ["a", "b", "c"]


def test_a_single_saved_set_has_no_splits_to_choose_from(tmp_path: Path, questions: Any) -> None:
    questions.save_to_disk(tmp_path / "one")
    assert texts(tmp_path / "one") == ["one", "two", "three"]
    assert "remove dataset.split" in refusal(tmp_path / "one", split="test")


def test_rows_that_were_picked_out_before_saving_stay_picked_out(tmp_path: Path, questions: Any) -> None:
    questions.filter(lambda row: row["id"] != 2).save_to_disk(tmp_path / "some")
    assert texts(tmp_path / "some") == ["one", "three"]


def test_a_folder_of_data_files_is_read_split_by_split(files: Path) -> None:
    assert texts(files) == ["one", "two", "three"]
    assert texts(files, split="validation") == ["two"]
    assert texts(files, split="train[1:]") == ["two", "three"]
    assert texts(files, split="train+validation", column="topic") == ["a", "b", "c", "b"]


def test_a_list_of_messages_is_a_conversation(saved: Path) -> None:
    rows = read_dataset(DatasetConfig(hub=str(saved), column="talk")).rows
    brief, hello = ChatMessage("system", "be brief"), ChatMessage("user", "hello")
    assert rows == [((brief, hello), True), ((hello,), True), ((brief, hello), True)]
    assert {chat for _, chat in read_dataset(DatasetConfig(hub=str(saved), column="talk", chat=False)).rows} == {False}


def test_a_subset_is_named(subsets: Path) -> None:
    assert texts(subsets, subset="two") == ["second"]
    assert all(words in refusal(subsets) for words in ("'one', 'two'", "dataset.subset"))
    assert "'three' not found" in refusal(subsets, subset="three")


def test_a_folder_is_read_anew_and_leaves_nothing_in_the_cache(subsets: Path, tmp_path: Path) -> None:
    assert texts(subsets, subset="one") == ["first"]
    (subsets / "one" / "train.csv").write_text("prompt\nother\n", encoding="utf-8")
    assert texts(subsets, subset="one") == ["other"]
    assert not (tmp_path / "cache").exists()


def test_what_is_not_there_is_told_with_what_is(saved: Path, files: Path, tmp_path: Path) -> None:
    assert "['test', 'train']" in refusal(saved, split="dev")
    assert "['train', 'validation']" in refusal(files, split="dev")
    assert "neither subsets nor revisions" in refusal(saved, subset="one")
    assert all(words in refusal(files, column="text") for words in ("no column 'text'", "'prompt'", "'talk'"))
    (tmp_path / "empty").mkdir()
    assert "doesn't contain any data files" in refusal(tmp_path / "empty")
    assert "no data" in refusal(files, split="train[:0]")
    (tmp_path / "none").mkdir()
    pq.write_table(pa.table({"prompt": pa.array([], pa.string())}), tmp_path / "none" / "train.parquet")
    assert "BatchSize must be greater than 0" in refusal(tmp_path / "none")
    datasets.load_from_disk(str(saved))["train"].filter(lambda row: row["id"] > 3).save_to_disk(tmp_path / "rest")
    assert "no prompts in split 'train'" in refusal(tmp_path / "rest")
    (tmp_path / "file.csv").write_text("prompt\na\n", encoding="utf-8")
    assert "dataset: {path: ...}" in refusal(tmp_path / "file.csv")
    assert "neither a folder nor the id" in refusal("./missing")


def test_a_row_that_is_no_prompt_is_refused_with_its_number(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"prompt": ["one", None]}).save_to_disk(tmp_path / "gaps")
    assert all(words in refusal(tmp_path / "gaps") for words in ("row 2", "'prompt'", "nothing (null)"))


@pytest.mark.parametrize("name", ["dataset_dict.json", "state.json", "dataset_info.json"])
def test_a_damaged_folder_is_refused_and_never_a_traceback(saved: Path, name: str) -> None:
    for place in (saved, saved / "train"):
        if (place / name).exists():
            (place / name).write_text("[", encoding="utf-8")
    refusal(saved)


def test_the_digest_does_not_depend_on_where_the_prompts_come_from(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    of_file, of_hub = (
        select_prompts(ExperimentConfig(model="m", dataset=dataset, n=2)).digest
        for dataset in (DatasetConfig(path=tmp_path / "p.txt"), DatasetConfig(hub=str(saved)))
    )
    assert of_file == of_hub


def test_progress_bars_are_as_they_were(saved: Path) -> None:
    before = datasets.are_progress_bars_disabled()
    texts(saved)
    assert datasets.are_progress_bars_disabled() == before


def test_without_the_library_there_is_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PreFlightError, match=r"owner/name: .*pip install 'llenergymeasure\[datasets\]'"):
        read_dataset(DatasetConfig(hub="owner/name"))


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "llenergymeasure", "run", "--model", "smollm2-135m", "--dry-run"],
        env={**os.environ, "LLEM_DATASET__HUB": "owner/name", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 1
    *_, line = ran.stderr.splitlines()
    assert line.startswith("llem: dataset owner/name: the hub cannot be reached")
    assert "Traceback" not in ran.stderr
