"""A scheduler's SIGTERM comes to every process of a job, to the one that measures first."""

import os
import signal
import sys
import threading

import pytest

from llenergymeasure.orchestration.processes.process_group import run_to_end

SLEEPS = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_what_ended_by_it_a_moment_before_this_process_has_not_failed() -> None:
    def both(pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()

    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with pytest.raises(SystemExit) as caught:
            run_to_end(SLEEPS, watch=both)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143


def test_what_somebody_has_ended_alone_is_told_as_that() -> None:
    assert run_to_end(SLEEPS, watch=lambda pid: os.kill(pid, signal.SIGTERM)) == -signal.SIGTERM
