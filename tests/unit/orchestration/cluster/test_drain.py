"""Signals that ask to take no more, which neither this process nor what it starts is ended by."""

import os
import signal
import subprocess
import sys
import time

import pytest

from llenergymeasure.orchestration.cluster.drain import drained_by_signals

NAPS = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(0.5)"]


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_it_is_known_that_one_came_and_children_live_through_it(number: signal.Signals) -> None:
    before = signal.getsignal(number), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with drained_by_signals() as drain:
        assert drain.asked_by() is None
        with subprocess.Popen(NAPS, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            child.send_signal(number)
            os.kill(os.getpid(), number)
            time.sleep(0.05)
            assert drain.asked_by() == number.name
            # It stays so.
            assert drain.asked_by() == number.name
        assert child.returncode == 0
    assert (signal.getsignal(number), signal.pthread_sigmask(signal.SIG_BLOCK, ())) == before
    assert drain.asked_by() == number.name
