"""Going on with a study: what is asked for is what is left, and by whom it was looked at."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from llenergymeasure.config.execution import StopConfig, StudyExecutionConfig
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ConfigError, PreFlightError
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.studies.execute import go_on, resume_study, work_on
from llenergymeasure.results.study.directory import mark_damaged
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.fakes.distributions import TOY
from tests.unit.conftest import Install
from tests.unit.orchestration.conftest import Bench
from tests.unit.orchestration.studies.test_worker import executed, names_of, of

# Its model is a file that says in what it computes.
READS_A_FILE = TOY.replace('return "fp16"', "from pathlib import Path; return Path(config.model).read_text()")


def test_what_is_found_damaged_later_is_for_whoever_found_it(bench: Bench, tmp_path: Path) -> None:
    path = executed(bench, of(tmp_path, "ab")).output_dir
    assert path is not None
    (first,), (second,) = path.glob("runs/0000-*"), path.glob("runs/0001-*")
    shutil.rmtree(first)

    def run(plan: ExperimentPlan) -> RawProcessResult:
        # Somebody else goes on with it meanwhile, and looks at sums.
        mark_damaged(second / "attempt-1", "a sum of it is another")
        return fake_process_result(plan)

    work = work_on(path, bench.options(launcher=FakeLauncher(run)))
    assert (work.n_finished, work.n_failed) == (1, 0)
    assert [attempt.name for attempt in second.iterdir()] == ["attempt-1"]
    bench.log.clear()
    assert names_of(resume_study(path, bench.options())) == "ab"
    assert bench.log == ["run b"]


def test_gpus_are_asked_for_only_where_something_is_left(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    path = executed(bench, of(tmp_path, "ab")).output_dir
    assert path is not None
    assert go_on(path, bench.options(), workers="per_gpu").n_results == 2
    (first,) = path.glob("runs/0000-*")
    shutil.rmtree(first)
    with pytest.raises(PreFlightError, match="there is none here that can be used"):
        go_on(path, bench.options(), workers="per_gpu")


def test_of_runs_that_are_not_needed_nothing_is_examined(bench: Bench, tmp_path: Path) -> None:
    asked: list[str | None] = []

    def preflight(experiments: Sequence[ExperimentConfig], *_: object) -> list[ExaminedExperiment]:
        asked.extend(each.name for each in experiments)
        return [ExaminedExperiment() for _ in experiments]

    # Equal runs: three of each are enough.
    stop = StopConfig(metric="tokens_per_second", max_cycles=6)
    path = executed(bench, of(tmp_path, "ab", cycles=3, stop=stop)).output_dir
    assert path is not None
    assert len(bench.log) == 6
    assert go_on(path, bench.options(preflight=preflight)).n_results == 6
    assert asked == []
    (first,) = [each for each in path.glob("runs/*") if each.name.startswith("0000-")]
    shutil.rmtree(first)
    go_on(path, bench.options(preflight=preflight))
    assert len(asked) == 1


def test_a_file_is_held_to_what_it_says_where_the_study_was_planned(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: Install
) -> None:
    install({"llem_toy": READS_A_FILE}, {"toy": "llem_toy:ToyEngine"})
    for name, precision in (("a", "fp16"), ("b", "fp32")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_text(precision, encoding="utf-8")

    def given(**fields: object) -> StudyConfig:
        one = {"backend": "toy", "model": "model", "precision": "auto", **fields}
        execution = StudyExecutionConfig(launcher="in_process")
        return StudyConfig(
            experiments=[ExperimentConfig.model_validate(one)], output_dir=tmp_path / "out", execution=execution
        )

    monkeypatch.chdir(tmp_path / "a")
    path = executed(bench, given()).output_dir
    assert path is not None
    monkeypatch.chdir(tmp_path / "b")
    assert go_on(path, bench.options(), given=given()).n_results == 1
    assert Path.cwd() == tmp_path / "b"
    with pytest.raises(ConfigError, match="precision 'fp16' in the folder, 'fp32' in the file"):
        go_on(path, bench.options(), given=given(precision="fp32"))
    # What leaves nothing to the machine is compared wherever that folder is.
    shutil.rmtree(tmp_path / "a")
    assert go_on(path, bench.options(), given=given(precision="fp16")).n_results == 1
