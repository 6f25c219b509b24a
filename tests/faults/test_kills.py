"""Runs and studies that are killed at any moment: nothing is lost or there twice, and nothing lives on."""

import contextlib
import random
import re
import signal
import subprocess
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from llenergymeasure._folders import remove_leftovers
from llenergymeasure.domain.result import ExperimentResult
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S, examples
from tests.fakes.faulty import LLEM, arguments, environment, finished, living, study

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# By default each kind once: four signals, to a run or a study, aimed or not.
N_KILLS = examples(200, by_default=16)
N_SLOTS = 3
# Nothing may live on, and a busy machine takes its time to end several runs at once.
SOON_S = 20.0
CODES = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130, signal.SIGHUP: 129}
# A process has begun to do what is its own once it says anything.
_SAYS = re.compile(r"llem: (interrupted|ended by SIG[A-Z]+); (?P<what>.*)")


@dataclass(frozen=True)
class Killed:
    """A run that was sent a signal, and what was there when it and all that it started had ended."""

    signal: signal.Signals
    is_study: bool
    code: int
    told: str
    aimed: bool
    out: Path
    left_behind: tuple[str, ...]
    results: tuple[ExperimentResult, ...]


def kill_one(folder: Path, seed: int, whole_s: float) -> Killed:
    """Begin a run, and send it a signal at a random moment of the time that it takes.

    Eight of sixteen are aimed: at the time that is measured, and in a study at the runs after the first. However long a
    machine takes to start, some signals arrive there.
    """
    chance = random.Random(seed)
    number, is_study = SIGNALS[seed % len(SIGNALS)], bool(seed // len(SIGNALS) % 2)
    aimed = bool(seed // (2 * len(SIGNALS)) % 2)
    folder.mkdir()
    env, out = environment(folder), folder / "out"
    command = [*LLEM, "run", str(study(folder, N_SLOTS)), "-o", str(out)] if is_study else arguments(out)
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    if aimed:
        end_s = time.monotonic() + PATIENCE_S
        while process.poll() is None and time.monotonic() < end_s and not _is_at_it(out, is_study):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, whole_s if is_study else 0.4))
    else:
        time.sleep(chance.uniform(0.05, whole_s * (2 if is_study else 1)))
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE_S)
    end_s = time.monotonic() + SOON_S
    while living(folder) and time.monotonic() < end_s:
        time.sleep(0.05)
    return Killed(
        signal=number,
        is_study=is_study,
        code=process.returncode,
        told=told,
        aimed=aimed,
        out=out,
        left_behind=tuple(str(p.cmdline()) for p in living(folder)),
        results=tuple(finished(out)),
    )


def _is_at_it(out: Path, is_study: bool) -> bool:
    """Whether it measures; for a study whether one of its runs is over."""
    if is_study:
        return any(out.rglob("DONE"))
    # A folder gets its name when what is in it is whole.
    with contextlib.suppress(FileNotFoundError):
        return any("measuring" in log.read_text() for log in out.rglob("log.txt"))
    return False


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> "dict[int, Future[Killed]]":
    """Runs that are killed, two beside each other: other tests look at seconds meanwhile."""
    root = tmp_path_factory.mktemp("killed")
    began_s = time.monotonic()
    (root / "whole").mkdir()
    subprocess.run(
        arguments(root / "whole" / "out"), env=environment(root / "whole"), cwd=root / "whole", check=True,
        capture_output=True,
    )  # fmt: skip
    # Two at a time take longer each.
    whole_s = 1.3 * (time.monotonic() - began_s)
    pool = ThreadPoolExecutor(2)
    return {seed: pool.submit(kill_one, root / str(seed), seed, whole_s) for seed in range(N_KILLS)}


@pytest.mark.parametrize("seed", range(N_KILLS))
def test_nothing_is_lost_nothing_is_there_twice_and_nothing_lives_on(
    killed: "dict[int, Future[Killed]]", seed: int
) -> None:
    run = killed[seed].result()
    assert run.left_behind == ()
    # Before it says anything Python itself is starting.
    assert "Traceback" not in run.told[max(0, run.told.find("llem: ")) :] or "llem: " not in run.told
    # Before the program has begun the signal does what it does to any.
    assert run.code in (0, CODES[run.signal], -run.signal), run.told
    if run.out.exists() and run.signal != signal.SIGKILL:
        assert not list(run.out.rglob("*.llem-partial"))
        assert not list(run.out.rglob("*.llem-lock"))
    names = [result.name for result in run.results]
    assert len(set(names)) == len(names)
    assert len({result.experiment_id for result in run.results}) == len(names)
    said = _SAYS.search(run.told)
    if run.is_study:
        _holds_for_a_study(run, "" if said is None else said["what"])
    elif said is not None:
        assert said["what"] == ("nothing was kept" if not names else f"the result is in {_folder_of(run)}")
    if run.signal == signal.SIGKILL and run.out.exists():
        # What the next run in that folder does first.
        remove_leftovers(run.out)
        assert not list(run.out.rglob("*.llem-partial"))
        assert [result.name for result in finished(run.out)] == names


def _holds_for_a_study(run: Killed, said: str) -> None:
    done = list(run.out.rglob("DONE")) if run.out.exists() else []
    if run.signal == signal.SIGKILL:
        # A result may have been written whose sums were not.
        assert len(done) <= len(run.results) <= len(done) + 1
        return
    assert len(done) == len(run.results)
    if run.code == 0:
        assert len(done) == N_SLOTS
    if "had finished" in said:
        assert f"{len(done)} of {N_SLOTS} experiments had finished" in said


def _folder_of(run: Killed) -> Path:
    (file,) = run.out.rglob("result.json")
    return file.parent


def test_most_kills_came_while_something_was_going_on(killed: "dict[int, Future[Killed]]") -> None:
    runs = [future.result() for future in killed.values()]
    assert sum(run.code != 0 for run in runs) >= N_KILLS / 2
    # Those that were aimed came while it was measured, or while a study had results and more to do.
    hit = [run for run in runs if run.aimed and run.code != 0]
    assert len(hit) >= sum(run.aimed for run in runs) / 2
    assert any("measuring" in run.told for run in hit if not run.is_study)
    assert any(run.results for run in hit if run.is_study)


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    env, out = environment(tmp_path), tmp_path / "out"
    process = subprocess.Popen(arguments(out), env=env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end_s = time.monotonic() + PATIENCE_S
    while not list(out.glob("*.llem-partial/log.txt")):
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert list(out.glob(".*.llem-partial"))
    ran = subprocess.run(arguments(out), env=env, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "which a run that was killed left" in ran.stderr
    assert len(finished(out)) == 1
    assert {path.name[0] for path in out.iterdir()} == {"a"}
    assert list((tmp_path / "temporary").iterdir()) == []


# One that starts a server of its own, as some do, and serves for ever.
WITH_A_SERVER = TOY.replace(
    "        yield ToyModel",
    """        import subprocess
        subprocess.Popen(["sleep", "6000"], start_new_session=True)
        time.sleep(6000)
        yield ToyModel""",
)


def names_of_living(folder: Path) -> set[str]:
    """What the processes of a run are called, but those that end while they are asked."""
    found = set()
    for process in living(folder):
        with contextlib.suppress(psutil.Error):
            found.add(process.name())
    return found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_server_that_an_engine_has_started_does_not_outlive_the_program(
    tmp_path: Path, number: signal.Signals
) -> None:
    env = environment(tmp_path, WITH_A_SERVER)
    process = subprocess.Popen(arguments(tmp_path / "out"), env=env, cwd=tmp_path, stderr=subprocess.DEVNULL)
    end_s = time.monotonic() + PATIENCE_S
    while "sleep" not in names_of_living(tmp_path):
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == CODES[number]
    end_s = time.monotonic() + SOON_S
    while living(tmp_path) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert [each.cmdline() for each in living(tmp_path)] == []
