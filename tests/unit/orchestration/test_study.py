"""Experiments and studies: order, folders, failures, interruptions."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.config.loader import load_study_config
from llenergymeasure.config.models import (
    DatasetConfig,
    DecoderConfig,
    EnergyConfig,
    ExecutionConfig,
    ExperimentConfig,
    LoRAConfig,
    StudyConfig,
    WarmupConfig,
    measurement_config_hash,
)
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.exceptions import BackendError, ExperimentError, PreFlightError, TimedOutError
from llenergymeasure.orchestration.single import execute_experiment
from llenergymeasure.orchestration.studies.execute import execute_study
from llenergymeasure.results.verification.places import places_of
from llenergymeasure.testing import FakeLauncher, MemoryRepository
from tests.fakes.effort import examples
from tests.unit.orchestration.conftest import Bench, no_preflight, study_of

STAMP = "20260101T000000Z"


SIDECARS = ("outputs.parquet", "requests.parquet", "timeseries.parquet")


def tree(folder: Path) -> set[str]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def config(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig(model="org/a-model", **fields)


def test_an_experiment_lands_in_a_folder_of_its_name_and_time(bench: Bench, tmp_path: Path) -> None:
    saved = execute_experiment(config(name="my run", output_dir=tmp_path / "out"), bench.options())
    assert saved.directory == tmp_path / "out" / f"my-run_{STAMP}"
    assert ExperimentResult.from_json(saved.directory) == saved.result
    assert tree(tmp_path / "out") == {
        f"my-run_{STAMP}/{name}" for name in ("DONE", "result.json", "log.txt", *SIDECARS)
    }


def test_the_default_name_is_model_engine_precision(bench: Bench, tmp_path: Path) -> None:
    saved = execute_experiment(config(output_dir=tmp_path), bench.options())
    assert saved.directory == tmp_path / f"a-model-pytorch-bf16_{STAMP}"


def test_the_same_experiment_again_gets_a_number(bench: Bench, tmp_path: Path) -> None:
    names = [execute_experiment(config(name="a", output_dir=tmp_path), bench.options()).directory for _ in range(3)]
    assert names == [tmp_path / f"a_{STAMP}", tmp_path / f"a_{STAMP}_1", tmp_path / f"a_{STAMP}_2"]
    assert len({ExperimentResult.from_json(str(name)).experiment_id for name in names}) == 3


def test_without_an_output_folder_nothing_is_written(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = execute_experiment(config(name="a"), bench.options())
    study = execute_study(study_of("a", "b"), bench.options())
    assert (saved.directory, study.output_dir) == (None, None)
    assert study.n_experiments == 2
    assert [plan.output_dir for plan in bench.launcher.plans] == [None] * 3
    caches = [plan.baseline_cache for plan in bench.launcher.plans]
    assert caches[0] is None
    assert caches[1] == caches[2]
    assert caches[1] is not None
    assert not caches[1].parent.exists(), "what the study shared is gone with it"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ExperimentError("no"), KeyboardInterrupt(), RuntimeError("no"), SystemExit(1)])
def test_an_experiment_that_fails_leaves_nothing(bench: Bench, tmp_path: Path, error: BaseException) -> None:
    bench.errors["a"] = error
    with pytest.raises(type(error)):
        execute_experiment(config(name="a", output_dir=tmp_path), bench.options())
    assert bench.log == ["run a"]
    assert list(tmp_path.iterdir()) == []
    told = isinstance(error, KeyboardInterrupt | SystemExit)
    assert getattr(error, "__notes__", []) == (["nothing was kept"] if told else [])


def test_of_an_experiment_that_takes_too_long_the_log_is_kept_and_told(bench: Bench, tmp_path: Path) -> None:
    bench.errors["a"] = error = TimedOutError("it took longer than 3 s")
    with pytest.raises(TimedOutError):
        execute_experiment(config(name="a", output_dir=tmp_path), bench.options())
    (folder,) = tmp_path.iterdir()
    assert folder.name == f"a_{STAMP}_timed-out"
    assert error.__notes__ == [f"nothing was kept but its log, {folder / 'log.txt'}"]
    assert tree(folder) == {"log.txt"}
    # What the process had said, and what it could not say.
    log = (folder / "log.txt").read_text(encoding="utf-8")
    assert log.startswith("half")
    assert log.endswith(": it took longer than 3 s\n")


def test_all_logs_of_several_processes_are_kept(bench: Bench, tmp_path: Path) -> None:
    def run(plan: ExperimentPlan) -> RawProcessResult:
        assert plan.output_dir is not None
        for name in ("log_1.txt", "result.json"):
            (plan.output_dir / name).write_text("x", encoding="utf-8")
        raise TimedOutError("no sign of life")

    with pytest.raises(TimedOutError):
        execute_experiment(config(name="a", output_dir=tmp_path), bench.options(launcher=FakeLauncher(run)))
    assert tree(tmp_path) == {f"a_{STAMP}_timed-out/{name}" for name in ("log.txt", "log_1.txt")}


def test_where_nothing_is_written_one_that_takes_too_long_leaves_nothing(bench: Bench) -> None:
    bench.errors["a"] = error = TimedOutError("it took longer than 3 s")
    with pytest.raises(TimedOutError):
        execute_experiment(config(name="a"), bench.options())
    assert error.__notes__ == ["nothing was kept"]


def test_a_log_that_cannot_be_kept_is_told(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llenergymeasure.orchestration.keeping.create_directory", full)
    bench.errors["a"] = error = TimedOutError("it took longer than 3 s")
    with pytest.raises(TimedOutError):
        execute_experiment(config(name="a", output_dir=tmp_path), bench.options())
    assert error.__notes__ == ["nothing was kept, its log cannot be written either (No space left on device)"]


@pytest.mark.parametrize("had", ["", "ERROR BackendError: no such weights\n", None])
def test_why_an_experiment_failed_stands_in_its_log_once(bench: Bench, tmp_path: Path, had: str | None) -> None:
    def run(plan: ExperimentPlan) -> RawProcessResult:
        assert plan.output_dir is not None
        if had is not None:
            (plan.output_dir / "log.txt").write_text(had, encoding="utf-8")
        raise BackendError("no such weights")

    execute_study(study_of("a", output_dir=tmp_path), bench.options(launcher=FakeLauncher(run)))
    (log,) = tmp_path.rglob("log.txt")
    assert log.read_text(encoding="utf-8").count("BackendError: no such weights") == 1


def test_the_repository_is_given_the_result_and_its_folder(bench: Bench, tmp_path: Path) -> None:
    repository = MemoryRepository()
    study = execute_study(study_of("a", "b", output_dir=tmp_path), bench.options(repository=repository))
    assert list(repository.kept.values()) == study.experiments
    assert all(path.is_relative_to(tmp_path / f"my-study_{STAMP}" / "runs") for path in repository.kept)


def test_a_failed_preflight_runs_and_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    asked: list[tuple[list[str | None], Path | None]] = []

    def refuse(experiments: Any, output_dir: Path | None, _: object) -> None:
        asked.append(([e.name for e in experiments], output_dir))
        raise PreFlightError("no")

    options = bench.options(preflight=refuse)
    out = tmp_path / "out"
    with pytest.raises(PreFlightError):
        execute_experiment(config(name="x", output_dir=out), options)
    with pytest.raises(PreFlightError):
        execute_study(study_of("a", "b", output_dir=out), options)
    assert asked == [(["x"], out), (["a", "b"], out)]
    assert bench.log == []
    assert not out.exists()


def test_a_study_runs_in_its_order_and_rests_between(bench: Bench, tmp_path: Path) -> None:
    execution = ExecutionConfig(pause_s=7.5)
    study = execute_study(study_of("a", "b", "c", output_dir=tmp_path, execution=execution), bench.options())
    assert bench.log == ["run a", "sleep 7.5", "run b", "sleep 7.5", "run c"]
    assert [r.name for r in study.experiments] == ["a", "b", "c"]
    assert study.failures == []
    assert study.start_time == datetime(2026, 1, 1, tzinfo=UTC)
    assert study.end_time - study.start_time == timedelta(seconds=15)
    assert study.output_dir == tmp_path / f"my-study_{STAMP}"


def test_without_a_pause_nothing_sleeps(bench: Bench) -> None:
    execute_study(study_of("a", "b"), bench.options())
    assert bench.log == ["run a", "run b"]


def test_all_experiments_of_a_study_share_its_baseline_file(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(study_of("a", "b", output_dir=tmp_path), bench.options())
    assert study.output_dir is not None
    assert {plan.baseline_cache for plan in bench.launcher.plans} == {study.output_dir / "baseline.json"}


@pytest.mark.parametrize(
    ("on_failure", "log", "done"),
    [
        ("continue", ["run a", "sleep 1", "run b", "sleep 1", "run c"], ["a", "c"]),
        ("stop", ["run a", "sleep 1", "run b"], ["a"]),
    ],
)
def test_after_a_failure_a_study_goes_on_or_stops_as_told(
    bench: Bench, tmp_path: Path, on_failure: Any, log: list[str], done: list[str]
) -> None:
    bench.errors["b"] = BackendError("no such weights")
    execution = ExecutionConfig(on_failure=on_failure, pause_s=1)
    study = execute_study(study_of("a", "b", "c", output_dir=tmp_path, execution=execution), bench.options())
    assert bench.log == log
    assert [r.name for r in study.experiments] == done
    (failure,) = study.failures
    assert (failure.slot, failure.name, failure.error_type, failure.message) == (
        1, "b", "BackendError", "no such weights",
    )  # fmt: skip
    assert study.n_experiments == len(done) + 1

    assert study.output_dir is not None
    (attempt,) = (study.output_dir / "runs").glob("0001-*/attempt-1")
    assert attempt.parent.name == f"0001-{failure.measurement_config_hash}"
    assert tree(attempt) == {"failure.json", "log.txt"}
    assert json.loads((attempt / "failure.json").read_text(encoding="utf-8")) == failure.model_dump()
    assert len(list((study.output_dir / "runs").glob("0002-*"))) == len(done) - 1


def test_a_finished_attempt_has_a_done_whose_sums_hold(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(study_of("a", "b", output_dir=tmp_path), bench.options())
    for slot, result in enumerate(study.experiments):
        attempt = tmp_path / f"my-study_{STAMP}" / "runs" / f"{slot:04d}-{result.measurement_config_hash}" / "attempt-1"
        sums = json.loads((attempt / "DONE").read_text(encoding="utf-8"))
        assert sums == {
            name: hashlib.sha256((attempt / name).read_bytes()).hexdigest()
            for name in ("log.txt", "result.json", *SIDECARS)
        }
        assert ExperimentResult.from_json(attempt) == result


def test_the_plan_names_every_slot_before_any_is_run(bench: Bench, tmp_path: Path) -> None:
    bench.errors["a"] = KeyboardInterrupt()
    given = study_of("a", "b", "a", output_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        execute_study(given, bench.options())
    (plan_file,) = tmp_path.glob("*/plan.json")
    slots = json.loads(plan_file.read_text(encoding="utf-8"))["slots"]
    assert [slot["slot"] for slot in slots] == [0, 1, 2]
    assert [(slot["configuration"], slot["block"], slot["repeat"]) for slot in slots] == [
        (0, 0, 0),
        (1, 0, 0),
        (2, 0, 0),
    ]
    assert [slot["hash"] for slot in slots] == [measurement_config_hash(e) for e in given.experiments]
    configurations = json.loads(plan_file.read_text(encoding="utf-8"))["configurations"]
    kept = [ExperimentConfig.model_validate(each["config"]) for each in configurations]
    assert [k.resolved() for k in kept] == [e.resolved() for e in given.experiments]
    assert bench.launcher.plans[0].config_hash == slots[0]["hash"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_attempt_is_removed_and_finished_ones_stay(
    bench: Bench, tmp_path: Path, error: BaseException
) -> None:
    bench.errors["b"] = error
    with pytest.raises(type(error)):
        execute_study(study_of("a", "b", "c", output_dir=tmp_path), bench.options())
    (study,) = tmp_path.iterdir()
    assert error.__notes__ == [
        "b, which was running, was removed",
        f"1 of 3 experiments had finished; what they left is kept in {study}",
    ]
    (slot,) = (study / "runs").iterdir()
    (events,) = (study / "events").iterdir()
    assert [json.loads(line)["event"] for line in events.read_text(encoding="utf-8").splitlines()] == [
        "begin", "start", "finished", "start", "interrupted",
    ]  # fmt: skip
    assert tree(study) == {
        "study.yaml", "plan.json", f"events/{events.name}", "rows/0000.json",
        # Two were taken: one is through, the other given back.
        *(f"claims/{name}" for name in ("0000.1", "0000.2", "0001.1", "0001.2")), ".summary.read",
        ".summary.lock", "summary.csv", "summary.md", "summary.parquet",
        *(f"runs/{slot.name}/attempt-1/{name}" for name in ("DONE", "result.json", "log.txt", *SIDECARS)),
    }  # fmt: skip
    assert ExperimentResult.from_json(slot / "attempt-1").name == "a"


def test_two_studies_at_the_same_second_get_two_folders(bench: Bench, tmp_path: Path) -> None:
    folders = [execute_study(study_of("a", output_dir=tmp_path), bench.options()).output_dir for _ in range(2)]
    assert folders == [tmp_path / f"my-study_{STAMP}", tmp_path / f"my-study_{STAMP}_1"]


_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00\x85\u2028\u2029"), min_size=1, max_size=20)
_EXPERIMENTS = st.builds(
    ExperimentConfig,
    model=_NAMES,
    name=st.none() | _NAMES,
    n=st.integers(1, 10**6),
    random_seed=st.integers(0, 2**32 - 1),
    dataset=st.sampled_from(
        [
            "mixed",
            "random",
            DatasetConfig(path=Path("a/b.jsonl"), order="as_is", chat=True),
            DatasetConfig(hub="owner/name", split="test[:9]"),
            DatasetConfig.model_validate({"random": {"input_tokens": 7, "output_tokens": {"distribution": "uniform"}}}),
        ]
    ),
    decoder=st.builds(
        DecoderConfig, do_sample=st.booleans(), temperature=st.none() | st.floats(1e-300, 1e300), top_k=st.just(0)
    ),
    warmup=st.builds(WarmupConfig, cv_threshold=st.floats(1e-9, 0.99))
    | st.builds(WarmupConfig, max_prompts=st.integers(5, 99), convergence_detection=st.booleans())
    | st.just(WarmupConfig()),
    energy=st.builds(EnergyConfig, backend=st.sampled_from([None, "auto", "nvml"])),
    lora=st.none() | st.builds(LoRAConfig, path=_NAMES),
    pytorch=st.none()
    | st.builds(
        PyTorchConfig,
        batch_size=st.integers(1, 99),
        device_map=st.none() | _NAMES | st.dictionaries(_NAMES, st.integers(0, 7) | _NAMES, max_size=2),
    ),
)


@settings(max_examples=examples(40), deadline=None)
@given(
    name=_NAMES,
    experiments=st.lists(_EXPERIMENTS, min_size=1, max_size=2),
    execution=st.builds(StudyExecutionConfig, pause_s=st.floats(0, 1e9)),
)
def test_the_kept_study_file_loads_as_the_same_study(
    name: str, experiments: list[ExperimentConfig], execution: StudyExecutionConfig
) -> None:
    bench = Bench()
    with tempfile.TemporaryDirectory() as folder:
        given_study = StudyConfig(name=name, experiments=experiments, execution=execution, output_dir=Path(folder))
        study = execute_study(given_study, bench.options(sleep=lambda _: None, preflight=no_preflight))
        assert study.output_dir is not None
        loaded = load_study_config(study.output_dir / "study.yaml")
        assert loaded == given_study
        assert [r.measurement_config_hash for r in study.experiments] == [
            plan.config_hash for plan in bench.launcher.plans
        ]


@pytest.mark.parametrize("name", ["next\x85line", "line\u2028separator", "paragraph\u2029separator", "\x85"])
def test_names_with_odd_line_breaks_survive_in_the_kept_study_file(bench: Bench, tmp_path: Path, name: str) -> None:
    given_study = StudyConfig(name=name, experiments=[config(name=name)], output_dir=tmp_path)
    study = execute_study(given_study, bench.options())
    assert study.output_dir is not None
    assert load_study_config(study.output_dir / "study.yaml") == given_study


def test_what_was_not_said_stays_unsaid_in_the_kept_study_file(bench: Bench, tmp_path: Path) -> None:
    study = execute_study(StudyConfig(experiments=[config()], output_dir=tmp_path), bench.options())
    assert study.output_dir is not None
    text = (study.output_dir / "study.yaml").read_text(encoding="utf-8")
    assert text == f"experiments:\n- model: org/a-model\noutput_dir: {tmp_path}\n"


def test_an_unforeseen_error_is_a_failed_experiment_and_not_the_end(bench: Bench, tmp_path: Path) -> None:
    bench.errors["a"] = RuntimeError("unforeseen")
    study = execute_study(study_of("a", "b", output_dir=tmp_path), bench.options())
    assert [(f.name, f.error_type, f.message) for f in study.failures] == [("a", "RuntimeError", "unforeseen")]
    assert [e.name for e in study.experiments] == ["b"]


def test_an_interruption_between_experiments_removes_nothing_and_counts_failures_apart(
    bench: Bench, tmp_path: Path
) -> None:
    bench.errors["b"] = BackendError("no")
    interrupted = KeyboardInterrupt()

    def sleep(seconds: float) -> None:
        if bench.log[-1] == "run b":
            raise interrupted

    execution = ExecutionConfig(pause_s=1)
    given = study_of("a", "b", "c", output_dir=tmp_path, execution=execution)
    with pytest.raises(KeyboardInterrupt):
        execute_study(given, bench.options(sleep=sleep))
    (study,) = tmp_path.iterdir()
    assert interrupted.__notes__ == [
        f"1 of 3 experiments had finished and 1 had failed; what they left is kept in {study}"
    ]
    assert len(list((study / "runs").iterdir())) == 2


def test_an_interruption_before_anything_has_finished_says_so(bench: Bench, tmp_path: Path) -> None:
    bench.errors["a"] = first = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        execute_study(study_of("a", output_dir=tmp_path), bench.options())
    (study,) = tmp_path.iterdir()
    assert first.__notes__[-1] == f"0 of 1 experiments had finished; only the plan is kept in {study}"
    bench.errors["a"] = second = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        execute_study(study_of("a"), bench.options())
    assert second.__notes__ == ["nothing was kept"]


def test_home_is_a_tilde_in_all_that_a_study_writes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    broken = config(name="broken", dataset={"path": str(tmp_path / "p.txt")})
    bench.errors["broken"] = RuntimeError(f"cannot read '{tmp_path}/p.txt'")
    given_study = StudyConfig(experiments=[config(lora={"path": f"{tmp_path}/a"}), broken], output_dir=Path("~/r"))
    study = execute_study(given_study, bench.options())
    assert study.output_dir is not None
    assert study.output_dir.parent == tmp_path / "r"
    assert study.failures[0].message == "cannot read '~/p.txt'"
    texts = [path.read_text() for path in study.output_dir.rglob("*") if path.suffix in (".json", ".yaml")]
    assert len(texts) >= 4
    assert not any(str(tmp_path) in text for text in texts)


def test_a_single_experiment_is_written_from_home_on(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH_HERE", str(tmp_path))
    saved = execute_experiment(config(output_dir="${SCRATCH_HERE}/r"), bench.options())
    assert saved.directory is not None
    assert saved.directory.parent == tmp_path / "r"


@dataclass
class Told:
    """What was told of a study, with the results that lay in its folder at that time."""

    names: list[Any] = field(default_factory=list)
    prompts: list[Any] = field(default_factory=list)

    def planned(self, configs: Sequence[Mapping[str, Any]]) -> None:
        self.prompts = [config["n"] for config in configs]

    def finished(self, result: ExperimentResult) -> None:
        assert result.folder is not None
        assert (result.folder / "DONE").exists()
        self.names.append(result.name)


def test_whoever_waits_for_results_is_told_of_each_when_it_is_kept(bench: Bench, tmp_path: Path) -> None:
    bench.errors["b"] = ExperimentError("no")
    told = Told()
    study = execute_study(study_of("a", "b", "c", output_dir=tmp_path), bench.options(arrivals=told))
    assert (told.prompts, told.names) == ([1, 2, 3], ["a", "c"])
    assert [result.folder for result in study.experiments] == [
        next(tmp_path.glob(f"*/runs/{slot}-*/attempt-1")) for slot in ("0000", "0002")
    ]


def test_an_interrupted_study_has_told_of_what_had_finished(bench: Bench, tmp_path: Path) -> None:
    bench.errors["c"] = KeyboardInterrupt()
    told = Told()
    with pytest.raises(KeyboardInterrupt):
        execute_study(study_of("a", "b", "c", output_dir=tmp_path), bench.options(arrivals=told))
    assert told.names == ["a", "b"]


def test_a_single_result_knows_its_folder(bench: Bench, tmp_path: Path) -> None:
    saved = execute_experiment(config(name="a", output_dir=tmp_path), bench.options())
    assert saved.result.folder == saved.directory
    assert execute_experiment(config(name="a"), bench.options()).result.folder is None


def test_what_a_study_leaves_lies_where_its_plan_says(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret-of-somebody")
    experiments = [
        config(name="secret-of-somebody", pytorch=PyTorchConfig(batch_size=2, device_map={"": 0})),
        config(name="b", lora=LoRAConfig(path=str(Path.home() / "adapter")), decoder=DecoderConfig(temperature=0.1)),
        config(name="c"),
        config(name="d", precision="fp32"),
        config(name="e", n=7),
    ]
    bench.errors |= {"c": ExperimentError("no"), "d": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        execute_study(StudyConfig(name="s", experiments=experiments, output_dir=tmp_path), bench.options())
    (folder,) = tmp_path.iterdir()
    found = places_of(folder)
    assert len(found.results) == 2
    assert [str(finding).split("-")[0] for finding in found.report.findings] == [
        "not verifiable: runs/0002", "not verifiable: runs/0003", "not verifiable: runs/0004",
    ]  # fmt: skip
    assert [finding.text.split(":")[0] for finding in found.report.findings] == [
        "it failed, and there is no result", "not run", "not run",
    ]  # fmt: skip
    # The first one's result in the place of the second one's.
    first, second = (place.parent for place in found.results)
    first.rename(tmp_path / "aside")
    second.rename(first)
    (tmp_path / "aside").rename(second)
    names = [f.name.rpartition(": ")[2] for f in places_of(folder).report.findings if f.kind == "differs"]
    assert names == [
        "effective_config.name", "run_key.slot", "effective_config.name", "run_key.slot",
        "measurement_config_hash", "measurement_config_hash",
    ]  # fmt: skip
    # One that had finished is gone.
    shutil.rmtree(first)
    told = [str(finding) for finding in places_of(folder).report.findings if finding.kind == "damaged"]
    (events,) = (folder / "events").iterdir()
    why = f"events/{events.name} says that it finished, and it has neither a result nor a failure"
    assert told == [f"damaged: runs/{first.name}: {why}"]
