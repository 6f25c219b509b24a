"""Prompts that were given as a list are read as those of a file."""

import json
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.in_memory import PromptsInMemory
from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.prompts.selection import read_dataset, select_prompts
from llenergymeasure.exceptions import ConfigError

CALL = {"type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": 2}}}
ROWS: list[Any] = [
    {"prompt": "one\nline"},
    {"prompt": "zwei ß \u2028 drei"},
    {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
    {"conversations": [{"from": "human", "value": "Wie?"}]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
]  # fmt: skip


def in_memory(rows: list[Any], **fields: Any) -> DatasetConfig:
    return DatasetConfig.model_validate({"in_memory": rows, **fields})


def as_a_file(rows: list[Any], folder: Path, **fields: Any) -> DatasetConfig:
    path = folder / "p.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return DatasetConfig.model_validate({"path": path, **fields})


@pytest.mark.parametrize(
    "fields", [{}, {"order": "as_is"}, {"order": "grouped"}, {"chat": True}, {"chat": False}], ids=str
)
@pytest.mark.parametrize("n", [2, 100])
def test_the_same_rows_give_the_same_prompts_as_from_a_file(tmp_path: Path, fields: dict[str, Any], n: int) -> None:
    given, read = (
        select_prompts(ExperimentConfig(model="m", dataset=dataset, n=n))
        for dataset in (in_memory(ROWS, **fields), as_a_file(ROWS, tmp_path, **fields))
    )
    assert given == read
    assert given.digest == read.digest


def test_texts_are_prompts_without_a_template_and_may_be_in_a_column_of_any_name() -> None:
    (row,) = read_dataset(in_memory(["Why?"])).rows
    assert (row[0][0].role, row[0][0].content, row[1]) == ("user", "Why?", False)
    (row,) = read_dataset(in_memory([{"question": "Who?"}], column="question")).rows
    assert row[0][0].content == "Who?"


def test_arguments_of_a_tool_stay_in_their_order() -> None:
    rows = read_dataset(in_memory(ROWS)).rows
    (call,) = rows[2][0][1].tool_calls
    assert list(call["function"]["arguments"]) == ["z", "a"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a", ""], "dataset in memory, row 2: expected .*, found '{\"prompt\": \"\"}'"),
        ([{}], "dataset in memory, row 1: expected .*, found '{}'"),
        (["a", {"prompt": 5}], "dataset in memory, row 2: expected"),
        (["a", {"text": "b"}], "row 2: .*name the key of its prompt with dataset.column: 'text'"),
        ([{"messages": [{"role": "user", "content": [{"type": "image"}]}]}], "row 1: .*a part of type 'image'"),
        (["a", "b" * (2**24 + 1)], "row 2: .*it has 16,777,217 characters, and at most 16,777,216 are read"),
        (["a", {"prompt": "b", "more": "c" * 2**25}], "row 2: this line has more than 33,554,432 characters"),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_row_that_is_no_prompt_is_told_by_its_number(rows: list[Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_dataset(in_memory(rows))


def _known(prompts: PromptsInMemory, file: Path | None) -> DatasetConfig:
    """As another process has it: without the prompts."""
    return DatasetConfig(in_memory=PromptsInMemory(prompts.n, prompts.sha256, file=file))


def test_another_process_reads_them_in_their_file(tmp_path: Path) -> None:
    dataset = in_memory(ROWS)
    assert dataset.in_memory is not None
    assert dataset.in_memory.content is not None
    file = tmp_path / "p.jsonl"
    with pytest.raises(ConfigError, match=r"nothing is here of 5 prompts with the SHA-256 .* but that; give the list"):
        read_dataset(_known(dataset.in_memory, None))
    with pytest.raises(ConfigError, match=r"p\.jsonl: cannot be read: No such file or directory; it has 5 prompts"):
        read_dataset(_known(dataset.in_memory, file))
    file.write_bytes(dataset.in_memory.content)
    assert read_dataset(_known(dataset.in_memory, file)) == read_dataset(dataset)
    # One letter more is other prompts.
    file.write_bytes(dataset.in_memory.content.replace(b"one", b"onee"))
    with pytest.raises(ConfigError, match=r"p\.jsonl: it was changed, its SHA-256 is "):
        read_dataset(_known(dataset.in_memory, file))
