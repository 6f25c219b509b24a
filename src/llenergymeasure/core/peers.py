"""The other processes of an experiment: waiting for one another, and deciding alike.

Through files, so that no engine and no network is needed. A process that dies is noticed by whoever started
them all, which ends those that wait.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from llenergymeasure._files import write_atomically
from llenergymeasure.exceptions import ExperimentError

# Windows begin within this of one another.
POLL_S = 0.005
# While others still measure, their idling too: four looks a second of some 5 us for each that is awaited.
POLL_BESIDE_S = 0.25
# Loading a large model from a slow disk takes many minutes, and not all need be equally fast.
PATIENCE_S = 7200.0


class Peers(Protocol):
    """What a session knows of the processes beside it."""

    def wait(self, point: str, poll_s: float = POLL_S) -> None:
        """Return when all have reached this point."""
        ...

    def of_first(self, name: str, value: float) -> float:
        """The value that the first process gave under this name."""
        ...

    def pids(self) -> frozenset[int]:
        """Process ids of those that reached the last point."""
        ...


class Alone:
    """No other processes."""

    def wait(self, point: str, poll_s: float = POLL_S) -> None:
        """Return at once."""

    def of_first(self, name: str, value: float) -> float:  # noqa: ARG002 - the protocol's signature
        """The own value."""
        return value

    def pids(self) -> frozenset[int]:
        """Nobody's."""
        return frozenset()


class FilePeers:
    """Processes of one machine that share a folder."""

    def __init__(
        self,
        folder: Path,
        index: int,
        n_processes: int,
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """``folder`` must not hold anything of an earlier run."""
        self._folder = folder
        self._index = index
        self._n_processes = n_processes
        self._patience_s = patience_s
        self._clock = clock
        self._sleep = sleep
        self._point: str | None = None

    def wait(self, point: str, poll_s: float = POLL_S) -> None:
        """Return when all have reached this point.

        Raises:
            ExperimentError: some did not within the patience; it says which.
        """
        self._leave(f"{point}_{self._index}", str(os.getpid()))
        self._wait_for([f"{point}_{i}" for i in range(self._n_processes)], poll_s)
        self._point = point

    def of_first(self, name: str, value: float) -> float:
        """The value that process 0 gave under this name.

        Raises:
            ExperimentError: it gave none within the patience.
        """
        if self._index == 0:
            self._leave(f"{name}_0", repr(value))
            return value
        self._wait_for([f"{name}_0"], POLL_S)
        return float((self._folder / f"{name}_0").read_text(encoding="utf-8"))

    def pids(self) -> frozenset[int]:
        """Process ids of all, this one's too; none before the first point."""
        files = [] if self._point is None else [f"{self._point}_{i}" for i in range(self._n_processes)]
        return frozenset(int((self._folder / name).read_text(encoding="utf-8")) for name in files)

    def _leave(self, name: str, text: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self._folder / name, text, durable=False)

    def _wait_for(self, names: list[str], poll_s: float) -> None:
        end_s = self._clock() + self._patience_s
        while names := [name for name in names if not (self._folder / name).exists()]:
            if self._clock() >= end_s:
                raise ExperimentError(
                    f"process {self._index} waited {self._patience_s:g} s for {', '.join(names)} of the "
                    f"{self._n_processes} processes; see the log of the process that the number names"
                )
            self._look_at(names)
            self._sleep(poll_s)

    def _look_at(self, missing: Sequence[str]) -> None:
        """What else is to be known of those that are waited for; whoever started all of them sees them end."""


class InStep:
    """Warm-up of processes that compute together: all take the first one's latencies, so all stop at the same run.

    A run that failed in one of them cannot be skipped: the others are waiting for it in the middle of a layer.
    """

    def __init__(self, run_single_inference: Callable[[], float], peers: Peers) -> None:
        self._run = run_single_inference
        self._peers = peers
        self._n_done = 0
        self.failure: Exception | None = None

    def __call__(self) -> float:
        """One run; milliseconds of the first process."""
        if self.failure is not None:
            raise self.failure
        try:
            latency_ms = self._run()
            self._n_done += 1
            return self._peers.of_first(f"warm-up-{self._n_done}", latency_ms)
        except Exception as error:
            self.failure = error
            raise
