"""Studies whose paths are relative, gone on with from elsewhere."""

import json
import logging
import os
import shutil
from pathlib import Path

import pytest

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.studies.execute import carry_out, go_on, work_on
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.unit.orchestration.conftest import Bench


def of(folder: Path, **fields: object) -> StudyConfig:
    experiments = [ExperimentConfig.model_validate({"model": "a/model", "n": n, **fields}) for n in (1, 2)]
    return StudyConfig(
        experiments=experiments, output_dir=folder, execution=StudyExecutionConfig(order="sequential", cycles=1)
    )


class Reading:
    """Runs that read the prompts that they are given; ``stops_at`` runs are interrupted."""

    def __init__(self, stops_at: int = -1) -> None:
        self.stops_at = stops_at
        self.read: list[str] = []

    def run(self, plan: ExperimentPlan) -> RawProcessResult:
        if len(self.read) == self.stops_at:
            raise KeyboardInterrupt
        assert plan.config.dataset.path is not None
        self.read.append(plan.config.dataset.path.read_text(encoding="utf-8"))
        return fake_process_result(plan)


def options(bench: Bench, reading: Reading) -> RunOptions:
    return bench.options(launcher=FakeLauncher(reading.run))


@pytest.fixture
def begun(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study that was planned in ``a`` and interrupted after the first of two runs; it is gone on with from ``b``."""
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "prompts.jsonl").write_text(f"those of {name}", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "a")
    reading = Reading(stops_at=1)
    with pytest.raises(KeyboardInterrupt):
        carry_out(of(Path("out"), dataset="prompts.jsonl"), options(bench, reading))
    assert reading.read == ["those of a"]
    (folder,) = (tmp_path / "a" / "out").iterdir()
    monkeypatch.chdir(tmp_path / "b")
    return folder


def test_files_are_those_of_where_it_was_planned(
    begun: Path, bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reading = Reading()
    with caplog.at_level(logging.INFO):
        outcome = go_on(Path("..", "a", "out", begun.name), options(bench, reading))
    assert reading.read == ["those of a"]
    assert (outcome.n_results, outcome.is_well) == (2, True)
    assert f"paths in the plan are read from {tmp_path / 'a'}" in caplog.text
    # Back where it was called, and with the folder as it was given.
    assert Path.cwd() == tmp_path / "b"
    assert outcome.output_dir == Path("..", "a", "out", begun.name)
    # The configuration is the one that was given, by its text and so by its hash.
    assert {str(result.effective_config["dataset"]["path"]) for result in outcome.results(print)} == {"prompts.jsonl"}


def test_another_worker_reads_the_same(begun: Path, bench: Bench, tmp_path: Path) -> None:
    reading = Reading()
    assert work_on(begun, options(bench, reading)).n_finished == 1
    assert (reading.read, Path.cwd()) == (["those of a"], tmp_path / "b")


def test_one_that_is_ended_is_back_too(begun: Path, bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        go_on(begun, options(bench, Reading(stops_at=0)))
    assert Path.cwd() == tmp_path / "b"


def test_where_that_folder_is_gone_nothing_is_run(begun: Path, bench: Bench, tmp_path: Path) -> None:
    moved = tmp_path / "study"
    begun.rename(moved)
    shutil.rmtree(tmp_path / "a")
    reading = Reading()
    with pytest.raises(
        ConfigError, match="cannot be entered here: No such file or directory; go on where it is"
    ) as told:
        go_on(moved, options(bench, reading))
    assert str(tmp_path / "a") in str(told.value)
    assert reading.read == []


def test_one_that_is_through_is_shown_without_them(begun: Path, bench: Bench, tmp_path: Path) -> None:
    go_on(begun, options(bench, Reading()))
    moved = begun.rename(tmp_path / "study")
    shutil.rmtree(tmp_path / "a")
    outcome = go_on(moved, options(bench, Reading()))
    assert (outcome.n_results, outcome.is_well) == (2, True)


def test_a_plan_of_before_is_read_and_its_paths_as_then(begun: Path, bench: Bench) -> None:
    file = begun / "plan.json"
    plan = json.loads(file.read_text(encoding="utf-8"))
    del plan["working_directory"]
    file.write_text(json.dumps(plan), encoding="utf-8")
    reading = Reading()
    go_on(begun, options(bench, reading))
    assert reading.read == ["those of b"]


@pytest.mark.parametrize("given", ["a/model", "mine"])
def test_a_folder_is_kept_only_where_something_in_it_is_named(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    # Its home is this folder, and the study is planned in one below.
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    carry_out(of(tmp_path / "out", model=given), bench.options())
    (folder,) = (tmp_path / "out").iterdir()
    kept = StudyDirectory(folder).plan().working_directory
    assert kept == (None if given == "a/model" else "~/here")


def test_variables_that_name_folders_mean_the_same_ones(
    bench: Bench, begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path.cwd()
    monkeypatch.setenv("LLENERGYMEASURE_LOCKS", "locks")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["mine", "/theirs"]))
    go_on(begun, options(bench, Reading()))
    assert os.environ["LLENERGYMEASURE_LOCKS"] == str(here / "locks")
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(here / "mine"), "/theirs"])
    assert not (here.parent / "a" / "locks").exists()
