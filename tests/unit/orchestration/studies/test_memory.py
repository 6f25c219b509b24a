"""What a worker keeps of runs that are behind it."""

import gc
import sys
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llenergymeasure.config.execution import StudyExecutionConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.orchestration.studies.damage import damaged
from llenergymeasure.orchestration.studies.execute import carry_out
from llenergymeasure.results.study.rows import SlotRow, rows
from llenergymeasure.testing import fake_process_result
from tests.fakes.studies import Study, of_batches
from tests.unit.orchestration.conftest import Bench, study_of

# A row of the summary has some thirty figures of its own; what is alike in all rows is there once.
_MOST_OBJECTS_PER_RUN = 50


@dataclass
class Watched:
    """A launcher whose runs are instant, and who counts what is left of those before, at two of them."""

    looks: Sequence[int]
    n: int = 0
    known: list[weakref.ref[Any]] = field(default_factory=list)
    n_alive: list[int] = field(default_factory=list)
    n_objects: list[int] = field(default_factory=list)

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """The next run."""
        if self.n in self.looks:
            gc.collect()
            self.n_objects.append(sys.getallocatedblocks())
            self.n_alive.append(sum(each() is not None for each in self.known))
        self.n += 1
        raw = fake_process_result(plan)
        self.known.append(weakref.ref(raw))
        return [raw]

    def planned(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Nothing is kept of it."""

    def finished(self, result: ExperimentResult) -> None:
        """One more to be looked for."""
        self.known.append(weakref.ref(result))

    def clock_s(self) -> float:
        """Long after every file, and a minute in ten runs: so the summary is written after every tenth."""
        return 1e11 + 61.0 * (self.n // 10)


def n_rows_held() -> int:
    # Some libraries have objects that warn when they are asked what they are.
    return sum(type(each) is SlotRow for each in gc.get_objects())


def test_memory_of_a_worker_does_not_grow_with_what_it_measured(bench: Bench, tmp_path: Path) -> None:
    watched = Watched(looks=(40, 100))
    study = study_of("a", "b", output_dir=tmp_path, execution=StudyExecutionConfig(cycles=51))
    outcome = carry_out(study, bench.options(launcher=watched, arrivals=watched, file_time_s=watched.clock_s))
    assert (outcome.n_results, outcome.is_well) == (102, True)
    # Neither what a process measured nor what was made of it.
    assert watched.n_alive == [0, 0]
    before, after = watched.n_objects
    assert (after - before) / 60 < _MOST_OBJECTS_PER_RUN, (before, after)


def test_of_finished_runs_that_are_looked_at_one_row_is_held_at_a_time(tmp_path: Path) -> None:
    study = Study.of(tmp_path / "study", of_batches(1, 4), n_cycles=2)
    study.finish_all((80.0, 81.0), (60.0, 61.0))
    assert len(rows(study.directory, study.plan).rows) == 4
    for log in tmp_path.glob("study/runs/*/attempt-1/log.txt"):
        log.unlink()
    gc.collect()
    n_before, n_rows = n_rows_held(), []
    for _, _, why in damaged(study.directory, study.plan, check_sums=False):
        assert why == "a file of it is gone, or has another size"
        n_rows.append(n_rows_held() - n_before)
    assert len(n_rows) == 4
    assert max(n_rows) <= 1
