"""What an engine has started ends with a run whose program is killed; the guard itself ends with any other."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from llenergymeasure.orchestration.processes import guard
from llenergymeasure.orchestration.processes.guard import MARK, guarded, of_group
from llenergymeasure.orchestration.processes.process_group import run_to_end
from tests.fakes.effort import PATIENCE_S
from tests.unit.orchestration.test_launchers import is_running, parent_of, pids_in, until

SERVER = "echo $$ > {file}; exec sleep 6000"
STUBBORN = 'trap "" TERM; echo $$ > {file}; while :; do sleep 1; done'


@dataclass
class Family:
    """Who waits, and what its measuring process has started."""

    parent: subprocess.Popen[bytes]
    folder: Path

    def pid_of(self, name: str) -> int:
        (pid,) = pids_in(self.folder / name)
        return pid

    def guard(self) -> psutil.Process:
        """Its guard, once it watches."""
        found: list[psutil.Process] = []

        def watches() -> bool:
            children = psutil.Process(self.parent.pid).children()
            found[:] = [child for child in children if guard.__name__ in child.cmdline()]
            return bool(found) and any("pidfd" in name for name in open_in(found[0].pid))

        assert until(watches)
        return found[0]


def open_in(pid: int) -> list[str]:
    """What a process has open."""
    names = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            names.append(str(entry.readlink()))
    return names


@pytest.fixture
def families(tmp_path: Path) -> Iterator[list[Family]]:
    """Those that a test makes; nothing of them is left."""
    made: list[Family] = []
    yield made
    for family in made:
        for file in family.folder.glob("*.pid"):
            pid = int(file.read_text(encoding="utf-8"))
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        if family.parent.poll() is None:
            family.parent.kill()
            family.parent.wait()


def family_of(families: list[Family], folder: Path, start: str, script: str) -> Family:
    """A measuring process that starts a server in some way, and waits."""
    script = script.format(file=folder / "server.pid")
    measuring = f"{start} sh -c '{script}' & echo $$ > {folder}/measuring.pid; wait; sleep 6000"
    family = Family(parent_of(measuring, folder), folder)
    families.append(family)
    return family


@pytest.mark.parametrize(
    ("start", "script"),
    [("setsid", SERVER), ("setsid", STUBBORN), (f"env -u {MARK}", SERVER), ("", SERVER)],
    ids=["a session of its own", "it does not want to", "no mark, but the group", "both"],
)
def test_what_the_engine_started_ends_with_a_program_that_is_killed(
    families: list[Family], tmp_path: Path, start: str, script: str
) -> None:
    family = family_of(families, tmp_path, start, script)
    server, measuring, watcher = family.pid_of("server.pid"), family.pid_of("measuring.pid"), family.guard()
    family.parent.kill()
    family.parent.wait(PATIENCE_S)
    assert until(lambda: not any(map(is_running, (server, measuring))), 60)
    assert until(lambda: not watcher.is_running() or watcher.status() == psutil.STATUS_ZOMBIE, 60)


# It has no mark in its environment, and neither parent, group nor session of the run. Python takes longer to start.
ON_ITS_OWN = "sleep 0.5; (env -i PATH=\"$PATH\" setsid sh -c 'echo $$ > {file}; exec sleep 6000' &)"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a limit that limits nothing")
def test_what_is_on_its_own_in_every_way_ends_with_a_program_that_is_killed(
    families: list[Family], tmp_path: Path
) -> None:
    start = ON_ITS_OWN.format(file=tmp_path / "server.pid")
    family = Family(parent_of(f"{start}; echo $$ > {tmp_path}/measuring.pid; sleep 6000", tmp_path), tmp_path)
    families.append(family)
    server, measuring, _ = family.pid_of("server.pid"), family.pid_of("measuring.pid"), family.guard()
    assert MARK not in psutil.Process(server).environ()
    assert psutil.Process(server).ppid() not in (measuring, family.parent.pid)
    assert os.getsid(server) == server
    family.parent.kill()
    family.parent.wait(PATIENCE_S)
    assert until(lambda: not any(map(is_running, (server, measuring))), 60)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a limit that limits nothing")
def test_what_is_on_its_own_in_every_way_ends_with_the_run_and_nobody_elses_does(tmp_path: Path) -> None:
    file = tmp_path / "server.pid"
    other = subprocess.Popen(["env", "-i", "sleep", "6000"], start_new_session=True)
    try:
        run_to_end(["sh", "-c", f"{ON_ITS_OWN.format(file=file)}; while [ ! -s {file} ]; do :; done"])
        (server,) = pids_in(file)
        try:
            assert until(lambda: not is_running(server), 10)
        finally:
            if is_running(server):
                os.kill(server, signal.SIGKILL)
        assert is_running(other.pid)
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_guard_lives_through_what_ends_everything_else(
    families: list[Family], tmp_path: Path, number: signal.Signals
) -> None:
    family = family_of(families, tmp_path, "setsid", SERVER)
    server, watcher = family.pid_of("server.pid"), family.guard()
    assert os.getsid(watcher.pid) == watcher.pid
    watcher.send_signal(number)
    family.parent.kill()
    family.parent.wait(PATIENCE_S)
    assert until(lambda: not is_running(server), 60)


def test_the_guard_ends_with_the_run() -> None:
    seen: list[psutil.Process] = []

    def watch(pid: int) -> float | None:
        seen.extend(child for child in psutil.Process().children() if child.pid != pid)
        return None

    # It was started before anybody began to wait.
    assert run_to_end(["true"], watch=watch) == 0
    assert seen
    assert not any(process.is_running() for process in seen)


@pytest.mark.linux
def test_the_guard_has_no_stream_of_the_run_and_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MARK, "of another run")
    with guarded(os.getpid(), "mark"):
        (watcher,) = [child for child in psutil.Process().children() if guard.__name__ in child.cmdline()]
        streams = {str(Path(f"/proc/{watcher.pid}/fd/{descriptor}").readlink()) for descriptor in range(3)}
        assert streams == {os.devnull}
        assert MARK not in watcher.environ()
    assert not watcher.is_running()


def test_without_a_guard_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with guarded(os.getpid(), "mark"):
        pass
    assert "what the engine has started would live on" in caplog.text


def test_a_number_that_is_anothers_by_now_ends_nobody() -> None:
    process = subprocess.Popen(["sleep", "6000"], start_new_session=True)
    try:
        led = psutil.Process(process.pid)
        assert of_group(led) == [led]
        # As it would be of one that had this number before.
        before = psutil.Process(process.pid)
        before._ident = (process.pid, led.create_time() - 1000)  # type: ignore[attr-defined]
        assert of_group(before) == []
        assert of_group(None) == []
    finally:
        process.kill()
        process.wait()


def test_where_the_kernel_has_no_descriptor_for_it_the_guard_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = [7, 7, 7, 1]
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    guard.wait_for_the_end_of(7)
    assert parents == []


def test_a_parent_that_has_gone_before_it_looked_is_not_waited_for() -> None:
    # This process is not its own parent, as another that got the number would not be.
    guard.wait_for_the_end_of(os.getpid())


def test_nothing_heavy_is_imported_by_the_guard() -> None:
    code = (
        f"import sys, {guard.__name__}\n"
        "print(sorted({'numpy', 'pydantic', 'torch', 'yaml', 'click'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
