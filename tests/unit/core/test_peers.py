"""Processes that wait for one another and decide alike."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.config.models import WarmupConfig
from llenergymeasure.core.peers import Alone, FilePeers, InStep
from llenergymeasure.core.warmup import warmup_until_converged
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.testing import FakeClock


def peers(folder: Path, index: int, n: int, sleep: Callable[[float], None], patience_s: float = 60.0) -> FilePeers:
    """One of n processes for whom time passes when it sleeps."""
    clock = FakeClock()

    def nap(seconds: float) -> None:
        clock.sleep(seconds)
        sleep(seconds)

    return FilePeers(folder, index, n, patience_s=patience_s, clock=clock, sleep=nap)


def test_the_last_to_arrive_does_not_wait_and_the_others_wait_for_it(tmp_path: Path) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            peers(tmp_path, 1, 2, sleepless).wait("start")

    def sleepless(_: float) -> None:
        raise AssertionError("the last one waits for nobody")

    peers(tmp_path, 0, 2, nap).wait("start", poll_s=0.25)
    assert naps == [0.25, 0.25, 0.25]


def test_points_are_told_apart_and_passed_only_once_each_is_there(tmp_path: Path) -> None:
    alone = FilePeers(tmp_path, 0, 1)
    alone.wait("load")
    alone.wait("start")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["load_0", "start_0"]


def test_who_does_not_come_is_named(tmp_path: Path) -> None:
    peers_1 = FilePeers(tmp_path, 1, 4)
    threading.Thread(target=lambda: peers_1.wait("load"), daemon=True).start()
    while not (tmp_path / "load_1").exists():
        pass
    with pytest.raises(ExperimentError, match=r"process 0 waited 60 s for load_2, load_3 of the 4 processes"):
        peers(tmp_path, 0, 4, lambda _: None).wait("load")
    for index in (2, 3):
        (tmp_path / f"load_{index}").write_text("1", encoding="utf-8")


def test_real_threads_leave_a_point_together(tmp_path: Path) -> None:
    arrived: list[int] = []
    seen: list[int] = []

    def run(index: int) -> None:
        arrived.append(index)
        FilePeers(tmp_path, index, 4).wait("start")
        seen.append(len(arrived))

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == [4, 4, 4, 4]


@pytest.mark.parametrize("value", [1.0, 0.1 + 0.2, 1e-300, 123456.789])
def test_the_value_of_the_first_is_that_of_all_to_the_last_digit(tmp_path: Path, value: float) -> None:
    assert FilePeers(tmp_path, 0, 2).of_first("latency", value) == value
    assert FilePeers(tmp_path, 1, 2).of_first("latency", -1.0) == value


def test_the_pids_are_those_that_reached_the_last_point(tmp_path: Path) -> None:
    one = FilePeers(tmp_path, 0, 2)
    assert one.pids() == frozenset()
    (tmp_path / "start_1").write_text("4711", encoding="utf-8")
    one.wait("start")
    assert one.pids() == {os.getpid(), 4711}


def test_alone_nothing_is_waited_for() -> None:
    alone = Alone()
    alone.wait("start")
    assert (alone.of_first("latency", 3.0), alone.pids()) == (3.0, frozenset())


CONVERGING = WarmupConfig(n_warmup=1, cv_threshold=0.05, window_size=2, min_prompts=1, max_warmup_prompts=9)


def test_processes_with_other_latencies_stop_warming_up_at_the_same_run(tmp_path: Path) -> None:
    def warmed_up(index: int, latencies_ms: list[float]) -> tuple[int, tuple[float, ...]]:
        run = InStep(iter(latencies_ms).__next__, FilePeers(tmp_path, index, 2))
        result = warmup_until_converged(run, CONVERGING, show_progress=False)
        return result.iterations_completed, result.latencies_ms

    # Two of 2 ms in a row are steady; the other process's own would never be.
    first = [9.0, 4.0, 2.0, 2.0, 7.0]
    assert warmed_up(0, first) == (4, (9.0, 4.0, 2.0, 2.0))
    assert warmed_up(1, [1.0, 8.0, 1.0, 8.0, 1.0, 8.0]) == (4, (9.0, 4.0, 2.0, 2.0))


def test_after_a_failure_nothing_is_run_that_others_would_wait_in(tmp_path: Path) -> None:
    ran: list[int] = []

    def failing() -> float:
        ran.append(1)
        raise RuntimeError("out of memory")

    run = InStep(failing, FilePeers(tmp_path, 0, 2))
    warmup_until_converged(run, WarmupConfig(n_warmup=5), show_progress=False)
    assert ran == [1]
    assert str(run.failure) == "out of memory"
