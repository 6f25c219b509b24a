"""What is still begun where time is limited: figures by hand."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.domain.study.plan import Slot, StudyPlan
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration.cluster.time_left import RunTimes, TimeLeft
from llenergymeasure.orchestration.studies.claiming.holders import Holders
from llenergymeasure.orchestration.studies.execute import work_on
from llenergymeasure.orchestration.studies.until import Until
from llenergymeasure.testing import FakeClock
from tests.fakes.studies import START, of_batches, plan_of
from tests.unit.orchestration.conftest import Bench, study_of
from tests.unit.orchestration.studies.test_worker import interrupted_after


def plan() -> StudyPlan:
    """Two configurations, each run twice, the first one first."""
    return plan_of(of_batches(1, 2), n_cycles=2, order="sequential")


def events(folder: Path, name: str, *what: tuple[float, str, int | None]) -> None:
    """Events of a worker: seconds, kind and slot."""
    folder.mkdir(exist_ok=True)
    lines = []
    for at, kind, slot in what:
        about = {} if slot is None else {"slot": slot}
        lines.append(json.dumps({"time": (START + timedelta(seconds=at)).isoformat(), "event": kind, **about}))
    (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_longest_counts_and_what_was_cut_off_took_longer(tmp_path: Path) -> None:
    events(tmp_path, "a", (0, "begin", None), (1, "start", 0), (61, "finished", 0), (70, "start", 1),
           (170, "finished", 1))  # fmt: skip
    events(tmp_path, "b", (0, "start", 2), (90, "interrupted", None))
    times = RunTimes.of(plan(), tmp_path)
    # The first configuration took 60 and 100 s; the other was cut off after 90.
    assert (times.longest_s, times.cut_s) == ({0: 100.0}, {1: 90.0})
    # A tenth and 5 s more.
    assert times.next_s(0) == pytest.approx(115.0)
    assert times.next_s(1) == pytest.approx(104.0)


def test_what_failed_or_was_torn_says_nothing(tmp_path: Path) -> None:
    events(tmp_path, "a", (0, "start", 0), (50, "failed", 0), (60, "start", 99), (70, "finished", 99))
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('{"event": "start", "slot": 1\n{"time": "never", "event": "start", "slot": 1}\n')
    times = RunTimes.of(plan(), tmp_path)
    assert times.next_s(0) is None


def test_one_that_was_never_run_takes_as_long_as_any() -> None:
    assert RunTimes({0: 20.0}).next_s(1) == pytest.approx(27.0)


def test_what_cannot_end_in_time_is_not_begun() -> None:
    clock, slot = FakeClock(), Slot(slot=0, configuration=0, block=0, repeat=0)
    until = TimeLeft(RunTimes({0: 100.0}), 300.0, clock=clock)
    # 115 s are needed: 115.5 are left, then 114.5.
    clock.time_s += 184.5
    assert until.no_time_for(slot) is None
    clock.time_s += 1.0
    assert until.no_time_for(slot) == (
        "a run of this configuration takes up to 115 s, and 114 s are left of the time limit"
    )
    assert until.as_options() == ["--time-limit", "114s"]


def test_what_is_longer_than_the_whole_limit_is_said_as_that() -> None:
    until = TimeLeft(RunTimes(cut_s={0: 100.0}), 110.0, clock=FakeClock())
    assert until.no_time_for(Slot(slot=0, configuration=0, block=0, repeat=0)) == (
        "a run of this configuration takes up to 115 s, and the time limit is 110 s in all: give it more time"
    )


def test_with_no_limit_only_who_was_asked_takes_no_more() -> None:
    asked: list[str] = []
    slot = Slot(slot=0, configuration=0, block=0, repeat=0)
    until = TimeLeft(RunTimes({0: 1e9}), None, lambda: asked[0] if asked else None)
    assert until.no_time_for(slot) is None
    assert until.as_options() == []
    asked.append("SIGUSR1")
    assert until.no_time_for(slot) == "asked to take no more runs (SIGUSR1)"


class Short(Until):
    """There is time for the second configuration only."""

    def no_time_for(self, slot: Slot) -> str | None:
        """Not for the others."""
        return None if slot.configuration == 1 else "too long"


@pytest.mark.parametrize("cycles", [1, 2])
def test_a_worker_passes_over_what_is_too_long_and_says_that_something_is_left(
    bench: Bench, tmp_path: Path, cycles: int
) -> None:
    # In blocks, where what is compared is run together, as in a list.
    execution = StudyExecutionConfig(cycles=cycles, order="blocks" if cycles > 1 else "sequential")
    path = interrupted_after(bench, tmp_path, 0, study_of(*"abc", output_dir=tmp_path, execution=execution))
    bench.log.clear()
    work = work_on(path, bench.options(until=Short()))
    assert bench.log == ["run b"] * cycles
    assert (work.stopped, work.only_here, work.out_of_time, work.n_finished) == ("too long", True, True, cycles)
    # The rest is nobody's.
    assert not Holders(path / "claims").all()


class Timed(Until):
    """Knows what took how long."""

    def __init__(self) -> None:
        self.told: list[tuple[int, float]] = []

    def took(self, slot: Slot, seconds: float) -> None:
        """Note it."""
        self.told.append((slot.configuration, seconds))


def test_what_finished_is_told_and_what_failed_is_not(bench: Bench, tmp_path: Path) -> None:
    path = interrupted_after(bench, tmp_path, 0, study_of(*"ab", output_dir=tmp_path))
    bench.errors["a"] = ExperimentError("no")
    until = Timed()
    work_on(path, bench.options(until=until))
    assert [configuration for configuration, _ in until.told] == [1]
