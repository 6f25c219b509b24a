"""``DONE`` says that a result is whole, and by name what is no longer as it was written."""

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.outputs import read_outputs
from llenergymeasure.results.persistence import load_result, save_result
from llenergymeasure.results.reading import results_in, rows_in
from llenergymeasure.results.sums import finish_rewriting, has_sums, mark_done, problem_of, problems_with, rewrite
from tests.fakes.effort import examples
from tests.unit.results.test_outputs import in_lists


@pytest.fixture
def run(result: ExperimentResult, tmp_path: Path) -> Path:
    """A result with its table of outputs, whole."""
    folder = tmp_path / "run"
    folder.mkdir()
    pq.write_table(pa.table({"index": [0], "answer": [0], "token_ids": [[7, 8]]}), folder / "outputs.parquet")
    save_result(result.model_copy(update={"outputs": "outputs.parquet"}), folder)
    mark_done(folder)
    return folder


def test_done_lists_the_sha_256_of_every_other_file(tmp_path: Path) -> None:
    contents = {
        "result.json": b"{}",
        ".state/process_0.json": b"\x00\xff",
        "deep/er/DONE": b"of another",
        "log.txt": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert mark_done(tmp_path) == tmp_path / "DONE"
    expected = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    assert json.loads((tmp_path / "DONE").read_text(encoding="utf-8")) == expected
    mark_done(tmp_path)
    assert json.loads((tmp_path / "DONE").read_text(encoding="utf-8")) == expected


@pytest.mark.linux
def test_the_disk_has_every_file_before_the_sums_get_their_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "log.txt").write_text("written by a handler that flushes nothing", encoding="utf-8")
    (run / ".state").mkdir()
    (run / ".state" / "process_0.json").write_text("{}", encoding="utf-8")
    events: list[str] = []
    fsync, replace = os.fsync, os.replace

    def flushed(descriptor: int) -> None:
        events.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        events.append(f"-> {Path(target).name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    mark_done(run)
    at = events.index("-> DONE")
    assert {"log.txt", "result.json", "outputs.parquet", "process_0.json", ".state"} <= set(events[:at])
    assert events[at - 1].endswith(".tmp")
    assert events[at + 1 :] == ["run", run.parent.name]


def test_a_whole_result_is_read_without_a_word(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_result(run)
    assert in_lists(run) == {0: [[7, 8]]}
    assert caplog.text == ""
    assert has_sums(run / "result.json")


def test_a_result_without_sums_says_so(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "DONE").unlink()
    assert not has_sums(run / "result.json")
    load_result(run)
    assert f"{run}/result.json: there is no DONE beside it, so nothing says that it is whole" in caplog.text


def test_results_of_before_single_ones_had_sums_say_nothing(
    result: ExperimentResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_result(result.model_copy(update={"schema_revision": 4}), tmp_path)
    load_result(tmp_path)
    assert caplog.text == ""


def test_an_edited_result_is_named(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = run / "result.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"n_requests": ', '"n_requests": 1'), encoding="utf-8")
    load_result(run)
    assert f"{file}: it is not the file that was written: its SHA-256 is not the one in DONE" in caplog.text


def test_a_table_of_other_tokens_is_named_where_it_is_read(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = run / "outputs.parquet"
    pq.write_table(pa.table({"index": [0], "answer": [0], "token_ids": [[7, 9]]}), table)
    assert in_lists(run) == {0: [[7, 9]]}
    assert f"{table}: it is not the file that was written" in caplog.text


def test_a_file_that_is_gone_is_named(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "outputs.parquet").unlink()
    load_result(run)
    assert f"{run}/outputs.parquet: it is gone" in caplog.text


def test_a_file_that_came_later_is_named(run: Path) -> None:
    (run / "more.json").write_text("{}", encoding="utf-8")
    assert problem_of(run / "more.json") == (
        f"{run}/more.json: DONE has no sum of it, so it was added after the result was whole"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is torn or was edited"), (b'{"result.json": "ab', "it is torn or was edited"),
        (b"\xff\xfe", "it is torn or was edited"), (b"[" * 100_000, "it is torn or was edited"),
        (b"[]", "it is no list of sums"), (b'{"result.json": 1}', "it is no list of sums"),
        (b'{"../other/result.json": "ab"}', "it is no list of sums"),
        (b'{"/etc/passwd": "ab"}', "it is no list of sums"),
        (b'{"a\\u0000b": "ab"}', "it is no list of sums"), (b'{"": "ab"}', "it is no list of sums"),
    ],
)  # fmt: skip
def test_sums_that_are_none_are_told(content: bytes, said: str, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / "DONE").write_bytes(content)
    load_result(run)
    assert f"{run}/DONE: {said}" in caplog.text
    with pytest.raises(ConfigError, match=said):
        rewrite(run / "result.json", "{}")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_in_the_place_of_the_sums_is_told(
    kind: str, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (run / "DONE").unlink()
    (run / "DONE").mkdir() if kind == "folder" else os.mkfifo(run / "DONE")
    load_result(run)
    assert f"{run}/DONE: cannot be read" in caplog.text


@settings(max_examples=examples(100), deadline=None)
@given(content=st.binary(max_size=40), place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_every_bit_counts(content: bytes, place: int, bit: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(content + b"end")
        mark_done(Path(folder))
        assert problem_of(file) is None
        changed = bytearray(file.read_bytes())
        changed[place % len(changed)] ^= 1 << bit
        file.write_bytes(changed)
        assert problem_of(file) is not None
        assert problems_with(file, content + b"end") == []
        assert problems_with(file, bytes(changed)) == [problem_of(file)]


def test_of_a_link_from_elsewhere_the_sums_are_those_of_what_it_leads_to(run: Path, tmp_path: Path) -> None:
    link = tmp_path / "named-otherwise.json"
    link.symlink_to(run / "result.json")
    assert (has_sums(link), problem_of(link)) == (True, None)
    (run / "result.json").write_text("{}", encoding="utf-8")
    assert problem_of(link) == f"{link}: it is not the file that was written: its SHA-256 is not the one in DONE"


def test_a_link_out_of_a_whole_folder_is_held_against_its_sums(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}", encoding="utf-8")
    (run / "result.json").unlink()
    (run / "result.json").symlink_to(other)
    assert (problem_of(run / "result.json") or "").startswith(f"{run}/result.json: it is not the file that was written")


def test_a_file_is_rewritten_together_with_its_sum(run: Path) -> None:
    before = json.loads((run / "DONE").read_text(encoding="utf-8"))
    rewrite(run / "result.json", "other")
    sums = json.loads((run / "DONE").read_text(encoding="utf-8"))
    assert sums == before | {"result.json": hashlib.sha256(b"other").hexdigest()}
    assert sorted(path.name for path in run.iterdir()) == ["DONE", "outputs.parquet", "result.json"]


def test_what_was_added_later_is_not_vouched_for(run: Path) -> None:
    (run / "DONE").write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match="it is not the file that was written"):
        rewrite(run / "result.json", "other")
    assert problem_of(run / "result.json") is not None


def test_a_rewriting_that_was_killed_between_its_two_names_is_done_to_its_end(run: Path) -> None:
    before = (run / "result.json").read_bytes()
    rewrite(run / "result.json", "other")
    # DONE has its name, and the text has not.
    (run / "result.json").write_bytes(before)
    (run / ".0123.tmp").write_text("other", encoding="utf-8")
    (run / ".0124.tmp").write_text("of something else", encoding="utf-8")
    finish_rewriting(run / "result.json")
    assert (run / "result.json").read_text(encoding="utf-8") == "other"
    assert problem_of(run / "result.json") is None
    finish_rewriting(run / "result.json")
    # What was changed by others stays, and is told.
    (run / "result.json").write_text("{}", encoding="utf-8")
    finish_rewriting(run / "result.json")
    assert problem_of(run / "result.json") is not None


def test_where_nothing_was_whole_nothing_comes_to_look_so(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("one", encoding="utf-8")
    rewrite(tmp_path / "result.json", "other")
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_what_is_told_of_files_is_one_line_whatever_their_names(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    named = run.rename(tmp_path / "x\nforged\x1b")
    (named / "outputs.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_outputs(named)
    (named / "outputs.parquet").unlink()
    result = json.loads((named / "result.json").read_bytes())
    changed = result | {"schema_revision": 99, "new\nforged": 1, "definitions": {"total_energy_j": 99}}
    (named / "result.json").write_text(json.dumps(changed), encoding="utf-8")
    load_result(named)
    (named / "DONE").write_text("{", encoding="utf-8")
    load_result(named)
    (named / "DONE").unlink()
    load_result(named)
    told = caplog.messages
    for words in ("outputs.parquet: it is not", "it is gone", "left out: new", "later definitions", "not the file that",
                  "it is torn", "no DONE beside it"):  # fmt: skip
        assert any(words in message for message in told), words
    assert all("x\\nforged\\x1b" in message for message in told)
    assert not any(sign in message for message in told for sign in "\n\x1b")


# An audit hook stays for good; it notes what is opened while somebody wants to know.
_opened: list[list[str]] = []


def _note(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened:
        _opened[-1].append(os.path.basename(os.fsdecode(args[0])) if isinstance(args[0], (str, bytes)) else "")  # noqa: PTH119


sys.addaudithook(_note)


@pytest.mark.parametrize("read", [lambda run: list(results_in(run)), lambda run: list(rows_in(run)), load_result])
def test_done_is_read_once_for_each_result(run: Path, read: Callable[[Path], object]) -> None:
    _opened.append([])
    try:
        read(run)
    finally:
        names = _opened.pop()
    assert (names.count("result.json"), names.count("DONE")) == (1, 1)
