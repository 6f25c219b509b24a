"""What is seen of a study from outside: its workers by their own word, and jobs by that of their scheduler."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from llenergymeasure.core.progress import Progress
from llenergymeasure.orchestration.cluster.signs import LeavingSigns, Signs, job_in, signs_in
from llenergymeasure.orchestration.cluster.submissions import (
    Submission,
    folder_of,
    is_cancelled,
    keep_submission,
    mark_cancelled,
    new_submission,
    submissions_of,
)
from llenergymeasure.orchestration.cluster.watched import Watching
from llenergymeasure.orchestration.studies.claiming.claims import Claims
from llenergymeasure.orchestration.studies.claiming.workers import Worker
from llenergymeasure.testing import FakeClock
from tests.fakes.studies import Study, of_batches


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return Study.of(tmp_path / "study", of_batches(1, 2), n_cycles=2)


def leave(study: Study, **about: object) -> None:
    """A worker's word, of now unless it says otherwise."""
    signs = Signs(host="n1", pid=7, since_s=time.time(), seen_s=time.time(), n_signs=1)
    (study.directory.path / "workers").mkdir(exist_ok=True)
    changed = replace(signs, **about)  # type: ignore[arg-type]
    file = study.directory.path / "workers" / f"{changed.host}-{changed.pid}.json"
    file.write_text(json.dumps(asdict(changed)), encoding="utf-8")


def test_a_worker_says_what_it_does_and_that_it_has_ended(study: Study) -> None:
    path, worker, clock = study.directory.path, Worker.this_process(), FakeClock()
    environ = {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "15", "SLURMD_NODENAME": "n4"}
    asked: list[tuple[str, ...]] = []

    def power_w(uuids: tuple[str, ...]) -> float | None:
        asked.append(uuids)
        return 312.5

    with LeavingSigns(path, Progress(), worker, environ, clock, power_w, every_s=0.02) as signs:
        (first,) = signs_in(path)
        assert (first.job, first.node, first.doing, first.power_w, first.ended) == (
            "12_3",
            "n4",
            "starting",
            312.5,
            False,
        )
        assert (first.host, first.pid) == (worker.host, worker.pid)
        signs.at_run(3, 24, None)
        with signs.elsewhere():
            end_s = time.monotonic() + 30
            while (found := signs_in(path)[0]).doing != "measuring":
                assert time.monotonic() < end_s
                time.sleep(0.01)
            assert found.run == "3 of 24"
            assert found.n_signs > 1
    (last,) = signs_in(path)
    assert (last.ended, last.doing, last.power_w, last.run) == (True, "ended", None, None)
    assert asked


def test_nothing_is_written_where_there_is_no_study(tmp_path: Path) -> None:
    with LeavingSigns(tmp_path, Progress(), Worker.this_process(), {}, FakeClock(), lambda _: None):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "15"}, "15"),
        ({"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "0", "SLURM_JOB_ID": "12"}, "12_0"),
        ({"PBS_JOBID": "9.head"}, "9.head"),
        ({"JOB_NAME": "llem-workers-x"}, "llem-workers-x"),
    ],
)
def test_the_number_of_a_job_is_as_its_scheduler_writes_it(environ: Mapping[str, str], job: str | None) -> None:
    assert job_in(environ) == job


def test_a_worker_is_seen_with_what_it_has_and_is_silent_after_a_minute(study: Study) -> None:
    clock, watching = FakeClock(), Watching(study.directory.path)
    watching.clock = clock
    worker = replace(Worker.this_process(), host="n1", pid=7)
    leave(study)
    with Claims(study.directory.path / "claims", worker) as claims, claims.taken("0001") as claim:
        assert claim is not None
        seen = watching.look()
        (found,) = seen.workers
        assert ([slot.slot for slot in found.slots], found.is_silent, seen.is_over) == ([1], False, False)
        # By the clock of whoever watches: that of the node may be anything.
        leave(study, seen_s=0.0, n_signs=2)
        clock.time_s += 50
        assert not watching.look().workers[0].is_silent
        clock.time_s += 61
        (found,) = watching.look().workers
        assert found.is_silent
        assert found.silent_s == pytest.approx(61, abs=1)


def test_one_that_ended_or_is_of_an_earlier_day_is_not_shown(study: Study) -> None:
    leave(study, ended=True)
    leave(study, pid=8, seen_s=time.time() - 3600)
    (study.directory.path / "workers" / "torn.json").write_text('{"host": "n1"', encoding="utf-8")
    seen = Watching(study.directory.path).look()
    assert seen.workers == ()
    # Nobody is there, and no job will come.
    assert seen.is_over


def test_the_time_left_is_shared_by_those_who_work(study: Study) -> None:
    leave(study)
    leave(study, pid=8)
    events = study.directory.path / "events"
    events.mkdir()
    lines = [("2026-01-01T00:00:00+00:00", "start"), ("2026-01-01T00:02:00+00:00", "finished")]
    (events / "a.jsonl").write_text(
        "".join(json.dumps({"time": at, "event": kind, "slot": 0}) + "\n" for at, kind in lines), encoding="utf-8"
    )
    study.finish(study.plan.slots[0])
    # Three runs of two minutes, by two.
    assert Watching(study.directory.path).look().left_s == pytest.approx(180.0)


def test_it_is_over_when_all_is_through(study: Study) -> None:
    leave(study)
    study.finish_all([1.0, 2.0], [1.0, 2.0])
    seen = Watching(study.directory.path).look()
    assert (seen.is_over, seen.standing.state) == (True, "finished")


def test_submissions_are_numbered_kept_and_cancelled(study: Study) -> None:
    path = study.directory.path
    assert (new_submission(path), new_submission(path)) == (1, 2)
    given = Submission(
        number=2, executor="slurm", job_ids=("12_0", "12_1"), time="2026-01-01T00:00:00+00:00", host="login",
        user="me", options={"workers": 2, "time_limit": "4h"},
    )  # fmt: skip
    keep_submission(path, given)
    assert submissions_of(path) == [given]
    assert given.in_words == "submission 2 of me on login (slurm; 2 jobs, 12)"
    assert given.config.time_limit_s == 4 * 3600
    assert not is_cancelled(path, 2)
    mark_cancelled(path, 2)
    assert is_cancelled(path, 2)
    (folder_of(path, 1) / "submission.json").write_text("torn", encoding="utf-8")
    assert submissions_of(path) == [given]
