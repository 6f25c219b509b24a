"""A measuring process is waited for as long as it lives, and no longer."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from llenergymeasure.config.execution import STALL_TIMEOUT_S, ExecutionConfig
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration.processes.launchers import SubprocessLauncher
from llenergymeasure.orchestration.processes.process_group import run_to_end
from llenergymeasure.orchestration.processes.watching import SignsOfLife, Watch, resident_mb_of
from llenergymeasure.testing import FakeClock
from tests.fakes.effort import PATIENCE_S
from tests.unit.orchestration.conftest import plan_of


@dataclass
class Watched:
    """A process of which is said when it lives, watched on a clock of its own."""

    execution: ExecutionConfig
    alive_until_s: float = 0.0
    works: bool = False
    asked_gpus: int = 0
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.began_s = self.clock()
        self.watch = Watch(self.execution, self._alive, self._works, self.clock)

    def _alive(self, pid: int, since_s: float) -> bool:
        assert since_s > 0
        return self.clock() - self.began_s <= self.alive_until_s

    def _works(self) -> bool:
        self.asked_gpus += 1
        return self.works

    def run(self, for_s: float) -> float:
        """Wait so long, or until it is ended; the seconds that passed."""
        while self.clock() - self.began_s < for_s:
            try:
                wait_s = self.watch(1)
            except ExperimentError:
                break
            assert wait_s is not None
            self.clock.time_s += min(wait_s, for_s)
        return self.clock() - self.began_s


def test_half_an_hour_without_a_sign_of_life_is_stated_and_enough() -> None:
    assert STALL_TIMEOUT_S == 1800
    assert Watched(ExecutionConfig()).run(86400) == pytest.approx(1800, abs=10)
    assert Watched(ExecutionConfig(), alive_until_s=5000).run(86400) == pytest.approx(6800, abs=20)


def test_a_gpu_that_is_in_use_is_a_sign_of_life_and_asked_only_after_a_long_silence() -> None:
    busy = Watched(ExecutionConfig(), works=True)
    assert busy.run(20000) >= 20000
    assert 0 < busy.asked_gpus <= 20000 / 900 + 1
    lively = Watched(ExecutionConfig(), alive_until_s=1e9)
    lively.run(20000)
    assert lively.asked_gpus == 0


def test_memory_above_the_limit_ends_it_at_the_next_look() -> None:
    held_mb, clock = [100.0], FakeClock()
    execution = ExecutionConfig(max_memory_mb=500, stall_timeout_s=None)
    watch = Watch(execution, lambda *_: True, lambda: False, clock, resident_mb=lambda pid: held_mb[0] * pid)
    assert watch(5) == 2.0
    held_mb[0] = 100.5
    with pytest.raises(ExperimentError, match=r"held 502 MB in memory and was ended; execution.max_memory_mb is 500"):
        watch(5)


def test_memory_is_that_of_a_process_and_its_children_and_without_a_limit_nobody_looks() -> None:
    fill = "import sys; held = bytearray(200_000_000); print(1, flush=True); sys.stdin.read()"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {fill!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", nested], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "1\n"
        # What is filled, and two interpreters of some 10 MB each.
        assert 200 < resident_mb_of(process.pid) < 300
        process.stdin.close()
    assert resident_mb_of(process.pid) == 0.0

    def asked(pid: int) -> float:
        raise AssertionError("nobody set a limit")

    Watch(ExecutionConfig(), lambda *_: True, lambda: False, FakeClock(), resident_mb=asked)(1)


def test_a_time_limit_is_kept_to_the_second_however_lively_the_process() -> None:
    assert Watched(ExecutionConfig(timeout_s=61.5), alive_until_s=1e9).run(86400) == pytest.approx(61.5)
    late = Watched(ExecutionConfig(timeout_s=61.5))
    late.clock.time_s += 62
    with pytest.raises(ExperimentError, match=r"longer than 61.5 s and was ended; execution.timeout_s \(--timeout\)"):
        late.watch(1)


def test_nothing_is_looked_at_where_nobody_wants_to_give_up() -> None:
    assert Watched(ExecutionConfig(stall_timeout_s=None)).watch(1) is None


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A Python process that runs a script."""
    started = subprocess.Popen(
        [sys.executable, "-c", request.param], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert started.stdout is not None
    started.stdout.readline()
    yield started
    os.killpg(started.pid, signal.SIGKILL)
    started.communicate()


READY = "import os, sys, threading, time\nprint('ready', flush=True)\n"
SAMPLER = """
def sample():
    while True:
        end = time.process_time() + 0.005
        while time.process_time() < end: pass
        time.sleep(0.095)
threading.Thread(target=sample, daemon=True).start()
"""
HANGS = "threading.Event().wait(600)\n"


@pytest.mark.parametrize(
    ("process", "lives"),
    [
        (READY + HANGS, False),
        # A sensor that is read all the time is no sign that the work goes on.
        (READY + SAMPLER + HANGS, False),
        (READY + "while True: sum(range(10000))", True),
        (READY + "import subprocess; subprocess.run([sys.executable, '-c', 'while True: pass'])", True),
        (READY + "while True: open('/dev/zero', 'rb').read(5_000_000); time.sleep(0.2)", True),
    ],
    indirect=["process"],
    ids=["hangs", "hangs beside a sampler", "works", "its child works", "reads"],
)
def test_what_a_process_does_is_seen(process: subprocess.Popen[str], lives: bool, tmp_path: Path) -> None:
    seen = SignsOfLife(tmp_path)
    assert seen(process.pid, 1.0), "what is seen for the first time is new"
    found = []
    for _ in range(3):
        time.sleep(1.0)
        found.append(seen(process.pid, 1.0))
    assert any(found) == lives


def test_where_threads_are_not_told_a_process_lives_by_all_of_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: psutil.Process) -> None:
        raise psutil.AccessDenied(self.pid)

    # As on macOS, for anybody but root.
    monkeypatch.setattr(psutil.Process, "threads", denied)
    seen, end_s = SignsOfLife(), time.process_time() + 0.2
    seen(os.getpid(), 1.0)
    while time.process_time() < end_s:
        pass
    # 0.2 s of 10 are 2 %, of 1,000 next to nothing.
    assert seen(os.getpid(), 10.0)
    assert not seen(os.getpid(), 1000.0)


def test_a_word_that_is_left_is_a_sign_of_life(tmp_path: Path) -> None:
    seen = SignsOfLife(tmp_path)
    nobody = 2**22 + 1
    seen(nobody, 1.0)
    assert not seen(nobody, 1.0)
    (tmp_path / "state_0").write_text("measuring\n", encoding="utf-8")
    assert seen(nobody, 1.0)
    assert not seen(nobody, 1.0)


@pytest.mark.linux
def test_a_process_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    began_s = time.monotonic()
    launcher = SubprocessLauncher(lambda _: ["sh", "-c", f"sleep 6000 & echo $! > {tmp_path}/pid; wait"])
    with pytest.raises(ExperimentError, match=r"longer than 3 s and was ended"):
        launcher.launch(plan_of(execution=ExecutionConfig(timeout_s=3)))
    assert time.monotonic() - began_s < PATIENCE_S / 10
    child = int((tmp_path / "pid").read_text(encoding="utf-8"))
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "Z (zombie)" in status.read_text(encoding="utf-8")


def test_a_process_that_hangs_is_ended_and_said_so() -> None:
    hanging = ExecutionConfig(stall_timeout_s=2)
    launcher = SubprocessLauncher(lambda _: ["sleep", "600"])
    with pytest.raises(ExperimentError, match="gave no sign of life for 2 s"):
        launcher.launch(plan_of(execution=hanging))


def test_the_end_of_a_process_is_seen_at_once_and_not_at_the_next_look() -> None:
    looks: list[float] = []

    def watch(_: int) -> float:
        looks.append(time.monotonic())
        return PATIENCE_S

    began_s = time.monotonic()
    assert run_to_end(["sh", "-c", "sleep 0.2; exit 3"], watch=watch) == 3
    assert time.monotonic() - began_s < PATIENCE_S / 10
    assert len(looks) == 1
