"""Finding and reading saved results: which, in which order, once each, and what is passed over."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.result import ExperimentFailure
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.reading import Skipped, results_in, rows_in
from llenergymeasure.results.sums import mark_done

RawOf = Callable[..., RawProcessResult]


@pytest.fixture
def put(raw_of: RawOf) -> Callable[..., Path]:
    """Saves a result of the folder's name, with its sums unless none are wanted."""

    def save(folder: Path, *, sums: bool = False) -> Path:
        folder.mkdir(parents=True)
        save_result(ExperimentResult.from_processes([raw_of(name=folder.name)]), folder)
        if sums:
            mark_done(folder)
        return folder

    return save


Put = Callable[..., Path]


def study(put: Put, folder: Path) -> Path:
    """Two results, one that failed, one that runs."""
    for slot in ("0000-a", "0003-d"):
        put(folder / "runs" / slot / "attempt-1", sums=True)
    failed = folder / "runs" / "0001-b" / "attempt-1"
    failed.mkdir(parents=True)
    failure = ExperimentFailure(
        slot=1, name="b", measurement_config_hash="b", error_type="BackendError", message="no memory"
    )
    (failed / "failure.json").write_text(failure.model_dump_json(), encoding="utf-8")
    (folder / "runs" / "0002-c" / "attempt-1").mkdir(parents=True)
    (folder / "plan.json").write_text("{}", encoding="utf-8")
    return folder


def folders(*paths: Path | str, skipped: list[Skipped] | None = None) -> list[str]:
    """Where the results lie, below the last part of the folder that pytest gave; whole results and rows alike."""
    told: list[Skipped] = []
    rows = [str(row.folder) for row in rows_in(paths, told.append)]
    assert rows == [str(result.folder) for result in results_in(paths, lambda each: None)]
    if skipped is not None:
        skipped += told
    return rows


def test_folders_studies_files_and_patterns_give_results_in_the_order_of_their_names(put: Put, tmp_path: Path) -> None:
    b, a = put(tmp_path / "b"), put(tmp_path / "a")
    study(put, tmp_path / "s")
    of_the_study = [str(tmp_path / "s" / "runs" / slot / "attempt-1") for slot in ("0000-a", "0003-d")]
    assert folders(tmp_path) == [str(a), str(b), *of_the_study]
    assert folders(b, a) == [str(b), str(a)]
    assert folders(a / "result.json") == [str(a)]
    assert folders(tmp_path / "s") == of_the_study
    assert folders(tmp_path / "s" / "runs" / "0003-d") == of_the_study[1:]
    assert folders(str(tmp_path / "[ab]")) == [str(a), str(b)]
    assert folders(str(tmp_path / "s" / "**" / "result.json")) == of_the_study


def test_a_result_that_is_named_twice_comes_once(put: Put, tmp_path: Path) -> None:
    a = put(tmp_path / "a")
    (tmp_path / "link").symlink_to(a)
    assert folders(a, tmp_path, a / "result.json", tmp_path / "link") == [str(a)]


def test_of_several_attempts_the_newest_counts_by_number(put: Put, tmp_path: Path) -> None:
    for attempt in ("attempt-2", "attempt-10"):
        put(tmp_path / "runs" / "0000-a" / attempt, sums=True)
    assert folders(tmp_path) == [str(tmp_path / "runs" / "0000-a" / "attempt-10")]


def test_an_unfinished_study_tells_what_is_missing_and_costs_nothing_else(put: Put, tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    assert len(folders(study(put, tmp_path / "s"), skipped=skipped)) == 2
    assert [(each.path.parent.name, each.reason, each.damaged) for each in skipped] == [
        ("0001-b", "it failed: BackendError: no memory", False),
        ("0002-c", "there is no result.json: it is running, or was ended", False),
    ]


def _torn(folder: Path) -> None:
    path = folder / "result.json"
    path.write_bytes(path.read_bytes()[:200])


def _foreign(folder: Path) -> None:
    (folder / "result.json").write_text('{"schema_version": "1.0"}', encoding="utf-8")


def _edited(folder: Path) -> None:
    mark_done(folder)
    path = folder / "result.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"n_requests": 1', '"n_requests": 2'), encoding="utf-8")


def _no_sum(folder: Path) -> None:
    (folder / "DONE").write_text('{"log.txt": "0"}', encoding="utf-8")


def _sums_torn(folder: Path) -> None:
    (folder / "DONE").write_text("{", encoding="utf-8")


def _a_pipe(folder: Path) -> None:
    (folder / "result.json").unlink()
    os.mkfifo(folder / "result.json")


def _a_folder(folder: Path) -> None:
    (folder / "result.json").unlink()
    (folder / "result.json").mkdir()


def _dangling(folder: Path) -> None:
    (folder / "result.json").unlink()
    (folder / "result.json").symlink_to(folder / "nothing")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_torn, "this is no JSON"),
        (_foreign, "its schema_version is '1.0', and this version reads '2.0'"),
        (_edited, "its SHA-256 is not the one in DONE"),
        (_no_sum, "DONE has no sum of it"),
        (_sums_torn, "it is torn or was edited"),
        (_a_pipe, "it is no regular file"),
        (_a_folder, "it is a folder"),
        (_dangling, "No such file"),
    ],
)
def test_what_is_damaged_is_told_with_its_reason_and_the_rest_is_read(
    put: Put, tmp_path: Path, damage: Callable[[Path], None], said: str
) -> None:
    good = [put(tmp_path / name) for name in ("a", "c")]
    damage(put(tmp_path / "b"))
    skipped: list[Skipped] = []
    assert folders(tmp_path, skipped=skipped) == [str(folder) for folder in good]
    (only,) = skipped
    assert (only.path, only.damaged) == (tmp_path / "b" / "result.json", True)
    assert said in only.reason
    whole: list[Skipped] = []
    list(results_in(tmp_path, whole.append))
    assert [(each.path, each.damaged) for each in whole] == [(only.path, True)]
    with pytest.raises(ConfigError) as caught:
        list(results_in(tmp_path))
    assert str(only.path) in str(caught.value)


def test_an_attempt_of_a_study_without_sums_was_not_finished(put: Put, tmp_path: Path) -> None:
    attempt = put(tmp_path / "runs" / "0000-a" / "attempt-1")
    skipped: list[Skipped] = []
    assert folders(tmp_path, skipped=skipped) == []
    assert [(each.reason, each.damaged) for each in skipped] == [
        ("there is no DONE with its sum beside it, so it was not finished", True)
    ]
    # Whoever names it wants it.
    assert folders(attempt) == folders(attempt.parent) == [str(attempt)]


def test_a_result_that_could_not_be_finished_is_told(put: Put, tmp_path: Path) -> None:
    folder = put(tmp_path / "a")
    (folder / "result.json").rename(folder / "result.unfinished.json")
    put(tmp_path / "b")
    skipped: list[Skipped] = []
    assert len(folders(tmp_path, skipped=skipped)) == 1
    assert skipped[0].reason.startswith("result.unfinished.json: not all of it could be written")


def test_links_to_folders_are_named_and_not_followed_and_hidden_folders_are_nothing(put: Put, tmp_path: Path) -> None:
    put(tmp_path / "a" / "b")
    put(tmp_path / ".a.llem-partial")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    skipped: list[Skipped] = []
    assert folders(tmp_path, skipped=skipped) == [str(tmp_path / "a" / "b")]
    assert [(each.path.name, each.damaged) for each in skipped] == [("loop", False)]


@pytest.mark.parametrize(
    ("given", "said"),
    [("absent", "no such file"), ("empty", "no result in it"), ("no-*", "no such file"), ("a\0", "NUL")],
)
def test_a_path_without_results_is_an_error_that_names_it(tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=said):
        list(rows_in(f"{tmp_path}/{given}"))


def test_a_file_with_another_name_is_read_where_it_is_named(put: Put, tmp_path: Path) -> None:
    folder = put(tmp_path / "a")
    (folder / "result.json").rename(folder / "mine.json")
    assert folders(folder / "mine.json") == [str(folder)]


def test_a_result_knows_its_folder_and_no_file_has_it(put: Put, tmp_path: Path) -> None:
    folder = put(tmp_path / "a")
    (result,) = results_in(folder)
    assert result.folder == folder
    assert "folder" not in json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert "folder" not in result.model_dump()
    assert result == result.kept_in(None)
    assert result.kept_in(None).folder is None
    assert result != result.model_copy(update={"n_requests": 2})
