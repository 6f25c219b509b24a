"""What ends all workers of a study, and what only one: workers that do as they are told, in the place of real ones."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.exceptions import BackendError
from llenergymeasure.orchestration.studies.crew import Crew
from llenergymeasure.orchestration.studies.execute import go_on, work_on
from llenergymeasure.orchestration.studies.slot_attempt import Work
from llenergymeasure.results.persistence import JsonRepository
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.events import events_in
from tests.unit.orchestration.conftest import Bench
from tests.unit.orchestration.studies.test_worker import interrupted_after, of

GPUS = tuple(GpuInfo(index=i, uuid=f"GPU-{i}", name="Acme") for i in range(2))
# What a worker leaves: its events, by which it is known what came of it. All else is started as ever.
MEMBER = """#!/bin/sh
case "$*" in *processes.guard*) exec {python} "$@";; esac
exec {python} -I {file} "$@"
"""
HEAD = """
import json, os, pathlib, sys, time
study = pathlib.Path(sys.argv[sys.argv.index("worker") + 1])
gpu = os.environ["CUDA_VISIBLE_DEVICES"]

def add(event, **about):
    with (study / "events" / (gpu + ".jsonl")).open("a") as file:
        file.write(json.dumps({"event": event, **about}) + "\\n")

def wait_for_the_first():
    first = study / "events" / "GPU-0.jsonl"
    while not first.exists() or '"end"' not in first.read_text():
        time.sleep(0.05)
    time.sleep(1)

add("begin", pid=os.getpid())
"""
GIVES_UP = 'add("end", stopped="3 failed in a row", only_here=True, problems=[])'
Put = Callable[[str], None]


@pytest.fixture
def folder(bench: Bench, tmp_path: Path) -> Path:
    """A study of one run, of which nothing has been made."""
    path = interrupted_after(bench, tmp_path, 0, of(tmp_path, "a"))
    (path / "events").mkdir(exist_ok=True)
    return path


@pytest.fixture
def members(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Have workers run a program."""

    def put(program: str) -> None:
        place = tmp_path_factory.mktemp("member")
        (place / "member.py").write_text(HEAD + program, encoding="utf-8")
        script = place / "python"
        script.write_text(MEMBER.format(python=sys.executable, file=place / "member.py"), encoding="utf-8")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return put


def finishing(folder: Path) -> str:
    """What the second worker does, once the first has ended: all that is left."""
    plan = StudyDirectory(folder).plan()
    attempt = folder / "runs" / plan.folder_of(plan.slots[0]) / "attempt-1"
    return f"""
    wait_for_the_first()
    attempt = pathlib.Path({str(attempt)!r})
    attempt.mkdir(parents=True)
    (attempt / "DONE").touch()
    add("finished", slot=0)
    add("end", stopped=None, problems=[])
"""


def test_where_one_gives_up_the_others_go_on(folder: Path, members: Put) -> None:
    members(f"if gpu == 'GPU-0':\n    {GIVES_UP}\nelse:{finishing(folder)}")
    work = Crew(folder, GPUS, None).run()
    assert (work.n_finished, work.stopped) == (1, None)
    assert work.problems == ["GPU 0: 3 failed in a row"]


def test_where_all_give_up_the_study_has_stopped(folder: Path, members: Put) -> None:
    members(GIVES_UP)
    work = Crew(folder, GPUS, None).run()
    assert work.stopped is not None
    head, _, reasons = work.stopped.partition(": ")
    assert head == "no worker is left"
    assert sorted(reasons.split("; ")) == ["GPU 0: 3 failed in a row", "GPU 1: 3 failed in a row"]
    assert work.problems == []


def test_where_the_study_is_stopped_all_end(folder: Path, members: Put) -> None:
    members(f"if gpu == 'GPU-0':\n    {GIVES_UP.replace('True', 'False')}\nelse:\n    time.sleep(600)")
    work = Crew(folder, GPUS, None).run()
    assert (work.stopped, work.problems) == ("3 failed in a row", [])


def test_a_worker_that_cannot_be_started_is_told_as_that(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    work = Crew(folder, GPUS[:1], None, Work()).run()
    assert work.stopped == "no worker is left: GPU 0: no worker can be started: No such file or directory"


@pytest.mark.parametrize("on_failure", ["continue", "stop"])
def test_what_fails_again_and_again_ends_only_who_runs_it(bench: Bench, tmp_path: Path, on_failure: str) -> None:
    path = interrupted_after(bench, tmp_path, 0, of(tmp_path, "abc", stop_after_failures=2, on_failure=on_failure))
    bench.errors |= dict.fromkeys("abc", BackendError("the GPU has fallen off the bus"))
    assert work_on(path, bench.options()).n_failed == (2 if on_failure == "continue" else 1)
    (end,) = (each for each in events_in(path / "events") if each["event"] == "end")
    assert end["only_here"] == (on_failure == "continue")


class Full(JsonRepository):
    """A place that takes no result."""

    def save(self, *_: object, **__: object) -> Path:
        raise OSError(28, "No space left on device")


def test_a_result_that_is_in_no_folder_ends_all_who_share_it(bench: Bench, tmp_path: Path) -> None:
    path = interrupted_after(bench, tmp_path, 0, of(tmp_path, "ab"))
    work = work_on(path, bench.options(repository=Full()))
    assert bench.log == ["run a"]
    assert (work.stopped, work.n_finished) == ("the folder of the study takes nothing any more", 1)
    (problem,) = work.problems
    assert "No space left on device" in problem
    (end,) = (each for each in events_in(path / "events") if each["event"] == "end")
    assert (end["stopped"], end["only_here"]) == (work.stopped, False)
    # Who is alone has it still, and goes on.
    bench.log.clear()
    outcome = go_on(path, bench.options(repository=Full()))
    assert (bench.log, outcome.n_results, outcome.work.stopped) == (["run a", "run b"], 2, None)
