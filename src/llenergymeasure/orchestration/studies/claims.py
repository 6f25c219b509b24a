"""Who works on which part of a study: files that only one can create, kept fresh as long as their maker lives.

A claim is ``claims/{name}.{n}``. Whoever finds one that nobody keeps fresh any more takes over by creating ``n + 1``,
which again only one can; the other, should it wake, finds itself superseded. What is old is told by the clock of the
file system that all workers share, so that their own clocks need not agree.
"""

import contextlib
import json
import os
import platform
import re
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from llenergymeasure._files import read_regular
from llenergymeasure._host import this_host
from llenergymeasure.orchestration.interruptions import held_back

STALE_S = 60.0
# Signs of life until a claim without one is stale: some may be late, as on a file system far away.
_BEATS = 12
_MOST_BYTES = 2**16
# The system works out when a process began from its own start, which moves where the clock is set.
_SAME_S = 5.0
_NAME = re.compile(r"(?P<name>.+)\.(?P<number>\d+)")


def _pid_namespace() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that works on a study, told apart from every other on every host.

    ``started_s`` is when the operating system says that the process began, in Unix time: numbers of processes are used
    again, and count anew in each ``pid_namespace``, as containers have. ``boot_id`` and that are None where the system
    has none.
    """

    name: str
    host: str
    boot_id: str | None
    pid: int
    started_s: float
    pid_namespace: str | None = None

    @classmethod
    def this_process(cls) -> "Worker":
        """This process, under a new name."""
        host = platform.node()
        return cls(
            name=f"{re.sub(r'[^A-Za-z0-9.-]+', '-', host) or 'host'}-{os.getpid()}-{uuid.uuid4().hex[:6]}",
            host=host,
            boot_id=this_host().boot_id,
            pid=os.getpid(),
            started_s=psutil.Process().create_time(),
            pid_namespace=_pid_namespace(),
        )

    def is_gone(self) -> bool:
        """Whether it is known to have ended; of another host, or another boot of this one, that is not known here."""
        if (self.host, self.boot_id, self.pid_namespace) != (platform.node(), this_host().boot_id, _pid_namespace()):
            return False
        try:
            process = psutil.Process(self.pid)
            return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - self.started_s) > _SAME_S
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


@dataclass(frozen=True)
class Claim:
    """A part of a study that is this worker's, unless somebody has taken it over."""

    path: Path
    name: str
    number: int
    worker: str

    def is_superseded(self) -> bool:
        """Whether another worker took over, as from one that stood still for too long."""
        newest = _numbers(self.path.parent, self.name)
        if max(newest, default=0) > self.number:
            return True
        # One that was given back by somebody who took over may have been made anew under the same number.
        maker = _maker(self.path)
        return maker is None or maker.name != self.worker


@dataclass
class Claims:
    """The claims of one worker on a study; a context in which they are kept fresh.

    ``stale_s`` is for how long a claim may go without a sign of life, ``heartbeat_s`` how often one is given; None is
    often enough.
    """

    folder: Path
    worker: Worker = field(default_factory=Worker.this_process)
    stale_s: float = STALE_S
    heartbeat_s: float | None = None
    _held: dict[Path, None] = field(default_factory=dict)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to keep claims fresh."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._keep_fresh, name="claims", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Give back what is still held."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        for path in list(self._held):
            self._give_back(path)

    @contextlib.contextmanager
    def taken(self, name: str) -> Iterator[Claim | None]:
        """The claim on a part, to the end of the body; None where another worker has it.

        Raises:
            OSError: nothing can be written there.
        """
        claim = self._take(name)
        try:
            yield claim
        finally:
            if claim is not None:
                self._give_back(claim.path)

    def forget_the_dead(self) -> None:
        """Remove the claims of those who are gone; for whoever knows that nothing is left to do."""
        with os.scandir(self.folder) as entries:
            paths = [Path(entry.path) for entry in entries if _NAME.fullmatch(entry.name)]
        for path in paths:
            if path not in self._held and _alive(path, self.stale_s) is None:
                with contextlib.suppress(OSError):
                    path.unlink()

    def holder(self, name: str) -> Worker | None:
        """Who has a part and is alive, as far as can be told; None where nobody has."""
        return holder_in(self.folder, name, self.stale_s)

    def _take(self, name: str) -> Claim | None:
        numbers = _numbers(self.folder, name)
        newest, makers = max(numbers, default=0), [_maker(self.folder / f"{name}.{each}") for each in numbers]
        if newest and _alive(self.folder / f"{name}.{newest}", self.stale_s) is not None:
            return None
        number = newest + 1
        path = self.folder / f"{name}.{number}"
        # One that an interruption left without anybody who gives it back would be in the way of everybody.
        with held_back():
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                return None
            self._held[path] = None
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(self.worker), file)
        # Of one that died nothing else tells that it once was there.
        for other in numbers:
            if _maker(self.folder / f"{name}.{other}") in makers:
                with contextlib.suppress(OSError):
                    (self.folder / f"{name}.{other}").unlink()
        return Claim(path, name, number, self.worker.name)

    def _give_back(self, path: Path) -> None:
        maker = _maker(path)
        # Whoever took over may have given it back, and somebody else made it anew.
        if maker is None or maker.name == self.worker.name:
            with contextlib.suppress(OSError):
                path.unlink()
        self._held.pop(path, None)

    def _keep_fresh(self) -> None:
        every_s = self.stale_s / _BEATS if self.heartbeat_s is None else self.heartbeat_s
        while not self._stop.wait(every_s):
            for path in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(path)


def holder_in(folder: Path, name: str, stale_s: float = STALE_S) -> Worker | None:
    """Who has a part of a study and is alive, as far as can be told; nothing is written that stays."""
    number = max(_numbers(folder, name), default=0)
    return None if not number else _alive(folder / f"{name}.{number}", stale_s)


def _alive(path: Path, stale_s: float) -> Worker | None:
    """Who made a claim, if it is alive; one whose maker cannot be read is alive while it is fresh."""
    try:
        age_s = _now_s(path.parent) - path.stat().st_mtime
    except FileNotFoundError:
        return None
    worker = _maker(path)
    if age_s > stale_s or (worker is not None and worker.is_gone()):
        return None
    return worker or Worker(name="unknown", host="unknown", boot_id=None, pid=0, started_s=0.0)


def _now_s(folder: Path) -> float:
    """The time of the file system, by what it says of a file that is made now; of this machine where none can be."""
    probe = folder / f".{uuid.uuid4().hex}.now"
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError:
        # A folder that may only be read, or is full.
        return time.time()
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _numbers(folder: Path, name: str) -> list[int]:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = (_NAME.fullmatch(entry.name) for entry in entries)
        return [int(each["number"]) for each in found if each is not None and each["name"] == name]
    return []


def _maker(path: Path) -> Worker | None:
    try:
        written: Any = json.loads(read_regular(path, _MOST_BYTES))
        return Worker(**written)
    except (OSError, ValueError, TypeError):
        return None
