"""What came of a study, with results that are read when they are asked for."""

import gc
import weakref
from pathlib import Path

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.config.models import StudyConfig
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.studies.execute import carry_out, go_on
from llenergymeasure.orchestration.studies.outcome import StudyOutcome
from llenergymeasure.results.persistence import JsonRepository
from tests.unit.orchestration.conftest import Bench, study_of


class Counting(JsonRepository):
    """A repository that notes which results are read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def load(self, path: Path) -> ExperimentResult:
        self.read.append(path.parent.parent.name[:4])
        return super().load(path)


def of(folder: Path | None, names: str) -> StudyConfig:
    return study_of(*names, output_dir=folder, execution=StudyExecutionConfig(order="sequential"))


def names_of(outcome: StudyOutcome) -> list[str | None]:
    return [result.name for result in outcome.results(print)]


def zeroed(outcome: StudyOutcome, slot: int) -> Path:
    """A result in whose place are as many zeros, so that names and sizes are as they were."""
    assert outcome.output_dir is not None
    (file,) = outcome.output_dir.glob(f"runs/{slot:04d}-*/attempt-1/result.json")
    file.write_bytes(bytes(file.stat().st_size))
    return file


def test_no_result_is_read_until_it_is_asked_for(bench: Bench, tmp_path: Path) -> None:
    bench.errors["b"] = BackendError("no such weights")
    repository = Counting()
    outcome = carry_out(of(tmp_path, "abc"), bench.options(repository=repository))
    assert (outcome.n_results, [(each.slot, each.name) for each in outcome.failures]) == (2, [(1, "b")])
    assert not outcome.is_well
    assert outcome.output_dir is not None
    again = go_on(outcome.output_dir, bench.options(repository=repository))
    assert (again.n_results, again.failures) == (2, outcome.failures)
    assert repository.read == []
    results = again.results(print)
    assert (next(results).name, repository.read) == ("a", ["0000"])
    assert (next(results).name, repository.read) == ("c", ["0000", "0002"])
    assert [result.name for result in again.loaded().experiments] == ["a", "c"]


def test_results_are_held_by_nobody_but_who_asked(bench: Bench, tmp_path: Path) -> None:
    outcome = carry_out(of(tmp_path, "abcde"), bench.options())
    assert outcome.is_well
    before: list[weakref.ref[ExperimentResult]] = []
    for result in outcome.results(print):
        gc.collect()
        assert [each() for each in before] == [None] * len(before)
        before.append(weakref.ref(result))
        del result
    assert len(before) == 5


def test_one_that_cannot_be_read_is_told_and_the_others_are_given(bench: Bench, tmp_path: Path) -> None:
    outcome = carry_out(of(tmp_path, "abc"), bench.options())
    file = zeroed(outcome, 1)
    told: list[str] = []
    assert [result.name for result in outcome.results(told.append)] == ["a", "c"]
    (problem,) = told
    assert problem.startswith(f"result {file}: ")
    study = outcome.loaded()
    assert ([result.name for result in study.experiments], study.problems) == (["a", "c"], [problem])
    assert study.summary is not None
    assert study.summary.n_finished == 3


def test_a_failure_whose_reason_cannot_be_read_is_a_failure(bench: Bench, tmp_path: Path) -> None:
    bench.errors["b"] = BackendError("no such weights")
    outcome = carry_out(of(tmp_path, "ab"), bench.options())
    assert outcome.output_dir is not None
    (file,) = outcome.output_dir.glob("runs/*/attempt-1/failure.json")
    file.write_bytes(b"{")
    again = go_on(outcome.output_dir, bench.options())
    assert [(each.slot, each.error_type, each.message) for each in again.failures] == [
        (1, "unknown", "failure.json cannot be read")
    ]
    assert not again.is_well
    assert len(again.loaded().failures) == 1


def test_what_lies_in_no_folder_is_given_from_memory(bench: Bench) -> None:
    outcome = carry_out(of(None, "ab"), bench.options())
    assert (names_of(outcome), outcome.n_results, outcome.output_dir) == (["a", "b"], 2, None)
    assert outcome.is_well
