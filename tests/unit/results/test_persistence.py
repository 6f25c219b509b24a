"""Result files and their folders: whole or absent, never overwritten."""

import json
import os
import re
import resource
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure._files import write_atomically
from llenergymeasure._folders import working_folder
from llenergymeasure.domain.result import SCHEMA_REVISION, ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.protocols import ResultsRepository
from llenergymeasure.results.persistence import (
    JsonRepository,
    create_directory,
    load_result,
    publish,
    result_file,
    safe_name,
    save_result,
    stamped_name,
)
from llenergymeasure.results.sums import mark_done
from tests.fakes.effort import examples
from tests.unit.results.conftest import values_of


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """Files cannot grow beyond the limit; the write fails halfway, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@settings(max_examples=examples(40), deadline=None)
@given(values_of(ExperimentResult))
def test_every_field_of_a_saved_result_comes_back_equal(result: ExperimentResult) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = save_result(result, Path(folder))
        assert path == Path(folder) / "result.json"
        loaded = ExperimentResult.from_json(path)
    assert loaded == result
    # Equality of models compares 1 with 1.0 and True; the text does not.
    assert loaded.model_dump_json() == result.model_dump_json()


def test_a_result_is_found_by_its_file_its_folder_and_by_text(result: ExperimentResult, tmp_path: Path) -> None:
    path = save_result(result, tmp_path)
    assert [ExperimentResult.from_json(p) for p in (path, tmp_path, str(path), str(tmp_path))] == [result] * 4


def test_of_an_experiment_in_a_study_the_newest_attempt_is_found(result: ExperimentResult, tmp_path: Path) -> None:
    slot = tmp_path / "runs" / "0005-0123456789abcdef"
    for number in (2, 10, 9):
        (slot / f"attempt-{number}").mkdir(parents=True)
        save_result(result.model_copy(update={"name": f"attempt {number}"}), slot / f"attempt-{number}")
    (slot / "attempt-99.partial").mkdir()
    assert load_result(slot).name == "attempt 10"
    assert result_file(slot / "attempt-2") == slot / "attempt-2" / "result.json"
    save_result(result, slot)
    assert load_result(slot) == result


def test_an_attempt_that_failed_is_not_passed_over_for_an_older_one(result: ExperimentResult, tmp_path: Path) -> None:
    (tmp_path / "attempt-1").mkdir()
    save_result(result, tmp_path / "attempt-1")
    (tmp_path / "attempt-2").mkdir()
    with pytest.raises(ConfigError, match=r"attempt-2/result.json: cannot be read: No such file"):
        load_result(tmp_path)


def test_the_folder_of_a_whole_study_says_where_its_results_are(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(ConfigError, match=f"{tmp_path}: this is a study; name one of the folders in {tmp_path}/runs"):
        load_result(tmp_path)


def test_the_json_repository_is_a_results_repository(result: ExperimentResult, tmp_path: Path) -> None:
    repository: ResultsRepository = JsonRepository()
    assert isinstance(repository, ResultsRepository)
    assert repository.load(repository.save(result, tmp_path)) == result


def test_the_file_is_json_with_the_canonical_names_and_without_the_aliases(
    result: ExperimentResult, tmp_path: Path
) -> None:
    values = json.loads(save_result(result, tmp_path).read_text(encoding="utf-8"))
    assert values["schema_version"] == "2.0"
    assert values["output_tokens"] == 4
    assert values["total_energy_j"] is None
    assert not {"energy_total_j", "total_flops"} & set(values)


@settings(max_examples=examples(60), deadline=None)
@given(data=st.data())
def test_a_torn_file_is_refused_by_name(data: st.DataObject) -> None:
    whole = data.draw(values_of(ExperimentResult)).model_dump_json(indent=2)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        path.write_text(whole[:cut], encoding="utf-8")
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            load_result(path)


@settings(max_examples=examples(60), deadline=None)
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_other_content_is_refused_and_never_a_traceback(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=re.escape(str(path))):
            load_result(path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema_version": "1.0"}, "its schema_version is '1.0', and this version reads '2.0'"),
        ({"schema_version": 2.0}, "its schema_version is 2.0, and this version reads '2.0'"),
        ({"output_tokens": "many"}, "schema 2.0: output_tokens"),
    ],
)
def test_another_schema_is_refused_with_the_field_named(
    result: ExperimentResult, tmp_path: Path, change: dict[str, object], named: str
) -> None:
    path = save_result(result, tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        load_result(path)


def test_a_file_without_a_schema_version_is_refused(result: ExperimentResult, tmp_path: Path) -> None:
    path = save_result(result, tmp_path)
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["schema_version"]
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ConfigError, match="schema_version"):
        load_result(path)


def test_missing_results_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path / 'result.json'}: cannot be read")):
        load_result(tmp_path)
    with pytest.raises(ConfigError, match=r"gone\.json: cannot be read"):
        load_result(tmp_path / "gone.json")


def test_a_full_disk_leaves_the_old_file_whole_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_atomically(path, "old")
    with full_disk(1000), pytest.raises(OSError, match="too large") as caught:
        write_atomically(path, "x" * 100_000)
    assert caught.value.filename == str(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert names_in(tmp_path) == {"result.json"}


def test_who_may_read_a_new_file_is_the_users_choice(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_leaves_no_new_file(result: ExperimentResult, tmp_path: Path) -> None:
    with full_disk(1000), pytest.raises(OSError, match="too large"):
        save_result(result, tmp_path)
    assert names_in(tmp_path) == set()


def test_text_that_cannot_be_encoded_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "file", "\ud800")
    assert names_in(tmp_path) == set()


def test_a_file_below_a_file_is_named_and_not_what_was_to_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        write_atomically(tmp_path / "file" / "result.json", "text")
    assert caught.value.filename == str(tmp_path / "file" / "result.json")


def test_a_folder_that_cannot_be_flushed_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    def refuse_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(22, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_atomically(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_a_folder_in_the_way_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "result.json", "text")
    assert names_in(tmp_path) == {"result.json"}


def test_an_absent_folder_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "absent" / "file", "text")
    assert names_in(tmp_path) == set()


@settings(max_examples=examples(60), deadline=None)
@given(st.text(max_size=200))
def test_a_safe_name_is_one_visible_plain_folder_name(name: str) -> None:
    safe = safe_name(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", safe)
    assert not safe.endswith((".", "-"))
    assert not PureWindowsPath(safe).is_reserved()
    assert safe_name(safe) == safe


# What a name may end or begin in that a file system takes for something else.
_ODD = st.sampled_from(["CON", "nul", "com1", "LPT9", "Aux", ".", "..", "-", "/", "\\", ":", "~", "a" * 99, "\0", "é"])


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(_ODD | st.text(max_size=3), max_size=5).map("".join))
def test_a_folder_of_any_name_stays_where_it_belongs(name: str) -> None:
    now = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as parent:
        for wanted in (safe_name(name), stamped_name(name, now)):
            assert not PureWindowsPath(wanted).is_reserved()
            # A file system that does not tell a from A must come to the same folder again, not into another's.
            made = create_directory(Path(parent), wanted)
            assert made.resolve().parent == Path(parent).resolve()
            # What working folders add to it, and numbers of folders that are there already.
            assert len(f".{made.name}_1000.01234567.llem-partial".encode()) <= 255


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plain-1.5_b", "plain-1.5_b"),
        ("org/model name", "org-model-name"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "run"),
        ("", "run"),
        ("模型", "run"),
        ("a" * 300, "a" * 100),
        ("a" * 99 + "..b", "a" * 99),
        ("CON", "run-CON"),
        ("nul.json", "run-nul.json"),
        ("com1..x", "run-com1..x"),
        ("console", "console"),
        ("com10", "com10"),
    ],
)
def test_safe_names(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_stamped_name_ends_in_the_utc_time() -> None:
    assert stamped_name("a/b", datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)) == "a-b_20260304T050607Z"


def test_existing_folders_are_numbered_around_and_never_touched(tmp_path: Path) -> None:
    parent = tmp_path / "new" / "parent"
    first = create_directory(parent, "run")
    (first / "kept").write_text("kept", encoding="utf-8")
    (parent / "run_1").write_text("a file in the way", encoding="utf-8")
    (parent / "run_2").symlink_to("nowhere")
    assert create_directory(parent, "run") == parent / "run_3"
    assert names_in(parent) == {"run", "run_1", "run_2", "run_3"}
    assert names_in(first) == {"kept"}
    assert names_in(parent / "run_3") == set()


_RACER = """
import sys
from pathlib import Path, PureWindowsPath
from llenergymeasure.results.persistence import create_directory, publish
from llenergymeasure._folders import working_folder
parent = Path(sys.argv[1])
sys.stdin.readline()
for number in range(30):
    path = create_directory(parent, "made")
    (path / "owner").write_text(sys.argv[2])
    print(path.name)
    with working_folder(parent, "run") as staging:
        (staging / "owner").write_text(sys.argv[2])
        print(publish(staging, parent, "run").name)
"""


def test_two_processes_at_once_never_share_a_folder(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    made = {name: racer.communicate()[0].split() for name, racer in zip("ab", racers, strict=True)}
    assert [racer.returncode for racer in racers] == [0, 0]
    expected = {stem if n == 0 else f"{stem}_{n}" for stem in ("made", "run") for n in range(60)}
    assert sorted(made["a"] + made["b"]) == sorted(expected)
    assert names_in(tmp_path) == expected
    for owner, names in made.items():
        assert {(tmp_path / name / "owner").read_text(encoding="utf-8") for name in names} == {owner}


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt(), SystemExit(3)])
def test_the_folder_to_work_in_is_gone_after_any_exception(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), working_folder(tmp_path / "out", "run") as staging:  # noqa: PT012
        (staging / "deep").mkdir()
        (staging / "deep" / "file").write_text("half", encoding="utf-8")
        assert staging.parent == tmp_path / "out"
        assert staging.name.startswith(".")
        raise error
    assert names_in(tmp_path / "out") == set()


def test_publishing_gives_a_free_final_name_with_everything_in_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with working_folder(tmp_path, "run") as staging:
        (staging / "file").write_text("whole", encoding="utf-8")
        target = publish(staging, tmp_path, "run")
    assert target == tmp_path / "run_1"
    assert (target / "file").read_text(encoding="utf-8") == "whole"
    assert names_in(tmp_path) == {"run", "run_1"}
    assert names_in(tmp_path / "run") == set()


def test_a_folder_that_cannot_be_published_leaves_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "was-taken-away", tmp_path, "run")
    assert names_in(tmp_path) == set()


def test_what_a_later_revision_has_more_is_left_out_and_that_is_said(
    result: ExperimentResult, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = save_result(result, tmp_path)
    written = json.loads(path.read_text(encoding="utf-8"))
    written |= {"schema_revision": 99, "a_field_of_the_future": 1}
    written["warmup_result"]["another"] = [1]
    path.write_text(json.dumps(written), encoding="utf-8")
    mark_done(tmp_path)
    assert load_result(path) == result.model_copy(update={"schema_revision": 99})
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith(f"result {path} is of revision 99, and this version knows {SCHEMA_REVISION}: left out: ")
    assert said.endswith("a_field_of_the_future, warmup_result.another")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", "[" * 100_000, '{"schema_version": NaN}'])
def test_what_is_no_result_at_all_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^result {re.escape(str(path))}: "):
        load_result(path)


def test_nobodys_home_and_nobodys_secret_is_in_a_saved_result(
    result: ExperimentResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    environment = replace(result.environment_snapshot, engine={"build": "/home/me/src", "token": "0123456789abcdef"})
    path = save_result(result.model_copy(update={"environment_snapshot": environment}), tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "/home/me" not in text
    assert "0123456789abcdef" not in text
    assert load_result(path).environment_snapshot.engine == {"build": "~/src", "token": "${SOME_API_KEY}"}


@pytest.mark.parametrize("name", ["a\0b", "a\udcffb", "x" * 256, "/dev/zero", "/dev/null"])
def test_what_is_no_file_is_no_result(name: str) -> None:
    with pytest.raises(ConfigError):
        load_result(Path(name))


def test_a_pipe_is_no_result_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no regular file"):
        load_result(tmp_path / "pipe")


def test_a_file_that_is_too_large_is_no_result(tmp_path: Path) -> None:
    with (tmp_path / "result.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ConfigError, match="over 67 MB"):
        load_result(tmp_path)


def test_a_result_is_found_from_home_on(
    result: ExperimentResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_result(result, tmp_path)
    assert load_result(Path("~")) == load_result(Path("~/result.json")) == result
