"""The nodes of an experiment: waiting for one another through a shared folder, and noticing who is gone.

Whoever started a process on another node cannot see it end. So each gives signs of life while it takes part, and says
when it gives up. How old a sign is, is told by the file system that all share, for clocks of nodes differ.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llenergymeasure.core.background import again_and_again
from llenergymeasure.core.peers import FilePeers
from llenergymeasure.exceptions import ExperimentError, NodeMissingError

# Each look is a question to a server far away.
LEAST_POLL_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Signs:
    """Signs of life: how often one is given, and after how long without one a node is taken for gone, in seconds."""

    every_s: float = 5.0
    at_least_every_s: float = 60.0


class NodePeers(FilePeers):
    """Processes on several nodes that share a folder; a context in which this one gives signs of life."""

    def __init__(
        self,
        folder: Path,
        index: int,
        n_nodes: int,
        *,
        come_s: float,
        signs: Signs = Signs(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Args as of ``FilePeers``; ``come_s`` is how long the others have to come."""
        # Signs of life say whether anybody is waited for in vain, however long loading and measuring take.
        super().__init__(folder, index, n_nodes, patience_s=math.inf, clock=clock, sleep=sleep)
        self._come_s, self._signs = come_s, signs
        self._looked_s = self._began_s = clock()

    @contextlib.contextmanager
    def taking_part(self, name: str) -> Iterator[None]:
        """Give signs of life while the body runs; whatever ends it with an error is told to the others.

        Args:
            name: of this node.
        """
        self._leave(f"name_{self._index}", name)
        self._leave(f"alive_{self._index}", str(os.getpid()))
        try:
            with again_and_again(self._beat, self._signs.every_s):
                yield
        except BaseException as error:
            with contextlib.suppress(OSError):
                self._leave(f"gone_{self._index}", f"{type(error).__name__}: {error}"[:500])
            raise

    def pids(self) -> frozenset[int]:
        """Of this node: numbers of processes elsewhere mean others here."""
        return frozenset({os.getpid()})

    def wait(self, point: str, poll_s: float = LEAST_POLL_S) -> None:
        """Return when all nodes have reached this point.

        Raises:
            ExperimentError: one never came, gave up, or gives no sign of life.
        """
        super().wait(point, max(poll_s, LEAST_POLL_S))

    def until_over(self, is_over: Callable[[], bool]) -> None:
        """Say that this node is through, and wait until the first one is too, however it ends.

        Args:
            is_over: whether it is.
        """
        self._leave(f"left_{self._index}", str(os.getpid()))
        with contextlib.suppress(ExperimentError):
            while not is_over():
                self._look_at(["left_0"])
                self._sleep(5 * LEAST_POLL_S)

    def _beat(self) -> None:
        with contextlib.suppress(OSError):
            os.utime(self._folder / f"alive_{self._index}")

    def _look_at(self, missing: Sequence[str]) -> None:
        now_s = self._clock()
        if now_s - self._looked_s < self._signs.every_s:
            return
        self._looked_s = now_s
        for index in sorted({int(name.rpartition("_")[2]) for name in missing}):
            self._refuse_gone(index, now_s)

    def _refuse_gone(self, index: int, now_s: float) -> None:
        """Look whether a node is there.

        Raises:
            ExperimentError: it is not, and what is known of it.
        """
        rest = "the others' joules are a part of the whole, and nothing is made of a part"
        who = f"node {index} of {self._n_processes}"
        with contextlib.suppress(FileNotFoundError):
            raise ExperimentError(f"{who} ({self._name(index)}) gave up: {self._read(f'gone_{index}')}; {rest}")
        own, theirs = self._sign_s(self._index), self._sign_s(index)
        if own is None:
            raise ExperimentError(f"the experiment is over, as its first node has it; {rest}")
        if theirs is None:
            if now_s - self._began_s > self._come_s:
                raise NodeMissingError(
                    f"{who} did not come within {self._come_s:g} s (nodes.wait_s): start a worker on it with llem "
                    f"worker; {rest}"
                )
            return
        if own - theirs > self._signs.at_least_every_s:
            raise NodeMissingError(
                f"{who} ({self._name(index)}) has given no sign of life for {own - theirs:.0f} s; {rest}"
            )

    def _sign_s(self, index: int) -> float | None:
        """When a node gave its last sign of life, by the clock of the file system; None if it never did."""
        try:
            return (self._folder / f"alive_{index}").stat().st_mtime
        except FileNotFoundError:
            return None

    def _name(self, index: int) -> str:
        try:
            return self._read(f"name_{index}")
        except OSError:
            return "of unknown name"

    def _read(self, name: str) -> str:
        return (self._folder / name).read_text(encoding="utf-8")
