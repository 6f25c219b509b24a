"""What a worker leaves word of while it works, for whoever watches from elsewhere: a small file, now and then."""

import contextlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from llenergymeasure._files import read_regular, write_atomically
from llenergymeasure.core.gpu.machine import told_by, visible_gpus
from llenergymeasure.core.progress import Progress
from llenergymeasure.domain.plan import Shown
from llenergymeasure.orchestration.studies.claiming.workers import Worker
from llenergymeasure.results.study.directory import PLAN_FILE

_log = logging.getLogger(__name__)

SIGNS_DIR = "workers"
# A few times a minute: beside a measurement on a file system that many share.
EVERY_S = 15.0
_MOST_BYTES = 2**16
# By which a scheduler tells a job its own number; the first that is there.
_JOB_VARIABLES = ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "PBS_JOBID", "SUBMITIT_LOCAL_JOB_ID", "JOB_NAME")


@dataclass(frozen=True, kw_only=True)
class Signs:
    """What is known of a worker: who and where it is, what it does, and when it said so.

    Times are Unix seconds of its own clock; ``n_signs`` counts what it has said, so that who reads needs no clock of
    its own. ``gpus`` are the names of those it sees, ``power_w`` what they draw together, None where none tells.
    """

    host: str
    pid: int
    job: str | None = None
    node: str | None = None
    since_s: float = 0.0
    seen_s: float = 0.0
    n_signs: int = 0
    doing: str = "starting"
    run: str | None = None
    gpus: tuple[str, ...] = ()
    power_w: float | None = None
    ended: bool = False


_SIGNS = TypeAdapter(Signs)


def _power_w(uuids: tuple[str, ...]) -> float | None:
    told = [power for power in told_by(uuids, lambda device: device.power_w()).values() if power is not None]
    return sum(told) if told else None


@dataclass
class LeavingSigns(Progress):
    """Hands progress on, and leaves word of it; a context, at the end of which it says that the worker has ended.

    Args:
        folder: of the study.
        shown: what shows progress on this machine.
        worker: who this is.
        now_s: Unix seconds.
        power_w: what the GPUs with these UUIDs draw now.
        every_s: how often it leaves word.
    """

    folder: Path
    shown: Progress
    worker: Worker = field(default_factory=Worker.this_process)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    now_s: Callable[[], float] = time.time
    power_w: Callable[[tuple[str, ...]], float | None] = _power_w
    every_s: float = EVERY_S
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: Any = field(default_factory=threading.Lock)

    def __enter__(self) -> "LeavingSigns":
        """Begin to leave word."""
        gpus = visible_gpus(self.environ).gpus
        self._uuids = tuple(gpu.uuid for gpu in gpus)
        self._signs = Signs(
            host=self.worker.host, pid=self.worker.pid, job=job_in(self.environ),
            node=self.environ.get("SLURMD_NODENAME"), since_s=self.now_s(), gpus=tuple(gpu.name for gpu in gpus),
        )  # fmt: skip
        self._thread = threading.Thread(target=self._go_on, name="signs", daemon=True)
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Say that it is over."""
        self._over.set()
        self._thread.join()
        self._note(doing="ended", run=None, ended=True, power_w=None)
        self._write()

    def begin(self, phase: str, *, n: int | None = None, unit: str = "", for_s: float | None = None) -> None:
        """As of what shows it."""
        self._note(doing=phase)
        self.shown.begin(phase, n=n, unit=unit, for_s=for_s)

    def done(self, n: int = 1, n_tokens: int = 0) -> None:
        """As of what shows it."""
        self.shown.done(n, n_tokens)

    def note(self, text: str) -> None:
        """As of what shows it."""
        self.shown.note(text)

    def later(self, seconds: float | None) -> None:
        """As of what shows it."""
        self.shown.later(seconds)

    def watts(self, read: Callable[[], str] | None) -> None:
        """As of what shows it."""
        self.shown.watts(read)

    def at_run(self, n: int, of: int, later_s: float | None) -> None:
        """As of what shows it."""
        self._note(run=f"{n} of {of}")
        self.shown.at_run(n, of, later_s)

    def handed_on(self) -> Shown | None:
        """As of what shows it."""
        return self.shown.handed_on()

    @contextlib.contextmanager
    def elsewhere(self) -> Iterator[None]:
        """While the body runs the process of a run measures."""
        self._note(doing="measuring")
        with self.shown.elsewhere():
            yield

    def end(self) -> None:
        """As of what shows it."""
        self._note(doing="between runs")
        self.shown.end()

    def _note(self, **what: Any) -> None:
        with self._lock:
            self._signs = replace(self._signs, **what)

    def _go_on(self) -> None:
        while not self._over.wait(self.every_s):
            self._write()

    def _write(self) -> None:
        # What cannot be told is no reason to end.
        with contextlib.suppress(Exception):
            power_w = None if self._signs.ended else self.power_w(self._uuids)
            self._note(seen_s=self.now_s(), n_signs=self._signs.n_signs + 1, power_w=power_w)
            name = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', self.worker.host) or 'host'}-{self.worker.pid}.json"
            folder = self.folder / SIGNS_DIR
            if not (self.folder / PLAN_FILE).is_file():
                return
            folder.mkdir(exist_ok=True)
            write_atomically(folder / name, json.dumps(asdict(self._signs)) + "\n")


def job_in(environ: Mapping[str, str]) -> str | None:
    """The number of the job that this process is of, as its scheduler writes it; None outside of one."""
    for name in _JOB_VARIABLES:
        if environ.get(name):
            task = environ.get("SLURM_ARRAY_TASK_ID") if name == "SLURM_ARRAY_JOB_ID" else None
            return environ[name] if task is None else f"{environ[name]}_{task}"
    return None


def signs_in(folder: Path) -> list[Signs]:
    """What all workers of a study have left word of; what cannot be read is left out."""
    found = []
    for file in sorted((folder / SIGNS_DIR).glob("*.json")):
        # Anybody of those who share the folder may have written it.
        with contextlib.suppress(OSError, ValueError, RecursionError):
            found.append(_SIGNS.validate_json(read_regular(file, _MOST_BYTES)))
    return found
