"""What was measured is never lost: where it goes when its own place takes nothing, or not all of it."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llenergymeasure._files import write_atomically
from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration import keeping, spare
from llenergymeasure.orchestration.processes.handover import forget_handed_back, hand_back, handed_back
from llenergymeasure.orchestration.single import execute_experiment
from llenergymeasure.orchestration.studies.execute import execute_study
from llenergymeasure.results import persistence, process_files, sums, tables
from llenergymeasure.results.persistence import JsonRepository
from llenergymeasure.testing import fake_process_result
from tests.unit.orchestration.conftest import Bench, plan_of, study_of

FULL = OSError(28, "No space left on device")
WHOLE = {"result.json", "outputs.parquet", "requests.parquet", "timeseries.parquet", "DONE"}


class FullDisk(JsonRepository):
    """Takes no result below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, result: ExperimentResult, output_dir: Path) -> Path:
        """Write it, unless the disk is full."""
        if output_dir.is_relative_to(self.folder):
            raise FULL
        return super().save(result, output_dir)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one temporary folder that there is."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(spare, "_TEMPORARY", ())
    yield folder
    folder.chmod(0o755)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_single_result_goes_to_the_temporary_folder_and_is_said(
    bench: Bench, tmp_path: Path, temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    kept = execute_experiment(
        ExperimentConfig(model="m", name="a", output_dir=out), bench.options(repository=FullDisk(out))
    )
    (there,) = temporary.iterdir()
    assert kept.directory == there
    assert names_in(there) == {*WHOLE, ".state"}
    assert ExperimentResult.from_json(there) == kept.result
    assert names_in(out) == set()
    why = f"the result of a cannot be written to {out} (No space left on device); it is in {there}"
    assert kept.problem == why
    assert why in caplog.text


def test_prompts_that_were_given_as_a_list_go_with_a_single_result(
    bench: Bench, tmp_path: Path, temporary: Path
) -> None:
    config = ExperimentConfig.model_validate({"model": "m", "dataset": ["a"], "output_dir": tmp_path / "out"})
    kept = execute_experiment(config, bench.options(repository=FullDisk(tmp_path / "out")))
    assert kept.directory is not None
    assert kept.directory.is_relative_to(temporary)
    assert config.dataset.in_memory is not None
    name = config.dataset.in_memory.file_name
    assert (kept.directory / name).read_bytes() == b'{"prompt": "a"}\n'
    assert name in json.loads((kept.directory / "DONE").read_text(encoding="utf-8"))
    assert names_in(tmp_path / "out") == set()


def test_a_study_goes_on_and_its_results_are_where_they_fit(bench: Bench, tmp_path: Path, temporary: Path) -> None:
    out = tmp_path / "out"
    study = execute_study(study_of("a", "b", output_dir=out), bench.options(repository=FullDisk(out)))
    assert [result.name for result in study.experiments] == ["a", "b"]
    assert study.failures == []
    assert len(study.problems) == 2
    kept = {ExperimentResult.from_json(folder).name: folder for folder in temporary.iterdir()}
    assert all(str(kept[name]) in problem for name, problem in zip("ab", study.problems, strict=True))
    # Nothing is there twice.
    assert not list(out.rglob("result.json"))


def test_where_no_place_takes_it_the_result_is_still_given(bench: Bench, tmp_path: Path, temporary: Path) -> None:
    everywhere = bench.options(repository=FullDisk(tmp_path))
    kept = execute_experiment(ExperimentConfig(model="m", name="a", output_dir=tmp_path / "out"), everywhere)
    assert kept.result.name == "a"
    assert kept.directory is None
    assert str(kept.problem).endswith("(No space left on device), and no other place takes it")
    assert names_in(temporary) == names_in(tmp_path / "out") == set()


def test_a_single_result_without_sums_is_called_unfinished(
    bench: Bench, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> Path:
        raise FULL

    monkeypatch.setattr(keeping, "mark_done", full)
    kept = execute_experiment(ExperimentConfig(model="m", name="a", output_dir=tmp_path / "out"), bench.options())
    (folder,) = (tmp_path / "out").iterdir()
    assert names_in(folder) >= {"result.unfinished.json", "requests.parquet"}
    assert not names_in(folder) & {"result.json", "DONE"}
    assert kept.directory is None
    assert str(kept.problem).endswith(f"and no other place takes it; what could be written of it is in {folder}")


@pytest.mark.parametrize("spare_place", [True, False])
def test_a_done_that_cannot_be_written_costs_no_result(
    bench: Bench, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, spare_place: bool
) -> None:
    real = sums.mark_done

    def full(folder: Path) -> Path:
        if folder.is_relative_to(tmp_path / "out") or not spare_place:
            raise FULL
        return real(folder)

    monkeypatch.setattr(keeping, "mark_done", full)
    study = execute_study(study_of("a", output_dir=tmp_path / "out"), bench.options())
    assert len(study.experiments) == len(study.problems) == 1
    # Without sums it is called no result, where nothing else can be had.
    name = "result.json" if spare_place else "result.unfinished.json"
    (result_file,) = (temporary if spare_place else tmp_path / "out").rglob("result*.json")
    assert (result_file.name, (result_file.parent / "DONE").exists()) == (name, spare_place)
    assert ExperimentResult.from_json(result_file) == study.experiments[0]
    assert study.problems[0].endswith(f" is in {result_file.parent}")


def test_the_folder_of_a_result_that_nothing_takes_is_named(bench: Bench, tmp_path: Path, temporary: Path) -> None:
    study = execute_study(study_of("a", output_dir=tmp_path / "out"), bench.options(repository=FullDisk(tmp_path)))
    (attempt,) = (tmp_path / "out").glob("*/runs/*/attempt-1")
    assert study.problems[0].endswith(f"and no other place takes it; what could be written of it is in {attempt}")
    assert {"requests.parquet", "log.txt"} <= names_in(attempt)


def test_a_table_that_does_not_fit_takes_everything_elsewhere(
    bench: Bench, tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tables.write_outputs_parquet

    def full(requests: object, path: Path) -> Path:
        if path.is_relative_to(tmp_path / "out"):
            raise FULL
        return real(requests, path)  # type: ignore[arg-type]

    monkeypatch.setattr("llenergymeasure.orchestration.sidecars.write_outputs_parquet", full)
    kept = execute_experiment(ExperimentConfig(model="m", output_dir=tmp_path / "out"), bench.options())
    assert "outputs.parquet: No space left on device" in str(kept.problem)
    assert kept.directory is not None
    assert kept.directory.parent == temporary
    assert names_in(kept.directory) == {*WHOLE, ".state"}
    assert "sidecar_not_written" not in {warning.flag for warning in kept.result.warnings}


def test_a_failure_that_cannot_be_written_does_not_end_the_study(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        if path.name == "failure.json":
            raise FULL
        path.write_text(text, encoding="utf-8")

    monkeypatch.setattr("llenergymeasure.results.study.directory.write_atomically", full)
    bench.errors["a"] = ExperimentError("no")
    study = execute_study(study_of("a", "b", output_dir=tmp_path), bench.options())
    assert [failure.name for failure in study.failures] == ["a"]
    assert [result.name for result in study.experiments] == ["b"]
    assert study.problems == ["that a failed cannot be written: failure.json: No space left on device"]


def test_a_raw_result_that_its_folder_does_not_take_is_found_where_it_was_left(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, state_dir = plan_of(), tmp_path / "state"
    state_dir.mkdir()
    real: Callable[..., None] = write_atomically

    def full(path: Path, text: str) -> None:
        if path.is_relative_to(state_dir):
            raise FULL
        real(path, text)

    monkeypatch.setattr(process_files, "write_atomically", full)
    raw = fake_process_result(plan)
    hand_back(raw, plan, state_dir)
    assert len(names_in(temporary)) == 1
    assert handed_back(plan, state_dir) == [raw]
    assert len(names_in(temporary)) == 1, "nothing of it is kept yet"
    forget_handed_back(plan)
    assert names_in(temporary) == set()
    monkeypatch.setattr(process_files, "write_atomically", lambda *_: (_ for _ in ()).throw(FULL))
    with pytest.raises(ExperimentError, match="everything was measured, and no place takes the result: No space left"):
        hand_back(raw, plan, state_dir)


def test_a_spare_folder_is_nobody_elses_to_read(temporary: Path) -> None:
    found = spare.kept_elsewhere("abc", lambda folder: folder.stat().st_mode & 0o777)
    assert found == (temporary / "llenergymeasure-abc", 0o700)


def test_a_spare_folder_that_somebody_has_put_there_is_not_used(temporary: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (temporary / "llenergymeasure-abc").symlink_to(theirs)
    assert spare.kept_elsewhere("abc", lambda folder: (folder / "file").write_text("mine", encoding="utf-8")) is None
    assert names_in(theirs) == set()
    assert spare.left_elsewhere("abc") == []


def test_an_interruption_when_everything_was_measured_already_keeps_it(bench: Bench, tmp_path: Path) -> None:
    class Late:
        def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
            assert plan.output_dir is not None
            hand_back(fake_process_result(plan), plan, plan.output_dir / ".state")
            raise SystemExit(143)

    with pytest.raises(SystemExit) as caught:
        execute_study(study_of("a", "b", output_dir=tmp_path), bench.options(launcher=Late()))
    (study,) = tmp_path.iterdir()
    assert caught.value.__notes__ == [f"1 of 2 experiments had finished; what they left is kept in {study}"]
    assert len(list(study.rglob("DONE"))) == 1


def test_interruptions_wait_until_everything_is_written(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sums.mark_done

    def interrupted(folder: Path) -> Path:
        os.kill(os.getpid(), 2)
        return real(folder)

    monkeypatch.setattr(keeping, "mark_done", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        execute_study(study_of("a", "b", output_dir=tmp_path, execution=ExecutionConfig()), bench.options())
    (study,) = tmp_path.iterdir()
    assert caught.value.__notes__ == [f"1 of 2 experiments had finished; what they left is kept in {study}"]
    (attempt,) = (study / "runs").glob("*/attempt-1")
    assert "result.json" in json.loads((attempt / "DONE").read_text(encoding="utf-8"))


def test_an_interruption_after_the_result_is_kept_says_where(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = persistence.publish

    def interrupted(staging: Path, parent: Path, name: str) -> Path:
        os.kill(os.getpid(), 2)
        return real(staging, parent, name)

    monkeypatch.setattr("llenergymeasure.orchestration.single.publish", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        execute_experiment(ExperimentConfig(model="m", name="a", output_dir=tmp_path), bench.options())
    (folder,) = tmp_path.iterdir()
    assert caught.value.__notes__ == [f"the result is in {folder}"]
    assert ExperimentResult.from_json(folder).name == "a"
