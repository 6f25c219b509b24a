"""Several workers on a file system that shows each what others did only later: nothing is lost, nothing is twice."""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llenergymeasure.core.settling import Settled
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.preflight.examined import ExaminedExperiment
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.claiming.workers import Worker
from llenergymeasure.orchestration.studies.planning import plan_of
from llenergymeasure.orchestration.studies.worker import StudyWorker
from llenergymeasure.results.study.directory import SlotState, StudyDirectory
from llenergymeasure.testing import FakeLauncher, fake_process_result
from tests.fakes.effort import examples
from tests.fakes.shared_folder import Actor, DelayedFiles, Faults, Stage
from tests.unit.orchestration.conftest import Bench
from tests.unit.orchestration.studies.test_worker import of

N_EXAMPLES = examples(300, by_default=25)
SEEDS = st.integers(min_value=0, max_value=2**32 - 1)


@dataclass
class Scene:
    """A study that several workers run on a stage; ``runs`` has the slot of each run that was begun."""

    folder: Path
    seed: int
    faults: Faults
    names: str = "abc"
    execution: dict[str, Any] = field(default_factory=dict)
    fails: str = ""
    run_s: tuple[float, float] = (0.1, 90.0)
    runs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Plan it."""
        given = of(self.folder, self.names, pause_s=0, **self.execution)
        bench = Bench()
        self.plan = plan_of(given, [Settled(each, {}) for each in given.experiments], bench.clock.now())
        StudyDirectory(self.folder).write(self.plan, given)
        self.stage = Stage(self.folder, self.seed, self.faults)

    def enter(self, name: str) -> Actor:
        """One more worker, on a host of its own."""
        return self.stage.enter(name, self._work)

    def _work(self, actor: Actor) -> None:
        files = DelayedFiles(actor)
        here = Worker(name=actor.name, host=actor.name, boot_id="b", pid=1, started_s=0.0)

        def claims(folder: Path, **given: Any) -> Claims:
            made = Claims(folder, here, clock=actor.clock, heartbeat_s=1e6, **given)
            actor.beat, actor.beat_s = made.refresh, made.stale_s / 12
            return made

        launcher = FakeLauncher(functools.partial(self._run, actor))
        options = Bench().options(launcher=launcher, sleep=actor.sleep, clock=actor.clock, file_time_s=actor.clock)
        # A device of its own, for which nobody else waits.
        examined = {i: ExaminedExperiment(devices=(f"GPU-{actor.name}",)) for i in range(len(self.names))}
        StudyWorker(StudyDirectory(self.folder, files), self.plan, examined, options, shared=True, claims=claims).run()

    def _run(self, actor: Actor, plan: ExperimentPlan) -> RawProcessResult:
        assert plan.run_key is not None
        self.runs.append(plan.run_key.slot)
        actor.sleep(self.stage.chance.uniform(*self.run_s))
        if plan.config.name is not None and plan.config.name in self.fails:
            raise BackendError("no such weights")
        return fake_process_result(plan)

    def check(self) -> None:
        """Every slot has one attempt that counts, and whatever else is there does not."""
        directory = StudyDirectory(self.folder)
        retries = self.plan.execution.retries
        for slot in self.plan.slots:
            done = [path.parent for path in directory.folder(self.plan, slot).glob("attempt-*/DONE")]
            failures = list(directory.folder(self.plan, slot).glob("attempt-*/failure.json"))
            counting = [attempt for attempt in done if not (attempt / "DAMAGED").exists()]
            found = directory.found(self.plan, slot)
            if self.plan.configurations[slot.configuration].values["name"] in self.fails:
                assert (found.state, found.n_failed, len(done)) == (SlotState.FAILED, retries + 1, 0)
                assert len([path for path in failures if not (path.parent / "DAMAGED").exists()]) == retries + 1
            else:
                assert found.state is SlotState.FINISHED
                assert len(counting) == 1, f"slot {slot.slot}: {counting}"


def played(seed: int, faults: Faults, n_workers: int = 3, **given: Any) -> Scene:
    """A study from its beginning to its end, by several workers and, where all were killed, by one more."""
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder), seed, faults, **given)
        for number in range(n_workers):
            scene.enter(f"w{number}")
        scene.stage.play()
        # All may have been killed, or each may have left what another one had.
        scene.stage.faults = Faults(delay_s=faults.delay_s)
        scene.enter("last")
        scene.stage.play()
        scene.check()
        return scene


@settings(max_examples=N_EXAMPLES, deadline=None)
@given(seed=SEEDS)
def test_with_views_of_two_seconds_ago_and_clocks_a_minute_apart_every_slot_is_run_once(seed: int) -> None:
    scene = played(seed, Faults(), execution={"cycles": 2})
    assert sorted(scene.runs) == list(range(6))


@settings(max_examples=N_EXAMPLES, deadline=None)
@given(seed=SEEDS)
def test_what_fails_is_tried_as_often_as_told_whatever_is_seen_late(seed: int) -> None:
    scene = played(seed, Faults(), names="abcd", fails="bd", run_s=(0.1, 3.0),
                   execution={"retries": 1, "stop_after_failures": None})  # fmt: skip
    assert sorted(scene.runs) == [0, 1, 1, 2, 3, 3]


@settings(max_examples=N_EXAMPLES, deadline=None)
@given(seed=SEEDS)
def test_who_stands_still_past_its_heartbeat_loses_nothing_and_makes_nothing_twice(seed: int) -> None:
    played(seed, Faults(pause=0.03), names="abcd", run_s=(0.1, 20.0))


@settings(max_examples=N_EXAMPLES, deadline=None)
@given(seed=SEEDS)
def test_who_is_killed_between_any_two_steps_leaves_what_others_finish(seed: int) -> None:
    played(seed, Faults(pause=0.01, kill=0.01), names="abcd", run_s=(0.1, 20.0), execution={"cycles": 1})
