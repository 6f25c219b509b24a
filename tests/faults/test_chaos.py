"""Workers of studies are killed, stopped and woken at any moment: every slot is finished once, and every sum holds."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from llenergymeasure.orchestration.studies.claiming.holders import Holders
from llenergymeasure.results.study.directory import SlotState, StudyDirectory
from tests.fakes.claiming import takings
from tests.fakes.effort import PATIENCE_S, examples
from tests.fakes.faulty import LLEM, environment, finished, in_words, living, study

N_KILLS = examples(100, by_default=10)
N_SLOTS = 4
_SOON_S = 20.0


def begun(folder: Path, *args: str) -> "subprocess.Popen[bytes]":
    """The program, started, in a group of its own."""
    return subprocess.Popen(
        [*LLEM, *args], cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def planned_study(folder: Path, n: int = N_SLOTS, **execution: object) -> Path:
    """The folder of a study of which nothing has been run yet: interrupted as soon as its plan was there."""
    folder.mkdir()
    out = folder / "out"
    process = begun(folder, "run", str(study(folder, n, **execution)), "-o", str(out))
    end_s = time.monotonic() + PATIENCE_S
    while not list(out.glob("*/plan.json")) and time.monotonic() < end_s:
        time.sleep(0.01)
    process.kill()
    process.wait(PATIENCE_S)
    wait_for_nobody(folder)
    (path,) = out.iterdir()
    return path


def wait_for_nobody(folder: Path) -> None:
    """Nothing that was started lives on."""
    end_s = time.monotonic() + _SOON_S
    while living(folder) and time.monotonic() < end_s:
        time.sleep(0.05)
    left = living(folder)
    assert left == [], in_words(left)


def check_whole(path: Path) -> None:
    """Every slot has one result, and each is whole and another one."""
    directory = StudyDirectory(path)
    plan = directory.plan()
    assert {directory.found(plan, slot).state for slot in plan.slots} == {SlotState.FINISHED}
    done = sorted(path.glob("runs/*/attempt-*/DONE"))
    assert len({each.parent.parent for each in done}) == len(done) == len(plan.slots), "one that counts per slot"
    results = finished(path)
    assert len(results) == len({result.experiment_id for result in results}) == len(plan.slots)
    assert [result.measurement_config_hash for result in results] == [plan.hash_of(slot) for slot in plan.slots]
    assert Holders(path / "claims").all() == {}
    for file in (path / "events").iterdir():
        for line in file.read_text(encoding="utf-8").splitlines():
            json.loads(line)


def test_a_worker_that_is_killed_again_and_again_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    chance, n_kills, n_studies = random.Random(15), 0, 0
    while n_kills < N_KILLS:
        folder = tmp_path / f"study-{n_studies}"
        n_studies += 1
        path = planned_study(folder)
        kept: dict[Path, bytes] = {}
        while True:
            process = begun(folder, "worker", str(path))
            try:
                process.wait(chance.uniform(0.3, 5.0) if n_kills < N_KILLS else PATIENCE_S)
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE_S)
                n_kills += 1
            wait_for_nobody(folder)
            # What was finished before is what it was.
            assert {file: file.read_bytes() for file in kept} == kept
            kept |= {file: file.read_bytes() for file in path.glob("runs/*/attempt-*/DONE")}
        assert process.returncode == 0
        wait_for_nobody(folder)
        check_whole(path)


def test_of_four_workers_one_is_killed_and_one_stopped_past_its_heartbeat_and_woken(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    path = planned_study(folder, 2, cycles=4, takeover_after_s=4, order="blocks")
    workers = [begun(folder, "worker", str(path)) for _ in range(4)]
    end_s = time.monotonic() + PATIENCE_S

    def running() -> dict[int, Path]:
        """Who has which claim on a slot, by process."""
        return takings(path / "claims")

    while len(running()) < 2 and time.monotonic() < end_s:
        time.sleep(0.02)
    killed, stopped, *_ = running()
    held = running()[stopped]
    os.kill(killed, signal.SIGKILL)
    os.kill(stopped, signal.SIGSTOP)
    # Somebody else takes it over, with the next number.
    following = held.with_suffix(f".{int(held.suffix[1:]) + 1}")
    while not following.exists() and time.monotonic() < end_s:
        time.sleep(0.05)
    assert following.exists(), "nobody took over"
    time.sleep(1)
    os.kill(stopped, signal.SIGCONT)
    codes = [worker.wait(PATIENCE_S) for worker in workers]
    assert sorted(codes) == [-9, 0, 0, 0]
    wait_for_nobody(folder)
    check_whole(path)
    # Blocks were kept whole: what a worker began in a block it ran all of, but where it died or stood still.
    plan = StudyDirectory(path).plan()
    ran: dict[int, set[str]] = {}
    for file in (path / "events").iterdir():
        for line in file.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["event"] == "finished":
                ran.setdefault(plan.slots[event["slot"]].block, set()).add(file.stem)
    assert sorted(ran) == [0, 1, 2, 3]
    assert sum(len(who) > 1 for who in ran.values()) <= 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_end_finishes_nothing_half_and_says_what_was_kept(
    tmp_path: Path, number: signal.Signals
) -> None:
    path = planned_study(tmp_path / "study", 2)
    # The run that made the plan was killed, maybe in its first attempt.
    killed = set(path.glob("runs/*/attempt-*"))
    process = begun(tmp_path / "study", "worker", str(path))
    end_s = time.monotonic() + PATIENCE_S
    while not list(path.glob("runs/*/attempt-*/DONE")) and time.monotonic() < end_s:
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) in (128 + number, 0)
    wait_for_nobody(tmp_path / "study")
    assert Holders(path / "claims").all() == {}
    for attempt in set(path.glob("runs/*/attempt-*")) - killed:
        assert (attempt / "DONE").exists()
    assert begun(tmp_path / "study", "worker", str(path)).wait(PATIENCE_S) == 0
    check_whole(path)
