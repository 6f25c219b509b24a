"""What a worker runs, in which order, and what it makes of what is there already."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.execution import StopConfig, StudyExecutionConfig
from llenergymeasure.config.models import ExperimentConfig, StudyConfig
from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.domain.study.result import StudyResult
from llenergymeasure.exceptions import BackendError, ConfigError, ExperimentError
from llenergymeasure.orchestration.asked_elsewhere import settled_before_a_run
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.single import execute_experiment
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.execute import execute_study, resume_study, work_on
from llenergymeasure.orchestration.studies.planning import plan_of
from llenergymeasure.orchestration.studies.slot_attempt import Attempts, Work
from llenergymeasure.orchestration.studies.standing import standing_of_study
from llenergymeasure.results.persistence import result_of
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.events import events_in
from llenergymeasure.results.study.rows import rows
from llenergymeasure.results.verification.places import places_of
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.fakes.claiming import taken_over
from tests.unit.orchestration.conftest import Bench, study_of


def executed(bench: Bench, given: StudyConfig, **options: Any) -> StudyResult:
    return execute_study(given, bench.options(**options))


def of(folder: Path, names: str, **execution: Any) -> StudyConfig:
    return study_of(*names, output_dir=folder, execution=StudyExecutionConfig(**execution))


def names_of(study: StudyResult) -> str:
    return "".join(str(result.name) for result in study.experiments)


def test_each_configuration_is_run_as_often_as_there_are_cycles(bench: Bench, tmp_path: Path) -> None:
    study = executed(bench, of(tmp_path, "ab", cycles=3, order="sequential"))
    assert bench.log == ["run a"] * 3 + ["run b"] * 3
    assert names_of(study) == "aaabbb"
    assert len({result.experiment_id for result in study.experiments}) == 6
    assert study.n_planned == 6
    assert study.output_dir is not None
    assert len(list(study.output_dir.glob("runs/*/attempt-1/DONE"))) == 6


def test_in_blocks_every_cycle_has_each_once(bench: Bench, tmp_path: Path) -> None:
    executed(bench, of(tmp_path, "abc", cycles=4))
    runs = [line.removeprefix("run ") for line in bench.log]
    cycles = ["".join(runs[i : i + 3]) for i in range(0, 12, 3)]
    assert all(sorted(cycle) == ["a", "b", "c"] for cycle in cycles)
    assert len(set(cycles)) > 1


def test_a_result_says_which_run_of_which_study_it_is(bench: Bench, tmp_path: Path) -> None:
    study = executed(bench, of(tmp_path, "ab", cycles=2, seed=3))
    assert study.output_dir is not None
    plan = StudyDirectory(study.output_dir).plan()
    keys = [result.run_key for result in study.experiments]
    assert [(key.slot, key.block, key.repeat, key.order) for key in keys if key is not None] == [
        (0, 0, 0, "blocks"), (1, 0, 0, "blocks"), (2, 1, 1, "blocks"), (3, 1, 1, "blocks"),
    ]  # fmt: skip
    assert {key.study_id for key in keys if key is not None} == {plan.study_id}
    assert execute_experiment(study_of("a").experiments[0], bench.options()).result.run_key is None


def test_two_runs_of_one_configuration_that_change_places_are_seen(bench: Bench, tmp_path: Path) -> None:
    study = executed(bench, of(tmp_path, "a", cycles=2))
    assert study.output_dir is not None
    assert [str(f) for f in places_of(study.output_dir).report.findings] == []
    first, second = sorted((study.output_dir / "runs").iterdir())
    for one, other in ((first, tmp_path / "aside"), (second, first), (tmp_path / "aside", second)):
        one.rename(other)
    told = [(f.kind, f.name.partition(": ")[2]) for f in places_of(study.output_dir).report.findings]
    assert told == [("differs", "run_key.slot"), ("differs", "run_key.slot")]


def test_listed_experiments_that_are_run_once_keep_their_order(bench: Bench, tmp_path: Path) -> None:
    letters = "abcdefghij"
    executed(bench, of(tmp_path / "listed", letters))
    assert bench.log == [f"run {letter}" for letter in letters]
    bench.log.clear()
    executed(bench, of(tmp_path / "blocks", letters, order="blocks"))
    assert bench.log != [f"run {letter}" for letter in letters]
    assert sorted(bench.log) == [f"run {letter}" for letter in letters]


def test_a_run_that_failed_is_tried_again_as_often_as_told(bench: Bench, tmp_path: Path) -> None:
    bench.errors["b"] = BackendError("no such weights")
    study = executed(bench, of(tmp_path, "abc", retries=2))
    assert bench.log == ["run a", "run b", "run b", "run b", "run c"]
    assert [failure.name for failure in study.failures] == ["b"]
    assert study.output_dir is not None
    assert len(list(study.output_dir.glob("runs/0001-*/attempt-*/failure.json"))) == 3


def test_one_that_works_the_second_time_is_a_result_and_no_failure(bench: Bench, tmp_path: Path) -> None:
    runs: list[str] = []

    def run(plan: ExperimentPlan) -> RawProcessResult:
        runs.append(str(plan.config.name))
        if runs.count("b") == 1 and runs[-1] == "b":
            raise ExperimentError("once")
        return fake_process_result(plan)

    study = executed(bench, of(tmp_path, "ab", retries=1), launcher=FakeLauncher(run))
    assert (names_of(study), study.failures) == ("ab", [])
    folder = study.experiments[1].folder
    assert folder is not None
    assert folder.name == "attempt-2"


@dataclass
class Failing:
    """A launcher whose runs fail, each for the reason given."""

    reasons: list[str]
    n_runs: int = 0
    of_run: dict[int, str] = field(default_factory=dict)

    def run(self, plan: ExperimentPlan) -> RawProcessResult:
        reason = self.reasons[self.n_runs]
        self.n_runs += 1
        if reason:
            raise ExperimentError(reason)
        return fake_process_result(plan)


@pytest.mark.parametrize(
    ("reasons", "n_runs"),
    [
        (["process 17 died", "process 18 died", "process 9 died", ""], 3),
        (["died", "died", "", "died", "died"], 5),
        (["died", "other", "died", "other", "died"], 5),
    ],
)
def test_the_same_failure_again_and_again_stops_the_study(
    bench: Bench, tmp_path: Path, reasons: list[str], n_runs: int
) -> None:
    failing = Failing(reasons)
    given = of(tmp_path, "abcde"[: len(reasons)], stop_after_failures=3)
    study = executed(bench, given, launcher=FakeLauncher(failing.run))
    assert failing.n_runs == n_runs
    if n_runs < len(reasons):
        assert study.stopped is not None
        assert "3 experiments in a row failed for the same reason (ExperimentError)" in study.stopped
    else:
        assert study.stopped is None


def interrupted_after(bench: Bench, folder: Path, n: int, given: StudyConfig) -> Path:
    """A study that is interrupted while it runs the experiment after the first [n]; its folder."""
    runs = 0

    def run(plan: ExperimentPlan) -> RawProcessResult:
        nonlocal runs
        runs += 1
        if runs > n:
            raise KeyboardInterrupt
        return fake_process_result(plan)

    with pytest.raises(KeyboardInterrupt):
        executed(bench, given, launcher=FakeLauncher(run))
    (study,) = folder.iterdir()
    return study


def test_a_study_goes_on_where_it_stopped(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 2, of(tmp_path, "abc", cycles=2, order="sequential"))
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/attempt-1/*")}
    assert len(list(folder.glob("runs/*"))) == 2
    study = resume_study(folder, bench.options())
    assert bench.log == ["run b", "run b", "run c", "run c"]
    assert names_of(study) == "aabbcc"
    assert {path: path.stat().st_mtime_ns for path in before} == before
    # And once more: there is nothing left.
    assert names_of(resume_study(folder, bench.options())) == "aabbcc"
    assert len(bench.log) == 4


@pytest.mark.parametrize(
    ("damage", "is_seen"),
    [
        (lambda attempt: (attempt / "requests.parquet").unlink(), True),
        (lambda attempt: (attempt / "result.json").write_text("{}", encoding="utf-8"), True),
        (lambda attempt: (attempt / "log.txt").write_bytes(b"x" * (attempt / "log.txt").stat().st_size), False),
    ],
)
def test_what_had_finished_and_is_damaged_is_run_again(
    bench: Bench, tmp_path: Path, damage: Callable[[Path], Any], is_seen: bool
) -> None:
    study = executed(bench, of(tmp_path, "ab", pause_s=0))
    assert study.output_dir is not None
    bench.log.clear()
    attempt = study.experiments[1].folder
    assert attempt is not None
    before = (attempt / "log.txt").read_bytes()
    assert before
    damage(attempt)
    assert resume_study(study.output_dir, bench.options()).n_experiments == 2
    assert bench.log == (["run b"] if is_seen else [])
    # The same number of other bytes only sums can tell.
    again = resume_study(study.output_dir, bench.options(), check_sums=True)
    assert bench.log == ["run b"]
    assert [result.folder for result in again.experiments] == [
        study.experiments[0].folder, attempt.with_name("attempt-2"),
    ]  # fmt: skip


def test_a_damaged_run_whose_next_attempt_fails_has_failed(bench: Bench, tmp_path: Path) -> None:
    study = executed(bench, of(tmp_path, "ab", stop_after_failures=None, retries=1))
    assert study.output_dir is not None
    (attempt,) = study.output_dir.glob("runs/0001-*/attempt-1")
    (attempt / "requests.parquet").unlink()
    bench.log.clear()
    bench.errors["b"] = BackendError("no")
    again = resume_study(study.output_dir, bench.options())
    assert bench.log == ["run b", "run b"]
    assert [failure.name for failure in again.failures] == ["b"]
    assert names_of(again) == "a"


def test_a_retry_is_made_before_a_failure_stops_the_study(bench: Bench, tmp_path: Path) -> None:
    bench.errors["a"] = BackendError("no")
    study = executed(bench, of(tmp_path, "ab", retries=2, on_failure="stop"))
    assert bench.log == ["run a"] * 3
    assert study.stopped == "an experiment failed, and execution.on_failure is stop"
    bench.log.clear()
    other = executed(bench, of(tmp_path / "other", "ab", retries=4, stop_after_failures=2))
    assert bench.log == ["run a"] * 5 + ["run b"]
    assert other.stopped is None


def test_repeats_share_no_process(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="in_process cannot go with several cycles"):
        executed(bench, of(tmp_path, "a", cycles=2, launcher="in_process"))
    assert list(tmp_path.iterdir()) == []
    assert executed(bench, of(tmp_path, "ab", launcher="in_process")).n_experiments == 2


def test_a_list_that_is_repeated_until_it_is_enough_is_in_blocks(bench: Bench, tmp_path: Path) -> None:
    stop = StopConfig(metric="tokens_per_second", max_cycles=3)
    executed(bench, of(tmp_path, "abcd", stop=stop))
    cycles = [sorted(bench.log[i : i + 4]) for i in (0, 4, 8)]
    assert cycles == [["run a", "run b", "run c", "run d"]] * 3


def test_a_folder_that_takes_nothing_any_more_ends_the_study_with_what_was_measured(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise OSError(28, "No space left on device", "runs")

    def run(plan: ExperimentPlan) -> RawProcessResult:
        monkeypatch.setattr(StudyDirectory, "new_attempt", full)
        return fake_process_result(plan)

    study = executed(bench, of(tmp_path, "ab"), launcher=FakeLauncher(run))
    assert study.stopped == "nothing can be written for the study any more: No space left on device: runs"
    assert names_of(study) == "a"


def test_a_worker_leaves_the_whole_summary_and_so_does_an_interruption(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 1, of(tmp_path, "ab"))
    assert ",a," in (folder / "summary.csv").read_text(encoding="utf-8")
    work_on(folder, bench.options())
    assert ",b," in (folder / "summary.csv").read_text(encoding="utf-8")


def test_a_block_that_another_took_over_is_left_to_it(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 0, of(tmp_path, "abc", cycles=2))
    ours = Claims(folder / "claims")

    def run(plan: ExperimentPlan) -> RawProcessResult:
        assert plan.run_key is not None
        bench.log.append(f"{plan.run_key.block}")
        if bench.log == ["0"]:
            # This worker stood still; another has the block now.
            taken_over(folder / "claims", "block-0000")
            held.append(ours.taken("block-0000"))
            assert held[0].__enter__() is not None
        return fake_process_result(plan)

    def sleep(_: float) -> None:
        held.pop().__exit__(None, None, None)

    held: list[Any] = []
    with ours:
        resume_study(folder, bench.options(launcher=FakeLauncher(run), sleep=sleep))
    # The run that was going on, then the other block, then what was given back.
    assert bench.log == ["0", "1", "1", "1", "0", "0"]


def test_going_on_reads_no_result_of_what_left_a_row(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupted_after(bench, tmp_path, 2, of(tmp_path, "abc"))
    read: list[str] = []

    def noted(content: bytes, file: Path, sums: Any = None) -> ExperimentResult:
        read.append(str(file))
        return result_of(content, file, sums)

    monkeypatch.setattr("llenergymeasure.results.study.rows.result_of", noted)
    work = work_on(folder, bench.options())
    assert (work.n_finished, bench.log) == (1, ["run c"])
    assert [Path(file).parent.parent.name[:4] for file in read] == ["0002"]


def test_what_failed_is_not_tried_again_on_going_on(bench: Bench, tmp_path: Path) -> None:
    bench.errors["a"] = BackendError("no")
    study = executed(bench, of(tmp_path, "ab"))
    assert study.output_dir is not None
    again = resume_study(study.output_dir, bench.options())
    assert [failure.name for failure in again.failures] == ["a"]
    assert bench.log == ["run a", "run b"]


def test_an_attempt_that_was_killed_stays_and_the_next_one_counts(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 1, of(tmp_path, "ab"))
    plan = StudyDirectory(folder).plan()
    half = folder / "runs" / plan.folder_of(plan.slots[1]) / "attempt-1"
    half.mkdir(parents=True)
    (half / "log.txt").write_text("half", encoding="utf-8")
    study = resume_study(folder, bench.options())
    assert names_of(study) == "ab"
    assert [path.name for path in sorted(half.parent.iterdir())] == ["attempt-1", "attempt-2"]
    assert (half / "log.txt").read_text(encoding="utf-8") == "half"


def test_only_what_is_left_is_examined_again(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 2, of(tmp_path, "abc"))
    asked: list[str | None] = []

    def preflight(experiments: Any, output_dir: Path | None, asking: object) -> Any:
        asked.extend(each.name for each in experiments)
        return [ExaminedExperiment(devices=("GPU-x",)) for _ in experiments]

    study = resume_study(folder, bench.options(preflight=preflight))
    assert asked == ["c"]
    assert [plan.devices for plan in bench.launcher.plans] == [("GPU-x",)]
    assert names_of(study) == "abc"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text[: len(text) // 2], "torn or was edited"),
        (lambda text: text.replace('"plan_version": 1', '"plan_version": 9'), "plan_version is 9"),
        (lambda text: text.replace('"n": 1,', '"n": 5,'), "would be run as"),
        (lambda text: text.replace('"configuration": 1', '"configuration": 7'), "there are 2 configurations"),
        (lambda text: text.replace('"configuration": 1', '"configuration": 0'), "has another hash"),
        (lambda text: "[]", "plan_version is None"),
        (lambda text: text.replace('"block": 0', '"block": 1'), "its slots are others than those that were planned"),
    ],
)
def test_a_damaged_plan_is_refused(bench: Bench, tmp_path: Path, damage: Any, said: str) -> None:
    folder = interrupted_after(bench, tmp_path, 0, of(tmp_path, "ab"))
    file = folder / "plan.json"
    text = file.read_text(encoding="utf-8")
    assert damage(text) != text
    file.write_text(damage(text), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        resume_study(folder, bench.options())
    assert bench.log == []


@pytest.mark.parametrize("order", ["blocks", "sequential", "shuffled"])
@pytest.mark.parametrize("keeps", [True, False])
def test_what_scatters_is_run_more_often_than_what_does_not(
    bench: Bench, tmp_path: Path, keeps: bool, order: Any
) -> None:
    def run(plan: ExperimentPlan) -> RawProcessResult:
        bench.log.append(str(plan.config.name))
        raw = fake_process_result(plan)
        # Every other run of b takes a tenth longer.
        longer_s = 0.2 if bench.log.count("b") % 2 and plan.config.name == "b" else 0.0
        return raw.model_copy(update={"window_end_s": raw.window_end_s + longer_s})

    execution = StudyExecutionConfig(cycles=3, order=order, stop=StopConfig(metric="tokens_per_second", max_cycles=6))
    given = study_of("a", "b", output_dir=tmp_path if keeps else None, execution=execution)
    study = executed(bench, given, launcher=FakeLauncher(run))
    assert (bench.log.count("a"), bench.log.count("b")) == (3, 6)
    assert study.n_planned == 12
    if keeps:
        (folder,) = tmp_path.iterdir()
        standing = standing_of_study(folder)
        assert (standing.state, standing.n_finished, standing.n_to_do, standing.n_not_needed) == ("finished", 9, 0, 3)
        bench.log.clear()
        resume_study(folder, bench.options())
        assert bench.log == []


def test_a_new_study_names_an_unfinished_one_of_the_same_plan(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = of(tmp_path, "ab", cycles=2)
    folder = interrupted_after(bench, tmp_path, 1, given)
    assert "unfinished" not in caplog.text
    executed(bench, of(tmp_path, "ab", cycles=3))
    assert "unfinished" not in caplog.text, "another plan"
    second = executed(bench, given)
    assert second.output_dir not in (None, folder)
    said = f"an unfinished study of the same plan is in {folder} (1 of 4 runs finished); this is a new one"
    assert caplog.text.count(said) == 1
    assert f"llem run --resume {folder}" in caplog.text
    resume_study(folder, bench.options())
    caplog.clear()
    executed(bench, given)
    assert "unfinished" not in caplog.text


def test_a_folder_of_something_else_is_no_study(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder of a study: it has no plan\.json"):
        resume_study(tmp_path, bench.options())


def test_what_another_worker_has_is_left_to_it_until_it_is_through(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 0, of(tmp_path, "ab"))
    plan = StudyDirectory(folder).plan()
    waited: list[float] = []

    with Claims(folder / "claims") as other, other.taken("0000") as theirs:
        assert theirs is not None

        def sleep(seconds: float) -> None:
            # The other one is done with it.
            assert bench.log == ["run b"]
            waited.append(seconds)
            done = StudyDirectory(folder).new_attempt(plan, plan.slots[0])
            shutil.copytree(folder / "runs" / plan.folder_of(plan.slots[1]) / "attempt-1", done, dirs_exist_ok=True)
            assert theirs.end("finished", done.name)

        study = resume_study(folder, bench.options(sleep=sleep))
    assert bench.log == ["run b"]
    assert len(waited) == 1
    assert study.n_experiments == 2


def test_who_was_superseded_while_it_measured_drops_what_it_has(bench: Bench, tmp_path: Path) -> None:
    given = of(tmp_path, "ab")

    def run(plan: ExperimentPlan) -> RawProcessResult:
        bench.log.append(f"run {plan.config.name}")
        if bench.log == ["run a"]:
            # It stood still; another took over, and is through.
            (folder,) = tmp_path.glob("*/claims")
            taken_over(folder, "0000")
        return fake_process_result(plan)

    study = executed(bench, given, launcher=FakeLauncher(run))
    # Nobody had finished it, so it is run once more.
    assert bench.log == ["run a", "run a", "run b"]
    assert names_of(study) == "ab"
    assert study.output_dir is not None
    assert len(list(study.output_dir.glob("runs/*/attempt-*"))) == 2


def test_four_workers_run_every_slot_once(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 0, of(tmp_path, "abc", cycles=8))
    ran: list[tuple[str, str]] = []

    def run(plan: ExperimentPlan) -> RawProcessResult:
        assert plan.output_dir is not None
        ran.append((threading.current_thread().name, plan.output_dir.parent.name))
        time.sleep(0.02)
        return fake_process_result(plan)

    options = bench.options(launcher=FakeLauncher(run), sleep=lambda _: time.sleep(0.01))
    workers = [threading.Thread(target=resume_study, args=(folder, options), name=f"w{i}") for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    slots = [slot for _, slot in ran]
    assert len(slots) == len(set(slots)) == 24
    blocks: dict[int, set[str]] = {}
    for worker_name, slot_name in ran:
        blocks.setdefault(int(slot_name[:4]) // 3, set()).add(worker_name)
    assert all(len(who) == 1 for who in blocks.values()), "a block is one worker's"
    assert len({next(iter(who)) for who in blocks.values()}) > 1
    assert len(list(folder.glob("runs/*/attempt-*/DONE"))) == 24


def test_the_events_of_a_study_say_what_happened_when(bench: Bench, tmp_path: Path) -> None:
    bench.errors["b"] = BackendError("no")
    study = executed(bench, of(tmp_path, "ab", pause_s=3))
    assert study.output_dir is not None
    told = list(events_in(study.output_dir / "events"))
    assert [(each["event"], each.get("slot")) for each in told] == [
        ("begin", None), ("start", 0), ("finished", 0), ("rested", None), ("start", 1), ("failed", 1), ("end", None),
    ]  # fmt: skip
    assert told[3]["until"] == "the pause of 3 s was over"
    assert [each["time"] for each in told][4] == "2026-01-01T00:00:03+00:00"
    assert told[0]["pid"] == os.getpid()
    file = next((study.output_dir / "events").iterdir())
    file.write_bytes(file.read_bytes() + b'{"event": "torn"')
    assert len(list(events_in(study.output_dir / "events"))) == 7


@pytest.mark.parametrize("planned_as", ["fp16", None])
def test_what_was_left_to_the_machine_has_to_come_out_as_planned(
    bench: Bench, tmp_path: Path, planned_as: str | None
) -> None:
    # No processor of this kind computes in fp16 by itself.
    with Asking() as asking:
        here = settled_before_a_run(ExperimentConfig(model="m", precision="auto"), asking).config.precision
    assert here != "fp16"
    given = StudyConfig(experiments=[ExperimentConfig(model="m", precision="auto")], output_dir=tmp_path)
    config = ExperimentConfig.model_validate({"model": "m", "precision": planned_as or here})
    plan = plan_of(given, [Settled(config, {"precision": "auto"})], bench.clock.now())
    StudyDirectory(tmp_path).write(plan, given)
    if planned_as is None:
        assert resume_study(tmp_path, bench.options()).n_experiments == 1
        return
    with pytest.raises(ConfigError, match=f"precision: auto was fp16 where this study was planned and is {here} here"):
        resume_study(tmp_path, bench.options())
    assert bench.log == []


class InterruptedDirectory(StudyDirectory):
    """A folder in which Ctrl-C comes while an attempt is made."""

    def new_attempt(self, plan: StudyPlan, slot: Slot) -> Path:
        attempt = super().new_attempt(plan, slot)
        signal.raise_signal(signal.SIGINT)
        return attempt


def test_an_attempt_that_is_interrupted_while_it_is_made_leaves_nothing(bench: Bench, tmp_path: Path) -> None:
    path = executed(bench, of(tmp_path, "a", cycles=1)).output_dir
    assert path is not None
    shutil.rmtree(path / "runs")
    plan = StudyDirectory(path).plan()
    attempts = Attempts(InterruptedDirectory(path), plan, {}, bench.options(), keeps=True, work=Work())
    with Claims(path / "claims") as claims, claims.taken("0000") as claim:
        assert claim is not None
        with pytest.raises(KeyboardInterrupt):
            attempts.once(plan.slots[0], claim)
    assert list((path / "runs").iterdir()) == []
    assert bench.log == ["run a"]


def test_a_block_is_run_on_one_device_whichever_workers_there_are(bench: Bench, tmp_path: Path) -> None:
    folder = interrupted_after(bench, tmp_path, 0, of(tmp_path, "abc", cycles=8))

    def run(plan: ExperimentPlan) -> RawProcessResult:
        time.sleep(0.02)
        raw = fake_process_result(plan)
        # Each worker has a card of its own, which each sees as the first.
        model = replace(raw.model, devices=(f"GPU-of-{threading.current_thread().name}",))
        return raw.model_copy(update={"model": model})

    options = bench.options(launcher=FakeLauncher(run), sleep=lambda _: time.sleep(0.01))
    workers = [threading.Thread(target=resume_study, args=(folder, options), name=f"w{i}") for i in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    plan = StudyDirectory(folder).plan()
    found = rows(StudyDirectory(folder), plan).rows
    cards: dict[int, set[str]] = {}
    for row in found.values():
        cards.setdefault(row.block, set()).update(row.circumstances.gpu_uuids)
    assert len(found) == 24
    assert [len(of_block) for of_block in cards.values()] == [1] * 8
    assert len(set().union(*cards.values())) > 1
