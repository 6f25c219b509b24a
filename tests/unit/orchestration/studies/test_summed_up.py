"""What a study that was run gives, and what its folder has, are the same figures."""

import csv
from pathlib import Path

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.studies.execute import execute_study, resume_study
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.rows import rows
from llenergymeasure.results.study.summary import Summing
from tests.unit.orchestration.conftest import Bench, study_of


def executed(bench: Bench, folder: Path | None) -> StudyResult:
    execution = StudyExecutionConfig(cycles=3, stop_after_failures=None)
    return execute_study(study_of("a", "b", output_dir=folder, execution=execution), bench.options())


def test_figures_of_a_study_are_those_of_its_folder(bench: Bench, tmp_path: Path) -> None:
    bench.errors["b"] = BackendError("no such weights")
    study = executed(bench, tmp_path)
    assert study.output_dir is not None
    directory = StudyDirectory(study.output_dir)
    assert study.summary == Summing(directory.plan()).of(rows(directory, directory.plan()))
    # Four tokens in two seconds.
    assert study.summary is not None
    assert [row.metrics["tokens_per_second"].value for row in study.summary.rows] == [2.0, None]
    assert [(row.n_finished, row.n_failed) for row in study.summary.rows] == [(3, 0), (0, 3)]
    with (study.output_dir / "summary.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["name"], first["tokens_per_second"], second["n_failed"]) == ("a", "2.0", "3")
    assert study.problems == []


def test_a_study_without_a_folder_has_the_same_figures(bench: Bench, tmp_path: Path) -> None:
    kept, given = executed(bench, tmp_path).summary, executed(bench, None).summary
    assert kept is not None
    assert given is not None
    assert given.rows == kept.rows
    assert given.cautions == kept.cautions


def test_what_is_gone_on_with_is_summed_up_whole(bench: Bench, tmp_path: Path) -> None:
    bench.errors["b"] = KeyboardInterrupt()
    study_dir = tmp_path / "out"
    try:
        executed(bench, study_dir)
    except KeyboardInterrupt:
        bench.errors.clear()
    (folder,) = study_dir.iterdir()
    study = resume_study(folder, bench.options())
    assert study.summary is not None
    assert [row.n_finished for row in study.summary.rows] == [3, 3]
