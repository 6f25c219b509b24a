"""Nodes that wait for one another, come late, give up or fall silent."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llenergymeasure.core.nodes.peers import NodePeers
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.testing import FakeClock

START_S = 1_000_000.0


class Nodes:
    """Node 0 of two, for which time passes when it sleeps, in a folder whose clock goes with it."""

    def __init__(self, folder: Path, meanwhile: Callable[[float], None] = lambda _: None) -> None:
        self.folder, self._clock, self._meanwhile = folder, FakeClock(), meanwhile
        self.peers = NodePeers(folder, 0, 2, come_s=100.0, clock=self._clock, sleep=self._sleep)

    def _sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)
        now_s = self._clock() - self._began_s
        self.sign(0, now_s)
        self._meanwhile(now_s)

    def sign(self, index: int, now_s: float) -> None:
        """A sign of life, at the file system's time."""
        path = self.folder / f"alive_{index}"
        path.touch()
        os.utime(path, (START_S + now_s, START_S + now_s))

    def wait(self, point: str) -> None:
        self._began_s = self._clock()
        self.peers.wait(point)


def test_who_never_comes_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    nodes = Nodes(tmp_path)
    with pytest.raises(ExperimentError, match=r"node 1 of 2 did not come within 100 s \(nodes\.wait_s\)"):
        nodes.wait("idle")


def test_who_falls_silent_is_gone_after_a_minute(tmp_path: Path) -> None:
    ended_s: list[float] = []

    def meanwhile(now_s: float) -> None:
        ended_s.append(now_s)
        if now_s < 500:
            nodes.sign(1, now_s)

    nodes = Nodes(tmp_path, meanwhile)
    (tmp_path / "name_1").write_text("n2")
    with pytest.raises(ExperimentError, match=r"node 1 of 2 \(n2\) has given no sign of life for 6\d s"):
        nodes.wait("floor")
    # Loading takes longer than anybody waits for those who never came.
    assert 560 <= ended_s[-1] <= 570


def test_who_gives_up_says_why(tmp_path: Path) -> None:
    other = NodePeers(tmp_path, 1, 2, come_s=100.0)
    with pytest.raises(ExperimentError, match="no more memory"), other.taking_part("n2"):
        raise ExperimentError("no more memory")
    nodes = Nodes(tmp_path)
    with pytest.raises(ExperimentError, match=r"node 1 of 2 \(n2\) gave up: ExperimentError: no more memory"):
        nodes.wait("floor")


def test_who_comes_late_is_waited_for(tmp_path: Path) -> None:
    def meanwhile(now_s: float) -> None:
        if now_s > 90:
            nodes.sign(1, now_s)
            (tmp_path / "idle_1").write_text("1")

    nodes = Nodes(tmp_path, meanwhile)
    nodes.wait("idle")
    assert nodes.peers.pids() == {os.getpid()}


def test_a_folder_that_is_gone_is_the_end(tmp_path: Path) -> None:
    def meanwhile(now_s: float) -> None:
        (tmp_path / "alive_0").unlink()

    nodes = Nodes(tmp_path, meanwhile)
    with pytest.raises(ExperimentError, match="the experiment is over"):
        nodes.wait("floor")
