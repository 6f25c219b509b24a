"""Prompt files as people have them, and files that would never end."""

import csv
import gzip
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.prompts import choice, reading
from llenergymeasure.core.prompts.choice import Choice
from llenergymeasure.core.prompts.files import read_file
from llenergymeasure.core.prompts.selection import read_dataset, select_prompts
from llenergymeasure.domain.inference import ChatMessage
from llenergymeasure.exceptions import ConfigError
from tests.fakes.effort import examples

HELLO = [((ChatMessage("user", "hello"),), False)]


def refusal(path: Path, column: str | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        read_file(path, column)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tab.tsv", "prompt\tid\nhello\t1\n"),
        ("x.ndjson", '{"prompt": "hello"}\n'),
        ("upper.JSONL", '{"prompt": "hello"}\n'),
        ("UPPER.CSV", "prompt\nhello\n"),
        ("Upper.Txt", "hello\n"),
        ("semicolon.csv", "id;prompt\n1;hello\n"),
        ("tabs.csv", 'id\t"prompt"\n1\thello\n'),
        ("blank.csv", "\nprompt,id\n\nhello,1\n\n"),
    ],
)
def test_files_of_other_names_and_separators_are_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_file(tmp_path / name, None).rows == HELLO


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl.gz", '{"prompt": "hello"}\n'),
        ("p.json.gz", '[{"prompt": "hello"}]'),
        ("p.CSV.GZ", "prompt\r\nhello\r\n"),
        ("p.v1.tsv.gz", "prompt\nhello\n"),
        ("p.txt.gz", "\ufeffhello\n"),
    ],
)
def test_packed_files_are_read(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(content.encode(), mtime=0))
    assert read_file(tmp_path / name, None).rows == HELLO


def test_a_name_in_the_header_may_have_line_breaks_and_the_separator_is_looked_for_once(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text('"a\nb";prompt;"c,\n,"\n1;hello;2\n', encoding="utf-8")
    assert read_file(path, None).rows == HELLO
    # With the first separator the second line would be a part of the header.
    path.write_text('x;prompt;,"\n1;hello;,"\n', encoding="utf-8")
    assert read_file(path, None).rows == HELLO


def test_no_byte_is_lost_of_a_line_break_across_the_edge_of_a_block(tmp_path: Path) -> None:
    edge = 2**24 - 1
    content = bytearray(b"prompt\r\n")
    row = b"f" * 1000 + b"\r\n"
    while len(content) + 3 * len(row) < edge - 50:
        content += row
    start, text = len(content), b"line one "
    content += b'"' + text + b"x" * (edge - start - 1 - len(text)) + b'\r\nline two"\r\nlast\r\n'
    assert content[edge : edge + 2] == b"\r\n"
    (tmp_path / "p.csv").write_bytes(bytes(content))
    rows = read_file(tmp_path / "p.csv", None).rows
    with (tmp_path / "p.csv").open(newline="", encoding="utf-8") as file:
        expected = [row["prompt"] for row in csv.DictReader(file)]
    assert [messages[0].content for messages, _ in rows] == expected
    assert rows[-2][0][0].content.endswith("x\r\nline two")
    assert csv.field_size_limit() == 131_072, "the module's limit must be put back"


@settings(max_examples=examples(60))
@given(
    st.lists(st.text(st.sampled_from('ab,;"\t\r\n é'), min_size=1), min_size=1, max_size=5),
    st.sampled_from([",", ";", "\t"]),
    st.integers(1, 7),
)
def test_what_pythons_csv_writes_is_what_is_read_wherever_blocks_end(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[str], delimiter: str, n_bytes: int
) -> None:
    path = tmp_path_factory.mktemp("p") / "p.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([["n", "prompt"], *([str(i), p] for i, p in enumerate(prompts))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "_BLOCK_BYTES", n_bytes)
        assert [m[0].content for m, _ in read_file(path, None).rows] == prompts


@pytest.mark.parametrize("name", ["p.jsonl", "p.json"])
def test_messages_of_openai_and_sharegpt_are_read(tmp_path: Path, name: str) -> None:
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    values: list[Any] = [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
        {
            "messages": [
                {"role": "user", "content": "w?"},
                {"role": "assistant", "content": None, "tool_calls": calls},
                {"role": "tool", "content": "5", "tool_call_id": "1"},
            ]
        },
        {
            "id": "x",
            "conversations": [
                {"from": "system", "value": "be kind"},
                {"from": "human", "value": "hi"},
                {"from": "gpt", "value": "yo"},
            ],
        },
    ]
    text = json.dumps(values) if name.endswith("json") else "\n".join(map(json.dumps, values))
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_file(tmp_path / name, None).rows == [
        ((ChatMessage("user", "Hi"),), True),
        ((ChatMessage("user", "a\nb"),), True),
        (
            (
                ChatMessage("user", "w?"),
                ChatMessage("assistant", "", tuple(calls)),
                ChatMessage("tool", "5", (), (("tool_call_id", "1"),)),
            ),
            True,
        ),
        ((ChatMessage("system", "be kind"), ChatMessage("user", "hi"), ChatMessage("assistant", "yo")), True),
    ]


def test_they_are_read_of_parquet_too(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "hi"}]
    pq.write_table(pa.table({"conversations": [turns]}), tmp_path / "s.parquet")
    assert read_file(tmp_path / "s.parquet", None).rows == [((ChatMessage("user", "hi"),), True)]
    # What one message has not is null in a table.
    parts = [{"role": "user", "content": [{"type": "text", "text": "hi"}], "tool_calls": None, "name": None}]
    pq.write_table(pa.table({"messages": [parts]}), tmp_path / "m.parquet")
    assert read_file(tmp_path / "m.parquet", None).rows == [((ChatMessage("user", "hi"),), True)]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "a part of type 'image_url'"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "audio"}]}, "a part of type 'audio'"),
        ({"role": "user", "content": []}, "expected"),
        ({"role": "user", "content": [{"type": "text", "text": ""}]}, "expected"),
        ({"role": "assistant", "content": None}, "expected"),
        ({"role": "assistant", "content": None, "tool_calls": "f()"}, "expected"),
        ({"from": "narrator", "value": "hi"}, "'narrator' is nobody who speaks in ShareGPT's form"),
        ({"from": "human", "value": None}, "expected"),
    ],
)
def test_what_cannot_be_run_of_them_is_refused_by_its_row(tmp_path: Path, message: Any, said: str) -> None:
    rows = [{"messages": [{"role": "user", "content": "hi"}]}, {"messages": [message]}]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (tmp_path / "p.json").write_text(json.dumps(rows), encoding="utf-8")
    assert "p.jsonl:2: " in refusal(tmp_path / "p.jsonl")
    assert said in refusal(tmp_path / "p.jsonl")
    assert "row 2: " in refusal(tmp_path / "p.json")
    assert said in refusal(tmp_path / "p.json")


def test_what_a_turn_calls_and_whom_it_names_is_in_the_digest_and_nothing_else_is(tmp_path: Path) -> None:
    def digest(message: dict[str, Any]) -> str:
        (tmp_path / "p.jsonl").write_text(json.dumps({"messages": [message]}), encoding="utf-8")
        dataset = DatasetConfig(path=tmp_path / "p.jsonl")
        return select_prompts(ExperimentConfig(model="m", dataset=dataset, n=1)).digest

    bare = digest({"role": "user", "content": "hi"})
    assert digest({"role": "user", "content": "hi", "tool_calls": [], "weight": 1}) == bare
    assert digest({"role": "user", "content": "hi", "name": "x"}) != bare
    assert digest({"role": "user", "content": "hi", "tool_calls": [{"id": "1"}]}) != bare


def test_the_built_in_set_is_what_it_was() -> None:
    assert (
        select_prompts(ExperimentConfig(model="m", n=150)).digest
        == "93664f2a3e8749369cbb6ef9d3dcd93aab0753277b0a580b23c490e13bdad50e"
    )


@pytest.mark.parametrize("name", ["p.txt", "p.TXT", "p.txt.gz"])
def test_a_file_of_lines_has_no_columns(name: str) -> None:
    with pytest.raises(ValueError, match="column cannot go with path"):
        DatasetConfig(path=Path(name), column="q")


# Files that would never end.


@pytest.mark.parametrize("name", ["p.txt", "p.jsonl", "p.json", "p.csv", "p.parquet", "p.jsonl.gz"])
def test_pipes_devices_and_sockets_are_refused_without_opening_them(tmp_path: Path, name: str) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / name).symlink_to("/dev/zero")
    os.mkfifo(tmp_path / name)
    for path in (tmp_path / name, tmp_path / "device" / name):
        assert "no regular file" in refusal(path)
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as end:
        end.bind(f"{short}/{name}")
        assert "no regular file" in refusal(Path(short, name))


def test_so_are_folders_that_have_one_in_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.jsonl")
    with pytest.raises(ConfigError, match=r"p\.jsonl in it is no regular file"):
        read_dataset(DatasetConfig(hub=str(tmp_path)))


@pytest.mark.parametrize("name", ["p.jsonl", "p.txt", "p.json", "p.csv", "p.jsonl.gz"])
def test_no_more_is_read_of_a_file_than_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000)
    text = '[{"prompt": "x"}' + " " * 2**20 + "]" if name == "p.json" else "prompt\n" + "x\n" * 2**20
    text = '{"prompt": "x"}\n' * 2**16 if "jsonl" in name else text
    # Packed it is small.
    (tmp_path / name).write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith("gz") else text.encode())
    assert "more than the 10,000 bytes that are read of a file" in refusal(tmp_path / name)
    if name != "p.json":
        assert len(read_file(tmp_path / name, None, Choice(n=100)).rows) == 100


@pytest.mark.parametrize("name", ["p.jsonl", "p.txt", "p.csv"])
def test_a_line_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(reading, "MOST_LINE_CHARACTERS", 1000)
    with (tmp_path / name).open("wb") as file:
        file.truncate(10_000)
    assert "1: this line has more than 1,000 characters" in refusal(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"prompt", mtime=0)[:-9], b"\x1f\x8b\x08\x00garbage-garbage"]
)
def test_what_is_packed_badly_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.jsonl.gz").write_bytes(content)
    assert "cannot be" in refusal(tmp_path / "p.jsonl.gz")
    (tmp_path / "p.parquet.gz").write_bytes(content)
    assert "unknown kind of file" in refusal(tmp_path / "p.parquet.gz")


def test_a_quote_that_is_never_closed_swallows_no_rows(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('prompt\n"one\ntwo\nthree\n', encoding="utf-8")
    assert "unexpected end of data" in refusal(tmp_path / "p.csv")


# Only what is asked for is read.


def test_in_the_order_of_the_file_nothing_is_read_beyond_the_rows_that_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\nno prompt\n', encoding="utf-8")
    dataset = DatasetConfig(path=tmp_path / "p.jsonl", order="as_is")
    assert [p.text for p in select_prompts(ExperimentConfig(model="m", dataset=dataset, n=2)).prompts] == ["a", "b"]
    with pytest.raises(ConfigError, match=r"p\.jsonl:3"):
        select_prompts(ExperimentConfig(model="m", dataset=dataset, n=3))


@pytest.mark.parametrize("order", ["as_is", "shuffled"])
def test_of_parquet_only_row_groups_with_chosen_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: Any
) -> None:
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"prompt": [f"p{i}" for i in range(1000)]}), path, row_group_size=10)
    groups = []
    whole = pq.ParquetFile.iter_batches

    def seen(self: Any, **given: Any) -> Any:
        groups.extend(given["row_groups"])
        return whole(self, **given)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", seen)
    config = ExperimentConfig(model="m", dataset=DatasetConfig(path=path, order=order), n=2)
    prompts = select_prompts(config).prompts
    # As json and pyarrow's whole table have it.
    (tmp_path / "p.jsonl").write_text("".join(f'{{"prompt": "p{i}"}}\n' for i in range(1000)), encoding="utf-8")
    same = config.model_copy(update={"dataset": DatasetConfig(path=tmp_path / "p.jsonl", order=order)})
    assert prompts == select_prompts(same).prompts
    assert [p.text for p in prompts] == [f"p{(p.row or 0) - 1}" for p in prompts]
    assert groups == sorted({((p.row or 0) - 1) // 10 for p in prompts})


def test_an_order_is_drawn_over_so_many_rows_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "MOST_SHUFFLED_ROWS", 3)
    (tmp_path / "p.txt").write_text("a\nb\nc\nd\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"4 rows, .*at most 3; set dataset\.order: as_is"):
        read_dataset(DatasetConfig(path=tmp_path / "p.txt"), Choice(n=1, random_seed=1))
    assert read_dataset(DatasetConfig(path=tmp_path / "p.txt"), Choice(n=1)).rows[0][0][0].content == "a"
