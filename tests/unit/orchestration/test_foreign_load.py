"""Others on what is to be measured: seen, waited for, and measured with all the same when time is over."""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pytest

from llenergymeasure.core.machine_load import CpuTimes
from llenergymeasure.orchestration.foreign_load import Quiet, Seen, others_on, wait_for_quiet
from llenergymeasure.testing import FakeClock
from llenergymeasure.testing.gpus import FakeGpuDevice, FakeGpuDriver

BUSY = Seen(others=("GPU-a has other processes (PID 4711)",))


class Card(FakeGpuDevice):
    """One that tells who is on it, and how busy it is."""

    def __init__(self, uuid: str, pids: Sequence[int] | None, used_pct: float | None) -> None:
        super().__init__(uuid)
        self.pids, self.used_pct = pids, used_pct

    def running_pids(self) -> Sequence[int] | None:
        return self.pids

    def utilisation_pct(self) -> float | None:
        return self.used_pct


@pytest.mark.parametrize(
    ("pids", "used_pct", "seen"),
    [
        ([], 0.0, Seen()),
        ([os.getpid()], 0.0, Seen()),
        (None, 0.0, Seen()),
        ([], None, Seen()),
        ([4711, os.getpid(), 12], 0.0, Seen(others=("GPU-a has other processes (PID 12, 4711)",))),
        # Of another container nothing but its work is seen.
        ([], 35.0, Seen(others=("GPU-a has work of others (35 % of the last moments)",))),
        (None, None, Seen(untold=("GPU-a tells neither its processes nor its use",))),
    ],
)
def test_others_on_a_gpu_are_processes_that_are_not_ours_and_work(
    pids: Sequence[int] | None, used_pct: float | None, seen: Seen
) -> None:
    driver = FakeGpuDriver(Card("GPU-a", pids, used_pct), Card("GPU-b", [99], 100.0))
    assert others_on(["GPU-a"], driver) == seen


def test_a_gpu_that_does_not_answer_tells_nothing() -> None:
    assert others_on(["GPU-a"], FakeGpuDriver()) == Seen(untold=("GPU-a tells neither its processes nor its use",))


def load(busy_s: float, own_s: float, n_cpus: int | None = 4) -> tuple[Callable[[Iterable[int]], CpuTimes], FakeClock]:
    """A machine that worked so long in two seconds, of which so much was ours."""
    clock, asked = FakeClock(), list[set[int]]()

    def times(pids: Iterable[int]) -> CpuTimes:
        asked.append(set(pids))
        assert asked[-1] == {os.getpid()}
        share = clock() / 2
        return CpuTimes(at_s=clock(), n_cpus=n_cpus, busy_s=busy_s * share, own_s=own_s * share)

    return times, clock


@pytest.mark.parametrize(
    ("busy_s", "own_s", "n_cpus", "seen"),
    [
        # 8 processor seconds are there in 2 s of 4 processors: 0.4 of them are 5 %.
        (0.4, 0.0, 4, Seen()),
        (2.0, 1.6, 4, Seen()),
        (2.0, 0.0, 4, Seen(others=("others take 25 % of this machine's processors",))),
        (2.0, 0.0, None, Seen(untold=("the system does not tell its load",))),
    ],
)
def test_others_on_a_host_are_load_that_is_not_ours(
    busy_s: float, own_s: float, n_cpus: int | None, seen: Seen
) -> None:
    times, clock = load(busy_s, own_s, n_cpus)
    assert others_on(["host"], times=times, sleep=clock.sleep) == seen
    assert clock() == 2


@dataclass
class Others:
    """Others who use the devices until a moment."""

    until_s: float
    seen: Seen = BUSY
    clock: FakeClock = field(default_factory=FakeClock)
    asked: list[Sequence[str]] = field(default_factory=list)

    def look(self, devices: Sequence[str]) -> Seen:
        self.asked.append(devices)
        return self.seen if self.clock() < self.until_s else Seen()

    def waited(self, patience_s: float) -> tuple[float, Quiet | None]:
        quiet = wait_for_quiet(["GPU-a"], patience_s, self.look, self.clock, self.clock.sleep)
        return self.clock(), quiet


def test_by_default_and_without_devices_nobody_looks() -> None:
    others = Others(until_s=100)
    assert others.waited(0) == (0, None)
    assert wait_for_quiet([], 60, others.look, others.clock, others.clock.sleep) is None
    assert others.asked == []


def test_where_nobody_is_nobody_waits(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert Others(until_s=0).waited(60) == (0, Quiet("quiet after 0 s"))
    assert "waiting" not in caplog.text


def test_a_run_waits_until_others_are_gone_and_says_for_whom(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    # Looked at every two seconds.
    assert Others(until_s=149).waited(600) == (150, Quiet("quiet after 150 s", had_others=True))
    # At the second look, at 2 s, and a minute after each time: at 62 and 122 s.
    waiting = "waiting until nobody else uses what is measured: GPU-a has other processes (PID 4711)"
    assert [record.getMessage() for record in caplog.records] == [*[waiting] * 3, "quiet after 150 s"]


def test_what_one_look_sees_may_have_been_the_last_run_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert Others(until_s=1).waited(60) == (2, Quiet("quiet after 2 s"))
    assert "waiting" not in caplog.text


def test_when_time_is_over_it_is_measured_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    time_s, quiet = Others(until_s=1000).waited(61)
    assert (time_s, quiet) == (
        61, Quiet("not quiet: GPU-a has other processes (PID 4711)", had_others=True, has_others=True),
    )  # fmt: skip
    assert "measured all the same after 61 s (execution.wait_for_quiet_s): GPU-a has other" in caplog.text


def test_a_device_that_does_not_tell_is_not_called_quiet() -> None:
    silent = Seen(untold=("GPU-a tells neither its processes nor its use",))
    assert Others(until_s=1000, seen=silent).waited(60) == (
        0, Quiet("not known to be quiet: GPU-a tells neither its processes nor its use"),
    )  # fmt: skip
