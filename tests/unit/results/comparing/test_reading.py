"""Groups of saved results by the names that people give."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.results.comparing.reading import read_groups
from llenergymeasure.results.persistence import save_result
from llenergymeasure.results.sums import mark_done

MakeRun = Callable[..., ExperimentResult]


def put(folder: Path, result: ExperimentResult) -> Path:
    folder.mkdir(parents=True)
    return save_result(result, folder)


@pytest.fixture
def study(tmp_path: Path, make_run: MakeRun) -> Path:
    """Two configurations twice each, and one experiment that failed."""
    for slot, (total_j, n) in enumerate(((80, 100), (90, 7), (81, 100), (91, 7))):
        mark_done(put(tmp_path / f"s/runs/{slot:04d}-h/attempt-1", make_run(total_j, n=n)).parent)
    (tmp_path / "s/runs/0004-h/attempt-1").mkdir(parents=True)
    return tmp_path / "s"


def energies(path: str | Path, place: int = 0) -> list[float | None]:
    return [result.total_energy_j for result in read_groups([path]).groups[place].results]


def test_a_result_is_named_by_its_folder_its_file_or_its_experiment(tmp_path: Path, study: Path) -> None:
    for name in (study / "runs/0001-h", study / "runs/0001-h/attempt-1", study / "runs/0001-h/attempt-1/result.json"):
        (group,) = read_groups([name]).groups
        assert (group.label, len(group.results), group.results[0].total_energy_j) == (str(name), 1, 90)


def test_a_study_is_a_group_for_each_configuration_against_one(study: Path) -> None:
    found = read_groups([study / "runs/0000-h", study])
    assert [[r.total_energy_j for r in group.results] for group in found.groups] == [[80], [80, 81], [90, 91]]
    (only,) = found.left_out
    assert (only.path, only.damaged) == (study / "runs/0004-h/attempt-1", False)


def test_the_first_is_one_configuration(study: Path) -> None:
    with pytest.raises(ConfigError, match="held against the first, which has 2 configurations"):
        read_groups([study, study / "runs/0000-h"])


def test_a_folder_of_results_and_studies_is_what_lies_in_it(tmp_path: Path, make_run: MakeRun, study: Path) -> None:
    put(tmp_path / "all/a", make_run(1))
    put(tmp_path / "all/b", make_run(2))
    put(tmp_path / "all/.c.llem-partial", make_run(3))
    (tmp_path / "all/notes").mkdir()
    study.rename(tmp_path / "all/s")
    found = read_groups([tmp_path / "all/a", tmp_path / "all"])
    assert [[r.total_energy_j for r in group.results] for group in found.groups] == [[1], [1, 2, 80, 81], [90, 91]]


def test_a_pattern_is_all_that_is_called_so_and_each_once(
    tmp_path: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, total_j in (("run_2", 2), ("run_1", 1), ("other", 3)):
        put(tmp_path / name, make_run(total_j))
    (tmp_path / "run_3").symlink_to(tmp_path / "run_1")
    monkeypatch.chdir(tmp_path)
    assert energies("run_*") == [1, 2]
    assert energies("run_*/result.json") == [1, 2]
    put(tmp_path / "with[1]", make_run(9))
    assert energies("with[1]") == [9]
    with pytest.raises(ConfigError, match="no such file or folder"):
        read_groups(["nothing_*"])


def test_a_result_that_cannot_be_read_is_left_out_of_many_and_an_error_alone(tmp_path: Path, make_run: MakeRun) -> None:
    put(tmp_path / "all/a", make_run(1))
    put(tmp_path / "all/b", make_run(2)).write_text("{", encoding="utf-8")
    found = read_groups([tmp_path / "all"])
    assert len(found.groups[0].results) == 1
    assert "no JSON" in found.left_out[0].reason
    with pytest.raises(ConfigError, match="no JSON"):
        read_groups([tmp_path / "all/b"])


@pytest.mark.parametrize("name", ["nowhere", "a\0b", "x" * 5000, "empty"])
def test_what_is_no_result_is_told(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no such file|no result in it|NUL|bytes"):
        read_groups([name])


def test_a_file_is_read_once_under_however_many_names(
    tmp_path: Path, make_run: MakeRun, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        put(tmp_path / "all" / name, make_run(1))
    found = read_groups([tmp_path / "all/a", tmp_path / "all", tmp_path / "all/a/result.json"])
    assert [group.runs for group in found.groups] == [
        (str(tmp_path / "all/a"),),
        (str(tmp_path / "all/a"), str(tmp_path / "all/b")),
        (str(tmp_path / "all/a"),),
    ]
    assert caplog.text.count("all/a/result.json: there is no DONE beside it") == 1


def test_what_cannot_be_used_is_told_once_under_however_many_names(tmp_path: Path, make_run: MakeRun) -> None:
    put(tmp_path / "all/a", make_run(1))
    put(tmp_path / "all/b", make_run(2)).write_text("{", encoding="utf-8")
    found = read_groups([tmp_path / "all", tmp_path / "all"])
    assert [each.path for each in found.left_out] == [tmp_path / "all/b/result.json"]


def test_a_result_that_was_edited_is_in_no_group(tmp_path: Path, make_run: MakeRun) -> None:
    file = put(tmp_path / "a", make_run(1))
    mark_done(file.parent)
    file.write_text(file.read_text(encoding="utf-8").replace('"n_requests": 1', '"n_requests": 2'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a/result.json: it is not the file that was written"):
        read_groups([tmp_path / "a"])
