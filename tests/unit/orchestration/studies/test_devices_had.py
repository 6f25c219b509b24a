"""What a worker does with the devices of a run before it begins: they are held, found quiet or not, and rested."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import PreFlightError
from llenergymeasure.orchestration.device_locks import held
from llenergymeasure.orchestration.foreign_load import Seen
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.single import execute_experiment
from llenergymeasure.orchestration.studies.execute import resume_study
from llenergymeasure.orchestration.studies.gap import Standing
from llenergymeasure.results.study.events import events_in
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.unit.orchestration.conftest import Bench, study_of
from tests.unit.orchestration.studies.test_worker import executed, of


def is_held() -> bool:
    """Whether somebody has the lock of this machine's own devices."""
    try:
        with held(["host"], "somebody else", patience_s=0):
            return False
    except PreFlightError:
        return True


def test_between_two_runs_the_devices_rest_while_they_are_held(bench: Bench, tmp_path: Path) -> None:
    def sleep(seconds: float) -> None:
        bench.log.append(f"rest {seconds:g}, held: {is_held()}, folders: {len(list(tmp_path.glob('*/runs/*')))}")

    study = executed(bench, of(tmp_path, "ab", pause_s=3), sleep=sleep)
    assert bench.log == ["run a", "rest 3, held: True, folders: 1", "run b"]
    assert not is_held()
    assert study.failures == []


def test_a_first_run_rests_where_it_waited_for_somebody_elses(bench: Bench, tmp_path: Path) -> None:
    with contextlib.ExitStack() as theirs:
        theirs.enter_context(held(["host"], "another study"))

        def sleep(seconds: float) -> None:
            bench.log.append(f"sleep {seconds:g}")
            theirs.close()

        study = executed(bench, of(tmp_path, "ab", pause_s=30), sleep=sleep)
    assert bench.log == ["sleep 1", "sleep 30", "run a", "sleep 30", "run b"]
    assert study.output_dir is not None
    assert [each["event"] for each in events_in(study.output_dir / "events")] == [
        "begin", "rested", "start", "finished", "rested", "start", "finished", "end",
    ]  # fmt: skip


def test_a_run_whose_devices_others_have_all_the_time_has_failed_and_is_one_attempt(
    bench: Bench, tmp_path: Path
) -> None:
    with held(["host"], "another study"):
        study = executed(bench, of(tmp_path, "a", wait_for_devices_s=7))
    assert bench.log == ["sleep 1"] * 7
    (failure,) = study.failures
    assert failure.error_type == "PreFlightError"
    assert "host is being measured by process" in failure.message
    assert "(another study), and was all of 7 s" in failure.message
    assert study.output_dir is not None
    assert len(list(study.output_dir.glob("runs/*/attempt-1/failure.json"))) == 1


def test_the_events_say_whether_it_was_quiet(bench: Bench, tmp_path: Path) -> None:
    quiet_at_s = 4.0
    looked: list[Sequence[str]] = []

    def look(devices: Sequence[str]) -> Seen:
        looked.append(devices)
        return Seen(others=() if bench.clock() == quiet_at_s else ("their load",))

    study = executed(bench, of(tmp_path, "ab", pause_s=30, wait_for_quiet_s=5), look=look)
    # The first run rests too, because others have just used the devices; the second begins when time is over.
    assert bench.log == [
        "sleep 2", "sleep 2", "sleep 30", "run a", "sleep 2", "sleep 2", "sleep 1", "sleep 30", "run b",
    ]  # fmt: skip
    assert set(map(tuple, looked)) == {("host",)}
    assert study.output_dir is not None
    told = [each for each in events_in(study.output_dir / "events") if each["event"] == "quiet"]
    assert [(each["slot"], each["found"]) for each in told] == [(0, "quiet after 4 s"), (1, "not quiet: their load")]


def test_a_single_run_waits_for_quiet_too(bench: Bench) -> None:
    given = study_of("a").experiments[0]
    given = given.model_copy(update={"execution": ExecutionConfig(wait_for_quiet_s=60)})
    others = {0.0: Seen(others=("their load",)), 2.0: Seen()}
    execute_experiment(given, bench.options(look=lambda _: others[bench.clock()]))
    assert bench.log == ["sleep 2", "run a"]


def test_who_goes_on_with_a_study_takes_a_warm_gpu_for_what_it_is(bench: Bench, tmp_path: Path) -> None:
    def preflight(experiments: Sequence[ExperimentConfig], *_: object) -> list[ExaminedExperiment]:
        return [ExaminedExperiment(devices=("GPU-x",)) for _ in experiments]

    def standing(uuids: Sequence[str]) -> dict[str, Standing]:
        # At 30 C before the first run; after one at 50 C, and a degree less with each second.
        warm_c = max(30.0, 50.0 - (bench.clock() - ended_s[-1])) if ended_s else 30.0
        return dict.fromkeys(uuids, Standing(warm_c, 60.0))

    def run(plan: ExperimentPlan) -> RawProcessResult:
        bench.log.append(f"run {plan.config.name}")
        if plan.config.name == "b" and not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        ended_s.append(bench.clock())
        return fake_process_result(plan)

    ended_s, interrupted = list[float](), list[bool]()
    options = {"launcher": FakeLauncher(run), "preflight": preflight, "standing": standing}
    with pytest.raises(KeyboardInterrupt):
        executed(bench, of(tmp_path, "ab", pause_s=60, gate_temperature_c=5), **options)
    # Down to 35 C in 15 s.
    assert bench.log == ["run a", *["sleep 1"] * 15, "run b"]
    bench.log.clear()
    ended_s.append(bench.clock())
    (folder,) = tmp_path.iterdir()
    resume_study(folder, bench.options(**options))
    # The same to the same 35 C, although it was at 50 C when this worker began.
    assert bench.log == [*["sleep 1"] * 15, "run b"]
    told = [each["until"] for each in events_in(folder / "events") if each["event"] == "rested"]
    assert told == ["temperature and power were back after 15 s"] * 2
