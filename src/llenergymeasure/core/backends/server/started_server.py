"""A server that is started for an experiment, waited for, and ended with all that it has started."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

from llenergymeasure._keeper import kept
from llenergymeasure._telling import in_a_line
from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.core.backends.journal import Journal
from llenergymeasure.core.backends.server.questions import Questions
from llenergymeasure.core.memory.free import reset_resident_peak, resident_peak_mb
from llenergymeasure.exceptions import BackendError

# What a server that holds GPUs takes to let them go.
_PATIENCE_S = 15.0
# For the keeper, which then kills what is left.
_KEEPER_S = _PATIENCE_S + 10.0
# Of an experiment that is interrupted others end what is left after five seconds.
_SOON_S = 2.5
_LOOK_S, _MOST_LOOK_S = 0.02, 0.5


class StartedServer:
    """The processes of a server; ``pids`` are theirs, with the keeper's."""

    def __init__(self, keeper: subprocess.Popen[bytes], journal: Journal) -> None:
        self._keeper, self._journal = keeper, journal

    @property
    def pids(self) -> frozenset[int]:
        """All of its processes."""
        return frozenset(process.pid for process in self._processes())

    def count_peaks(self) -> bool:
        """Let the kernel count the largest resident sets from now on; whether it does."""
        return min([reset_resident_peak(folder) for folder in self._folders()], default=False)

    def peak_mb(self) -> float | None:
        """What its processes held at most since then, each counted by itself; None if unknown."""
        peaks = [resident_peak_mb(folder) for folder in self._folders()]
        known = [peak for peak in peaks if peak is not None]
        return sum(known) if known and len(known) == len(peaks) else None

    def must_live(self) -> None:
        """Look whether it is alive.

        Raises:
            BackendError: it has ended, with the last that it wrote.
        """
        code = self._keeper.poll()
        if code is not None:
            raise BackendError(f"the server of server.command ended with exit code {code}{self.last_words()}")

    def last_words(self) -> str:
        """What it wrote last, behind a colon; empty where it wrote nothing."""
        said = self._journal.cause() or self._journal.tail()
        return f": {in_a_line(said)}" if said else ""

    def end(self, *, soon: bool = False) -> None:
        """End it and all that it has started; nothing is left of them.

        Args:
            soon: whoever has it ended does not wait long.
        """
        processes = self._processes()
        try:
            for wait_s in (_SOON_S, _KEEPER_S) if soon else (_KEEPER_S,):
                self._keeper.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._keeper.wait(wait_s)
                    return
            self._keeper.kill()
            self._keeper.wait()
        finally:
            for process in processes:
                with contextlib.suppress(psutil.Error):  # psutil tells it from another that got its number
                    process.kill()

    def _processes(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            keeper = psutil.Process(self._keeper.pid)
            return [keeper, *keeper.children(recursive=True)]
        return []

    def _folders(self) -> list[Path]:
        return [Path("/proc") / str(pid) for pid in self.pids - {self._keeper.pid}]


@contextlib.contextmanager
def started(
    section: ServerConfig,
    command: Sequence[str],
    questions: Questions,
    sleep: Callable[[float], None] = time.sleep,
    patience_s: float = _PATIENCE_S,
) -> Iterator[StartedServer]:
    """The server that a command starts, ready to be asked; ended on every way out.

    Args:
        section: where it is found, and how long it may take to be.
        command: its words.
        questions: asks it.
        sleep: waits between two questions.
        patience_s: how long it has to end once it was asked to.

    Raises:
        BackendError: it cannot be started, ends, or is not ready in time; or somebody answers in its place already.
    """
    if questions.answers():
        raise BackendError(
            f"server.command is to start a server, and somebody answers at {section.url} already; end that, or take "
            "another port"
        )
    journal = Journal()
    try:
        keeper = subprocess.Popen(
            [sys.executable, "-P", *kept(list(command), patience_s)],
            stdin=subprocess.DEVNULL,
            stdout=journal.fileno(),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        server = StartedServer(keeper, journal)
        try:
            _wait(section, server, questions, sleep)
            yield server
        except Exception:
            server.end()
            raise
        except BaseException:
            server.end(soon=True)
            raise
        server.end()
    finally:
        journal.close()


def _wait(section: ServerConfig, server: StartedServer, questions: Questions, sleep: Callable[[float], None]) -> None:
    gives_up_s, look_s = time.monotonic() + section.start_timeout_s, _LOOK_S
    while True:
        server.must_live()
        problem = questions.problem()
        if problem is None:
            # Another's answer would be taken for that of one that has just ended.
            server.must_live()
            return
        if time.monotonic() >= gives_up_s:
            raise BackendError(
                f"the server was not ready within {section.start_timeout_s:g} s (server.start_timeout_s): "
                f"{problem}{server.last_words()}"
            )
        sleep(look_s)
        look_s = min(2 * look_s, _MOST_LOOK_S)
