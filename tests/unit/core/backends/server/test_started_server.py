"""A server that is started here is waited for, known, and gone afterwards, however the run ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.core.backends.server.questions import Questions
from llenergymeasure.core.backends.server.started_server import started
from llenergymeasure.core.gpu.processes import own_pids
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from llenergymeasure.testing.fake_server import FakeServer
from tests.fakes.ports import free_port
from tests.unit.core.backends.server.conftest import config_of, ran, requests_of

pytestmark = pytest.mark.linux

FAKE = (sys.executable, "-m", "llenergymeasure.testing.fake_server")
# Measures nothing: loads, says so, and waits to be ended.
LOADS = """
import sys, time
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.domain.plan import ExperimentPlan
config = ExperimentConfig(model="m", backend="server", server={"url": sys.argv[1], "command": sys.argv[2:]})
with ServerBackend().load(ExperimentPlan.of(config)) as model:
    print(*model._ready.own.pids, flush=True)
    time.sleep(600)
"""


def command(port: int, *more: str) -> list[str]:
    return [*FAKE, "--port", str(port), *more]


def are_gone(pids: Sequence[int], within_s: float = 20.0) -> bool:
    """Whether nothing is left of these processes, no zombie either."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if not any(map(psutil.pid_exists, pids)):
            return True
        time.sleep(0.02)
    return False


def test_it_serves_its_processes_are_ours_and_it_is_gone() -> None:
    port = free_port()
    config = config_of(f"http://127.0.0.1:{port}", server={"command": command(port, "--leaves-a-child")})
    with ServerBackend().load(ExperimentPlan.of(config)) as model:
        pids = model._ready.own.pids if model._ready.own else frozenset()
        # The keeper, the server, what it has in a session of its own, and what it has left an orphan.
        assert len(pids) == 4
        assert pids <= own_pids()
        assert model.describe().parameters is not None
        assert model.peak_memory_mb() > 10  # type: ignore[operator]
    assert are_gone([*pids], 0.1)
    rows, _ = ran(config)
    assert all(row.succeeded for row in rows)


def test_it_is_gone_when_the_body_fails() -> None:
    port = free_port()
    config = config_of(f"http://127.0.0.1:{port}", server={"command": command(port)})
    pids = frozenset[int]()

    def fails() -> None:
        nonlocal pids
        with ServerBackend().load(ExperimentPlan.of(config)) as model:
            pids = model._ready.own.pids if model._ready.own else frozenset()
            raise RuntimeError("of the body")

    with pytest.raises(RuntimeError, match="of the body"):
        fails()
    assert pids
    assert are_gone([*pids], 0.1)


def test_one_that_does_not_listen_to_sigterm_is_killed() -> None:
    port = free_port()
    section = ServerConfig(url=f"http://127.0.0.1:{port}")
    with started(section, command(port, "--ignores-sigterm"), Questions(section), patience_s=0.3) as server:
        pids = server.pids
    assert len(pids) == 2
    assert are_gone([*pids], 0.1)


def test_one_that_ends_is_told_by_its_last_words() -> None:
    port = free_port()
    config = config_of(f"http://127.0.0.1:{port}", server={"command": command(port, "--fails", "3")})
    with pytest.raises(BackendError, match=r"server\.command ended with exit code 3: loading weights"):
        ran(config)


def test_one_that_is_not_there_or_not_to_be_run_is_told(tmp_path: Path) -> None:
    config = config_of("http://127.0.0.1:1", server={"command": [str(tmp_path / "no-such")]})
    assert ServerBackend().problems(config) == [f"server.command: there is no program {tmp_path / 'no-such'}"]
    with pytest.raises(BackendError, match=r"ended with exit code 127: .*No such file"):
        ran(config)


def test_one_that_is_never_ready_is_told_with_what_it_answers() -> None:
    port = free_port()
    given = {"command": command(port, "--ready-after-s", "600"), "start_timeout_s": 3.0}
    with pytest.raises(
        BackendError, match=r"not ready within 3 s \(server.start_timeout_s\): it answers with status 503"
    ):
        ran(config_of(f"http://127.0.0.1:{port}", server=given))


def test_it_is_waited_for() -> None:
    port = free_port()
    given = {"command": command(port, "--listens-after-s", "0.3", "--ready-after-s", "0.5")}
    began_s = time.monotonic()
    rows, _ = ran(config_of(f"http://127.0.0.1:{port}", server=given))
    assert all(row.succeeded for row in rows)
    assert time.monotonic() - began_s > 0.8


def test_somebody_who_answers_there_already_is_not_taken_for_it() -> None:
    with FakeServer() as other:
        config = config_of(other.url, server={"command": command(other.port)})
        (problem,) = ServerBackend().problems(config)
        assert problem == f"server.command: somebody answers at {other.url} already; end that, or take another port"
        with pytest.raises(BackendError, match=r"somebody answers at .* already"):
            ran(config)


def test_a_server_that_dies_is_a_row_and_then_an_error() -> None:
    port = free_port()
    config = config_of(f"http://127.0.0.1:{port}", server={"command": command(port)})
    with ServerBackend().load(ExperimentPlan.of(config)) as model:
        own = model._ready.own
        assert own is not None
        for pid in own.pids - {own._keeper.pid}:
            os.kill(pid, signal.SIGKILL)
        assert are_gone([*(own.pids - {own._keeper.pid})])
        own._keeper.wait(10)
        done = list[RequestOutput]()
        with pytest.raises(BackendError, match=r"server\.command ended with exit code 137"):
            model.run(requests_of(), Load.all_at_once(), done.append)


def test_one_that_dies_while_requests_are_to_come_ends_the_run() -> None:
    port = free_port()
    config = config_of(f"http://127.0.0.1:{port}", server={"command": command(port)})
    done = list[RequestOutput]()
    with ServerBackend().load(ExperimentPlan.of(config)) as model:
        own = model._ready.own
        assert own is not None

        def dies_with(output: RequestOutput) -> None:
            done.append(output)
            for pid in own.pids - {own._keeper.pid}:
                os.kill(pid, signal.SIGKILL)

        requests = [Request(index=i, token_ids=(5, 6, 8), max_output_tokens=2) for i in range(100)]
        with pytest.raises(BackendError, match=r"server\.command ended with exit code 137"):
            model.run(requests, Load.at_due_times([0.3 * i for i in range(100)]), dies_with)
    # The next ones, which fell into the moment before that was seen, are rows.
    assert 1 <= len(done) < 10
    assert {row.error_kind for row in done[1:]} <= {"unreachable", "closed"}


def _interrupted(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGINT)


def _asked_to_end(process: "subprocess.Popen[str]") -> None:
    process.terminate()


def _killed(process: "subprocess.Popen[str]") -> None:
    process.kill()


@pytest.mark.parametrize("end", [_interrupted, _asked_to_end, _killed])
def test_it_is_gone_when_the_measuring_process_ends(end: "Callable[[subprocess.Popen[str]], None]") -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", LOADS, f"http://127.0.0.1:{port}", *command(port, "--leaves-a-child")],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert len(pids) == 4
        end(process)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert _none_lives(pids)


def _none_lives(pids: Sequence[int], within_s: float = 20.0) -> bool:
    """Whether all have ended; orphans of a process that was killed are reaped by whoever took them over."""
    end_s = time.monotonic() + within_s
    while time.monotonic() < end_s:
        if not any(map(_lives, pids)):
            return True
        time.sleep(0.02)
    return False


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
