"""What others took of the processors, by arithmetic and for real."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from llenergymeasure.core.machine_load import CpuTimes, cpu_times, foreign_cpu_pct
from llenergymeasure.core.measurement_warnings import foreign_load_warning

BUSY = "import time; end = time.time() + {seconds}\nwhile time.time() < end: pass"


def times(at_s: float, busy_s: float, own_s: float) -> CpuTimes:
    return CpuTimes(at_s=at_s, n_cpus=4, busy_s=busy_s, own_s=own_s)


def test_what_is_busy_and_not_ours_is_a_share_of_all_processors() -> None:
    # Ten seconds of four processors: 12 busy, of which 8 are ours.
    assert foreign_cpu_pct(times(0, 100, 7), times(10, 112, 15)) == pytest.approx(10)
    # The kernel counts in hundredths, so that ours may be a little more than all.
    assert foreign_cpu_pct(times(0, 100, 7), times(10, 107.99, 15)) == 0
    assert foreign_cpu_pct(times(0, 100, 7), times(0.9, 101, 7)) is None
    assert foreign_cpu_pct(times(0, 100, 7), replace(times(10, 112, 15), n_cpus=None)) is None


def spent_while(seconds: float, *, child: bool) -> tuple[float, float]:
    """Processor seconds, ours and those of all, while a child process, or one that is none of ours, is busy."""
    command = [sys.executable, "-c", BUSY.format(seconds=seconds)]
    started = [os.getpid()] if child else []
    before = cpu_times(started)
    subprocess.run(command, check=True)
    after = cpu_times(started)
    return after.own_s - before.own_s, after.busy_s - before.busy_s


def test_a_child_that_has_ended_is_ours() -> None:
    own_s, busy_s = spent_while(1.5, child=True)
    assert own_s > 0.3  # as much of 1.5 s as a busy machine gave it
    assert busy_s > 0.3


def test_a_child_that_still_runs_is_ours() -> None:
    before = cpu_times([os.getpid()])
    with subprocess.Popen([sys.executable, "-c", BUSY.format(seconds=30)]) as running:
        psutil.Process(running.pid).cpu_times()
        end_s = time.monotonic() + 20
        while cpu_times([os.getpid()]).own_s - before.own_s < 0.5 and time.monotonic() < end_s:
            time.sleep(0.05)
        seen_s = cpu_times([os.getpid()]).own_s - before.own_s
        running.kill()
    assert seen_s >= 0.5


def test_another_program_is_not_ours() -> None:
    own_s, busy_s = spent_while(1.5, child=False)
    assert own_s == 0
    assert busy_s > 0.3


def test_a_process_that_is_gone_took_nothing_more() -> None:
    assert cpu_times([2**22 + 1]).own_s == 0


def test_little_is_normal_and_much_is_a_warning() -> None:
    assert foreign_load_warning(None) is None
    assert foreign_load_warning(5.0) is None
    assert str(foreign_load_warning(9.6)).startswith("foreign_load: others took 10 % of this machine's processors")
    assert str(foreign_load_warning(49.6)).startswith("foreign_load_high: others took 50 % of this machine's")
