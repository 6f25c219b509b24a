"""Prompts from files of every kind: what is read, and what a wrong file is told."""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.core.prompts.files import FILE_KINDS, read_file
from llenergymeasure.domain.inference import ChatMessage
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import examples

BRIEF = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "two"}]
BRIEF_ROW = ((ChatMessage("system", "be brief"), ChatMessage("user", "two")), True)


def written(folder: Path, name: str, content: str | bytes | dict[str, list[Any]]) -> Path:
    """A file; columns make a Parquet table."""
    path = folder / name
    if isinstance(content, dict):
        pq.write_table(pa.table(content), path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def plain(*texts: str) -> list[Any]:
    """Rows of prompts that are no conversations."""
    return [((ChatMessage("user", text),), False) for text in texts]


def refusal(path: Path, column: str | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        read_file(path, column)
    message = str(error.value)
    assert message.startswith(f"dataset {path}")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "content", "column", "expected"),
    [
        ("p.csv", "id,prompt\n1,one\n2,two\n", None, plain("one", "two")),
        ("p.csv", "id,prompt\r\n1,one\r\n2,two", None, plain("one", "two")),
        ("p.csv", "\ufeffprompt\none\n", None, plain("one")),
        ("p.csv", 'prompt,n\n"two\nlines, ""quoted""",1\n', None, plain('two\nlines, "quoted"')),
        ("p.csv", "question,n\nNA,1\nnull,2\n007,3\ntrue,4\n", "question", plain("NA", "null", "007", "true")),
        ("p.csv", "prompt,question\none,two\n", "question", plain("two")),
        ("p.parquet", {"n": [1, 2], "prompt": ["one", "two"]}, None, plain("one", "two")),
        ("p.parquet", {"question": ["one"], "prompt": ["two"]}, "question", plain("one")),
        ("p.parquet", {"prompt": ["whole"], "messages": [BRIEF]}, None, [BRIEF_ROW]),
        ("p.parquet", {"a.b": ["one"]}, "a.b", plain("one")),
        ("p.parquet", {"chat": [BRIEF, BRIEF[1:]]}, "chat", [BRIEF_ROW, ((ChatMessage("user", "two"),), True)]),
        ("p.parquet", {"prompt": pa.array(["one", "one"]).dictionary_encode()}, None, plain("one", "one")),
        ("p.jsonl", '{"q": "one", "prompt": "x"}\n\n{"q": [{"role": "user", "content": "two"}]}\n', "q",
         [*plain("one"), ((ChatMessage("user", "two"),), True)]),
        ("p.jsonl", json.dumps({"prompt": BRIEF}), None, [BRIEF_ROW]),
        ("p.json", json.dumps([{"prompt": "one"}, {"messages": BRIEF}]), None, [*plain("one"), BRIEF_ROW]),
        ("p.json", '\ufeff [{"q": "one"}]\n', "q", plain("one")),
    ],
)  # fmt: skip
def test_a_prompt_is_what_stands_in_its_column(
    tmp_path: Path, name: str, content: Any, column: str | None, expected: list[Any]
) -> None:
    assert read_file(written(tmp_path, name, content), column).rows == expected


@pytest.mark.parametrize(
    ("name", "content", "column", "said"),
    [
        # Rows that hold no prompt.
        ("p.csv", "id,prompt\n1,one\n2,\n", None, ["row 2", "'prompt'", "an empty text"]),
        ("p.csv", "messages\nhi\n", "messages", ["row 1", "'messages'", "found 'hi'"]),
        ("p.parquet", {"prompt": ["one", None]}, None, ["row 2", "'prompt'", "nothing (null)"]),
        ("p.parquet", {"prompt": ["one", ""]}, None, ["row 2", "an empty text"]),
        ("p.parquet", {"prompt": [1.5]}, None, ["row 1", "found 1.5"]),
        ("p.parquet", {"prompt": [b"one"]}, None, ["row 1", "found b'one'"]),
        ("p.parquet", {"messages": ["hi"]}, None, ["row 1", "'messages'", "found 'hi'"]),
        ("p.parquet", {"messages": [[]]}, None, ["row 1", "found []"]),
        ("p.parquet", {"messages": [[{"role": "user", "content": None}]]}, None, ["row 1", "None"]),
        ("p.parquet", {"messages": [[{"from": "narrator", "value": "hi"}]]}, None, ["row 1", '"role"', "narrator"]),
        ("p.jsonl", '{"q": "one"}\n{"q": null}\n', "q", [":2: ", '{"q": "..."}', "null"]),
        ("p.jsonl", '{"prompt": "one"}', "q", [":1: ", '{"q": "..."}']),
        ("p.jsonl", '{"prompt": "\\ud800"}', None, [":1: expected"]),
        ("p.json", '[{"prompt": "one"}, {"q": 1}]', None, ["row 2", '{"prompt": "..."}', "'q': 1"]),
        ("p.json", '{"prompt": "one"}', None, ["expected a list of", "'prompt'"]),
        # Columns that are not there.
        ("p.csv", "id,text\n1,one\n", None, ["no column 'prompt'", "dataset.column", "'id', 'text'"]),
        ("p.csv", "id,prompt\n1,one\n", "text", ["no column 'text'", "'id', 'prompt'"]),
        ("p.csv", "prompt,prompt\n1,one\n", None, ["2 columns", "'prompt'", "rename"]),
        ("p.parquet", {"text": ["one"], "n": [1]}, None, ["no column 'messages' or 'prompt'", "'text', 'n'"]),
        ("p.jsonl", '{"id": 1, "text": "one"}', None, [":1: expected", "dataset.column: 'id', 'text'"]),
        ("p.jsonl", '{"prompt": "one"}\n{"text": "two"}', "prompt", [":2: expected", "dataset.column: 'text'"]),
        ("p.json", '[{"prompt": "one"}]', "text", ["row 1: expected", "dataset.column: 'prompt'"]),
        ("p.parquet", {"a": [{"b": "one"}]}, "a.b", ["no column 'a.b'", "'a'"]),
        ("p.parquet", {f"c{i}": [1] for i in range(25)}, None, ["'c19' and 5 more"]),
        # Files that are not what they are called.
        ("p.csv", b"", None, ["CSV", "Empty"]),
        ("p.csv", "prompt\n", None, ["no prompts"]),
        ("p.csv", "a,prompt\n1,2\n3\n", None, ["CSV", "Expected 2 columns, got 1"]),
        ("p.csv", b"prompt\n\xff\n", None, ["not text in UTF-8", "iconv"]),
        ("p.parquet", b"", None, ["Parquet"]),
        ("p.parquet", b"PAR1 nothing of the kind PAR1", None, ["Parquet"]),
        ("p.parquet", {"prompt": pa.array([], pa.string())}, None, ["no prompts"]),
        ("p.json", "[]", None, ["no prompts"]),
        ("p.json", '{"prompt": "one"}\n{"prompt": "two"}\n', None, ["not JSON", ".jsonl"]),
        ("p.json", b'["\xff"]', None, ["UTF-8"]),
        ("p.json", "[" * 100_000, None, ["not JSON"]),
    ],
)  # fmt: skip
def test_what_is_no_prompt_is_refused_with_its_place_and_what_was_found(
    tmp_path: Path, name: str, content: Any, column: str | None, said: list[str]
) -> None:
    message = refusal(written(tmp_path, name, content), column)
    for words in said:
        assert words in message
    assert len(message) < 600 + len(str(tmp_path))


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_a_file_that_is_not_there_and_a_folder_in_its_place_cannot_be_read(tmp_path: Path, kind: str) -> None:
    (tmp_path / f"folder{kind}").mkdir()
    assert "cannot be read" in refusal(tmp_path / f"missing{kind}")
    assert "cannot be read" in refusal(tmp_path / f"folder{kind}")


def test_an_unknown_kind_is_refused_with_what_may_have_been_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts").mkdir()
    assert "'.xml'; use .jsonl, .ndjson, .json, .csv, .tsv, .parquet, .txt" in refusal(Path("p.xml"))
    assert "dataset: {hub: prompts}" in refusal(Path("prompts"))
    assert "dataset: {hub: owner/name}" in refusal(Path("owner/name"))
    assert "hub" not in refusal(Path("a/b/c"))


def test_prompts_may_be_longer_than_a_million_characters(tmp_path: Path) -> None:
    long = "joule " * 300_000
    assert read_file(written(tmp_path, "p.csv", f"n,prompt\n1,{long}\n2,b\n"), None).rows == plain(long, "b")
    assert read_file(written(tmp_path, "p.parquet", {"prompt": [long]}), None).rows == plain(long)


def test_a_table_of_several_row_groups_is_read_in_order(tmp_path: Path) -> None:
    texts = [f"prompt {i}" for i in range(1000)]
    pq.write_table(pa.table({"prompt": texts}), tmp_path / "p.parquet", row_group_size=300)
    assert read_file(tmp_path / "p.parquet", None).rows == plain(*texts)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=examples(40))
@given(st.lists(TEXT, min_size=1, max_size=6))
def test_prompts_survive_the_way_through_json_and_parquet(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("p")
    as_json = json.dumps([{"prompt": p} for p in prompts], ensure_ascii=False)
    assert read_file(written(folder, "p.json", as_json), None).rows == plain(*prompts)
    assert read_file(written(folder, "p.parquet", {"prompt": prompts}), None).rows == plain(*prompts)


@settings(max_examples=examples(40))
@given(st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=6))
def test_prompts_survive_the_way_through_csv(tmp_path_factory: pytest.TempPathFactory, prompts: list[str]) -> None:
    rows = "".join(f'{number},"{_quoted(prompt)}"\n' for number, prompt in enumerate(prompts))
    path = written(tmp_path_factory.mktemp("p"), "p.csv", f"n,prompt\n{rows}")
    assert read_file(path, None).rows == plain(*prompts)


def _quoted(text: str) -> str:
    return text.replace('"', '""')


CSV_LIKE = st.lists(st.sampled_from(["prompt", "a", ",", '"', "\n", "\r", "\r\n", "\0", "é", "NA"]), max_size=20).map(
    "".join
)
PARQUET = pa.BufferOutputStream()
pq.write_table(pa.table({"prompt": ["one", "two"] * 20, "messages": [BRIEF] * 40}), PARQUET)
WHOLE_PARQUET = PARQUET.getvalue().to_pybytes()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A Parquet file with some of its bytes changed, or cut short."""
    content = bytearray(WHOLE_PARQUET)
    for place in draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


def _no_traceback(folder: Path, name: str, content: str | bytes, column: str | None) -> None:
    path = written(folder, name, content)
    with contextlib.suppress(ConfigError):
        rows: Sequence[Any] = read_file(path, column).rows
        assert rows


@settings(max_examples=examples(150))
@given(
    st.one_of(st.binary(max_size=60), st.text(max_size=40).map(str.encode), CSV_LIKE.map(str.encode)),
    st.sampled_from(["p.csv", "p.json", "p.parquet", "p.jsonl"]),
    st.sampled_from([None, "a", ""]),
)
def test_no_file_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, column: str | None
) -> None:
    _no_traceback(tmp_path_factory.mktemp("p"), name, content, column)


@settings(max_examples=examples(150))
@given(damaged(), st.sampled_from([None, "prompt"]))
def test_no_damaged_parquet_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, column: str | None
) -> None:
    _no_traceback(tmp_path_factory.mktemp("p"), "p.parquet", content, column)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["prompt", "messages", "role", "content", "a"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=examples(150))
@given(JSON, st.sampled_from(["p.json", "p.jsonl"]), st.sampled_from([None, "a", "messages"]))
def test_no_json_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: Any, name: str, column: str | None
) -> None:
    _no_traceback(tmp_path_factory.mktemp("p"), name, json.dumps(content), column)
