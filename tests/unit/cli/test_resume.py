"""``llem run --resume``."""

from pathlib import Path

import pytest
import yaml

from llenergymeasure.config.loader import load_study_config
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration.studies.execute import execute_study
from tests.unit.cli.test_studies import Llem, told
from tests.unit.orchestration.conftest import Bench

FILE = {
    "model": "m", "energy": {"backend": None}, "sweep": {"n": [1, 2]},
    "execution": {"cycles": 1, "order": "sequential"},
}  # fmt: skip


def ran(folder: Path, errors: bool = False) -> tuple[Path, Path]:
    """A study of a file that is through; the file and the folder."""
    file = folder / "study.yaml"
    file.write_text(yaml.safe_dump(FILE), encoding="utf-8")
    bench = Bench()
    if errors:
        bench.errors["None"] = ExperimentError("no")
    given = load_study_config(file).model_copy(update={"output_dir": folder / "out"})
    execute_study(given, bench.options())
    (path,) = (folder / "out").iterdir()
    return file, path


def test_what_is_through_is_printed_again_and_nothing_is_run(tmp_path: Path, plain_llem: Llem) -> None:
    file, path = ran(tmp_path)
    for given in ([], [str(file)]):
        code, out = told(plain_llem, "run", "--resume", path, "-q", *given)
        assert code == 0, out
        assert "2 experiments, 0 failed" in out
        assert f"results: {path}" in out
    code, _ = told(plain_llem, "run", "--resume", path, "--check", "-q", "--export-csv", tmp_path / "a.csv")
    assert code == 0
    assert len((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()) == 3


def test_a_failure_is_exit_code_1_also_when_going_on(tmp_path: Path, plain_llem: Llem) -> None:
    _, path = ran(tmp_path, errors=True)
    code, out = told(plain_llem, "run", "--resume", path, "-q")
    assert code == 1
    assert "ExperimentError: no" in out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sweep": {"n": [1, 3]}}, "configuration 1: n 2 in the folder, 3 in the file"),
        ({"sweep": {"n": [1, 2, 3]}}, "2 configurations in the folder, 3 in the file"),
        ({"execution": {"cycles": 2, "order": "sequential"}}, "1 runs of each in the folder, 2 in the file"),
        (
            {"execution": {"cycles": 1, "order": "sequential", "retries": 3}},
            "execution.retries 0 in the folder, 3 in the",
        ),
        ({"quality": True}, "configuration 0: quality"),
        ({"model": "other"}, "configuration 0: model 'm' in the folder, 'other' in the file"),
    ],
)
def test_a_changed_file_is_refused_with_the_difference(
    tmp_path: Path, plain_llem: Llem, change: dict[str, object], said: str
) -> None:
    file, path = ran(tmp_path)
    file.write_text(yaml.safe_dump({**FILE, **change}), encoding="utf-8")
    code, out = told(plain_llem, "run", str(file), "--resume", path)
    assert code == 2
    assert "the file is another study than the one in the folder" in out
    assert said in out


def test_how_many_workers_there_are_makes_no_other_study(tmp_path: Path, plain_llem: Llem) -> None:
    file, path = ran(tmp_path)
    changed = {**FILE, "execution": {"cycles": 1, "order": "sequential", "workers": "per_gpu"}}
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    code, out = told(plain_llem, "run", str(file), "--resume", path, "-q")
    assert code == 0, out
    assert "2 experiments, 0 failed" in out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--batch-size", "4"], "--batch-size cannot go with --resume"),
        (["--set", "n=3"], "--set cannot go with --resume"),
        (["-o", "x"], "--output cannot go with --resume"),
        (["--dry-run"], "--dry-run cannot go with --resume"),
    ],
)
def test_nothing_that_changes_the_study_goes_with_it(
    tmp_path: Path, plain_llem: Llem, given: list[str], said: str
) -> None:
    _, path = ran(tmp_path)
    code, out = told(plain_llem, "run", "--resume", path, *given)
    assert (code, said in out) == (2, True), out


def test_sums_are_checked_only_when_going_on(tmp_path: Path, plain_llem: Llem) -> None:
    code, out = told(plain_llem, "run", "--model", "m", "--check")
    assert (code, "--check goes with --resume DIR" in out) == (2, True)
    code, out = told(plain_llem, "run", "--resume", tmp_path)
    assert (code, "this is no folder of a study" in out) == (2, True)


def test_no_result_is_read_but_where_it_is_asked_for(tmp_path: Path, plain_llem: Llem) -> None:
    _, path = ran(tmp_path)
    for file in path.glob("runs/*/attempt-1/result.json"):
        # As long as before, so that names and sizes are those that were left.
        file.write_bytes(bytes(file.stat().st_size))
    code, out = told(plain_llem, "run", "--resume", path, "-q")
    assert (code, "2 experiments, 0 failed" in out) == (0, True), out
    code, out = told(plain_llem, "worker", path, "-q")
    assert (code, "of all 2 runs 2 have finished and 0 failed" in out) == (0, True), out
    for asked in (["--export-csv", tmp_path / "a.csv"], ["--intensity", "100"]):
        code, out = told(plain_llem, "run", "--resume", path, "-q", *asked)
        assert code == 1
        lines = [line for line in out.splitlines() if line.startswith("llem: result ")]
        assert len(lines) == 2, "each is told once"
        assert all("/result.json: this is no JSON" in line for line in lines)
        assert "2 experiments, 0 failed" in out
    assert len((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_footprints_stand_beneath_the_table_also_when_going_on(tmp_path: Path, plain_llem: Llem) -> None:
    _, path = ran(tmp_path)
    code, out = told(plain_llem, "run", "--resume", path, "-q", "--intensity", "100")
    assert code == 0, out
    assert out.count("none was measured, so it has neither carbon nor cost") == 2


def test_columns_of_the_csv_are_those_of_the_plan(tmp_path: Path, plain_llem: Llem) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(FILE), encoding="utf-8")
    bench = Bench()
    given = load_study_config(file).model_copy(update={"output_dir": tmp_path / "out"})
    (path,) = [execute_study(given, bench.options()).output_dir]
    assert path is not None
    (second,) = path.glob("runs/0001-*/attempt-1")
    (second / "DONE").unlink()
    (second / "failure.json").write_text(
        '{"slot": 1, "name": "b", "measurement_config_hash": "0", "error_type": "ExperimentError", "message": "no"}',
        encoding="utf-8",
    )
    code, _ = told(plain_llem, "run", "--resume", path, "-q", "--export-csv", tmp_path / "a.csv")
    assert code == 1
    header, *rows = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()
    # One row alone differs from nothing; the plan has two values of it.
    assert (len(rows), "n" in header.split(",")) == (1, True)
