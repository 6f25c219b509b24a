"""What an engine starts beside this process, and how all of it is ended: processes, Python's tracker, sockets."""

import contextlib
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Collection
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil

from llenergymeasure.core.memory.free import reset_resident_peak, resident_peak_mb

_PATIENCE_S = 5.0


class Started:
    """Made before an engine is loaded, it knows what came since; in ``folder`` a killed one may leave its sockets."""

    def __init__(self, engine: str, sockets: str | None = None, spared: Collection[str] = ()) -> None:
        """Begin.

        Args:
            engine: its name.
            sockets: the variable that says where it puts the files of its sockets; None where there is none.
            spared: names of programs that have to end with this process and not before, such as MPI's daemon.
        """
        self._spared = spared
        self._before = {process.pid for process in _children()}
        self._tracker_ran = _tracker_pid() is not None
        self.folder = Path(tempfile.mkdtemp(prefix=f"llem-{engine}-"))
        self._sockets = sockets
        if sockets is not None:
            self._sockets_before = os.environ.get(sockets)
            os.environ[sockets] = str(self.folder)

    def processes(self) -> list[psutil.Process]:
        """Those that were started since and that still are, Python's tracker and spared ones not among them."""
        others = self._before | {_tracker_pid()}
        return [process for process in _children() if process.pid not in others and _name(process) not in self._spared]

    def count_peaks(self) -> bool:
        """Let the kernel count the largest resident sets of these processes and this one from now on."""
        return min([reset_resident_peak(folder) for folder in self._folders()], default=False)

    def peak_mb(self) -> float | None:
        """What they held at most since then, each counted by itself, so no less than all at once; None if unknown."""
        peaks = [resident_peak_mb(folder) for folder in self._folders()]
        known = [peak for peak in peaks if peak is not None]
        return sum(known) if len(known) == len(peaks) else None

    def end(self, patience_s: float = _PATIENCE_S) -> None:
        """End and reap them, and give back what a killed one left behind.

        Args:
            patience_s: how long those have that were asked to end already.
        """
        processes = self.processes()
        _, alive = psutil.wait_procs(processes, timeout=patience_s)
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(alive, timeout=_PATIENCE_S)
        # Reaps those that Python's own module started and nobody waited for.
        multiprocessing.active_children()
        if not self._tracker_ran:
            _stop_tracker()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._sockets is not None and self._sockets_before is None:
            os.environ.pop(self._sockets, None)
        elif self._sockets is not None and self._sockets_before is not None:
            os.environ[self._sockets] = self._sockets_before

    def _folders(self) -> list[Path]:
        return [Path("/proc/self"), *(Path("/proc") / str(process.pid) for process in self.processes())]


def _children() -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process().children(recursive=True)
    return []


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return ""


def _tracker() -> Any:
    return resource_tracker._resource_tracker


def _tracker_pid() -> int | None:
    pid: int | None = getattr(_tracker(), "_pid", None)
    return pid


def _stop_tracker() -> None:
    """End Python's tracker, which removes semaphores and shared memory of killed processes when it ends.

    The standard library has no public name for it; one without this one keeps it until this process ends.
    """
    stop = getattr(_tracker(), "_stop", None)
    if stop is not None and _tracker_pid() is not None:
        with contextlib.suppress(OSError):
            stop()
