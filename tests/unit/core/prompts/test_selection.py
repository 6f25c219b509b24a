"""Prompts from the built-in set and from files."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.prompts.selection import (
    PromptSelection,
    read_dataset,
    select_prompts,
)
from llenergymeasure.domain.inference import ChatMessage
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import examples


def _file(folder: Path, content: str | bytes, name: str = "p.jsonl") -> DatasetConfig:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return DatasetConfig(path=path)


def _rows(prompts: Sequence[str]) -> str:
    return "".join(json.dumps({"prompt": p}) + "\n" for p in prompts)


def _select(dataset: DatasetConfig, **fields: Any) -> PromptSelection:
    return select_prompts(ExperimentConfig(model="m", dataset=dataset, **fields))


def _texts(selection: PromptSelection) -> list[str]:
    return [p.text for p in selection.prompts]


def _shuffled(dataset: DatasetConfig) -> DatasetConfig:
    return dataset.model_copy(update={"order": "shuffled"})


def _as_is(dataset: DatasetConfig) -> DatasetConfig:
    return dataset.model_copy(update={"order": "as_is"})


def test_the_seeded_order_is_the_same_on_every_machine_and_day(tmp_path: Path) -> None:
    dataset = _shuffled(_file(tmp_path, _rows("abcdef")))
    assert "".join(_texts(_select(dataset, n=6))) == "dbceaf"
    assert "".join(_texts(_select(dataset, n=6, random_seed=7))) == "eafdbc"


def test_fewer_prompts_are_the_first_ones_of_more_and_the_index_is_the_position(tmp_path: Path) -> None:
    dataset = _shuffled(_file(tmp_path, _rows("abcdefgh")))
    more = _texts(_select(dataset, n=8))
    fewer = _select(dataset, n=3)
    assert sorted(more) == list("abcdefgh")
    assert _texts(fewer) == more[:3]
    assert [p.index for p in fewer.prompts] == [0, 1, 2]
    assert fewer.warnings == ()


def test_as_is_keeps_the_order_of_the_file(tmp_path: Path) -> None:
    assert _texts(_select(_as_is(_file(tmp_path, _rows("cab"))), n=2)) == ["c", "a"]


def test_asking_for_more_than_there_are_runs_all_and_says_so(tmp_path: Path) -> None:
    selection = _select(_file(tmp_path, _rows("abc")), n=10)
    assert sorted(_texts(selection)) == ["a", "b", "c"]
    (warning,) = selection.warnings
    assert str(warning).startswith("dataset_too_small: 10 prompts are asked for, there are 3")
    assert _select(_file(tmp_path, _rows("abc")), n=3).warnings == ()


def test_jsonl_takes_prompts_and_conversations_and_ignores_other_keys_and_blank_lines(tmp_path: Path) -> None:
    text = (
        '{"id": 1, "prompt": "one"}\r\n\n   \n'
        '{"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "two"}]}'
    )
    assert read_dataset(_file(tmp_path, text)).rows == [
        ((ChatMessage("user", "one"),), False),
        ((ChatMessage("system", "be brief"), ChatMessage("user", "two")), True),
    ]


def test_a_text_file_has_one_prompt_per_line(tmp_path: Path) -> None:
    dataset = _file(tmp_path, "one\r\n\n  two words  \nthree", "p.txt")
    assert [(m[0].content, chat) for m, chat in read_dataset(dataset).rows] == [
        ("one", False),
        ("two words", False),
        ("three", False),
    ]


@pytest.mark.parametrize(
    ("chat", "plain", "messages", "built_in"),
    [(None, False, True, True), (True, True, True, True), (False, False, False, False)],
)
def test_the_chat_template_is_for_conversations_and_the_built_in_set_unless_told(
    tmp_path: Path, chat: bool | None, plain: bool, messages: bool, built_in: bool
) -> None:
    dataset = _file(tmp_path, '{"prompt": "a"}\n{"messages": [{"role": "user", "content": "b"}]}')
    assert [c for _, c in read_dataset(dataset.model_copy(update={"chat": chat})).rows] == [plain, messages]
    assert {c for _, c in read_dataset(DatasetConfig(name="mixed", chat=chat)).rows} == {built_in}


def test_the_built_in_set_has_distinct_prompts_and_enough_for_the_default_n() -> None:
    selection = select_prompts(ExperimentConfig(model="m"))
    assert len(set(_texts(selection))) == 100
    assert selection.warnings == ()


@pytest.mark.parametrize(
    "row",
    [
        "not json",
        "{",
        "3",
        "null",
        '"prompt"',
        "[]",
        "{}",
        '{"text": "a"}',
        '{"prompt": ""}',
        '{"prompt": 3}',
        '{"prompt": null}',
        '{"messages": []}',
        '{"messages": {}}',
        '{"messages": null}',
        '{"messages": "hi"}',
        '{"messages": [{"role": "user"}]}',
        '{"messages": [{"role": "user", "content": ["x"]}]}',
        "[" * 100_000,
        "1" * 5_000,
    ],
    ids=lambda row: row[:30],
)
def test_a_row_that_is_no_prompt_is_refused_with_file_and_line(tmp_path: Path, row: str) -> None:
    dataset = _file(tmp_path, f'{{"prompt": "good"}}\n\n{row}\n')
    with pytest.raises(ConfigError) as error:
        read_dataset(dataset)
    assert f"{dataset.path}:3: expected" in str(error.value)
    assert row[:80] in str(error.value)
    assert len(str(error.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("p.jsonl", b"", "no prompts"),
        ("p.txt", b" \n\n", "no prompts"),
        ("p.jsonl", b'{"prompt": "\xff"}', "UTF-8"),
        ("p.xml", b"<prompt/>", "'.xml'; use .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt"),
    ],
)
def test_a_file_that_is_no_dataset_is_refused_by_name(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as error:
        read_dataset(_file(tmp_path, content, name))
    assert name in str(error.value)


@pytest.mark.parametrize("name", ["missing.jsonl", "folder.jsonl"])
def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ConfigError, match=f"{name}: cannot be read"):
        read_dataset(DatasetConfig(path=tmp_path / name))


PRINTABLE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=examples(60))
@given(st.lists(PRINTABLE, min_size=1, max_size=6))
def test_prompts_survive_the_way_through_jsonl(tmp_path_factory: pytest.TempPathFactory, prompts: list[str]) -> None:
    text = "".join(json.dumps({"prompt": p}, ensure_ascii=False) + "\n" for p in prompts)
    found = read_dataset(_file(tmp_path_factory.mktemp("p"), text)).rows
    assert [m[0].content for m, _ in found] == prompts


@settings(max_examples=examples(60))
@given(st.lists(PRINTABLE.filter(lambda t: not set("\r\n") & set(t) and t.strip() == t), min_size=1, max_size=6))
def test_only_line_ends_part_the_prompts_of_a_text_file(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[str]
) -> None:
    found = read_dataset(_file(tmp_path_factory.mktemp("p"), "\n".join(prompts), "p.txt")).rows
    assert [m[0].content for m, _ in found] == prompts


@settings(max_examples=examples(100))
@given(st.one_of(st.binary(max_size=60), st.text(max_size=40).map(str.encode)), st.sampled_from(["p.jsonl", "p.txt"]))
def test_no_file_ends_in_a_traceback(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    dataset = _file(tmp_path_factory.mktemp("p"), content, name)
    with contextlib.suppress(ConfigError):
        assert read_dataset(dataset).rows


def test_grouped_takes_the_prompts_that_shuffled_takes(tmp_path: Path) -> None:
    dataset = _file(tmp_path, _rows(["a", "bb", "ccc", "dddd", "eeeee", "ffffff"]))
    grouped = dataset.model_copy(update={"order": "grouped"})
    assert _select(grouped, n=3) == _select(_shuffled(dataset), n=3)
    assert _select(grouped, n=3).digest == _select(_shuffled(dataset), n=3).digest


def test_the_digest_is_of_roles_contents_and_template_in_their_order_and_of_nothing_else(tmp_path: Path) -> None:
    lines = ['{"messages": [{"role": "user", "content": "a"}]}', '{"prompt": "b"}']
    first = _as_is(_file(tmp_path, "\n".join(lines)))
    expected = hashlib.sha256(b'[[true, [["user", "a"]]], [false, [["user", "b"]]]]').hexdigest()
    assert _select(first, n=2).digest == expected
    elsewhere = _as_is(_file(tmp_path, "[" + ",".join(lines) + "]", "q.json"))
    assert _select(elsewhere, n=5).digest == expected
    others = [
        _select(first, n=1),
        _select(_as_is(_file(tmp_path, "\n".join(reversed(lines)), "r.jsonl")), n=2),
        _select(first.model_copy(update={"chat": False}), n=2),
        _select(_as_is(_file(tmp_path, "\n".join(lines).replace("user", "system"), "s.jsonl")), n=2),
    ]
    assert len({expected, *(other.digest for other in others)}) == 5
