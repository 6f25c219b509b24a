"""Who works on a study: processes, told apart on every host, and whether one is known to have ended."""

import os
import platform
import re
import uuid
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import psutil

from llenergymeasure._host import this_host

# The system works out when a process began from its own start, which moves where the clock is set.
_SAME_S = 5.0


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

    @classmethod
    def of(cls, written: Any) -> Self:
        """The one that a file names; what a later version says beside it is passed over.

        Raises:
            TypeError: it names none.
        """
        if not isinstance(written, dict):
            raise TypeError(f"{written!r} is no worker")
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in written.items() if name in known})

    def is_here(self) -> bool:
        """Whether it is, or was, of this host since it was started, and in the same container."""
        return (self.host, self.boot_id, self.pid_namespace) == (platform.node(), this_host().boot_id, _pid_namespace())

    def is_gone(self) -> bool:
        """Whether it is known to have ended; of another host, or another boot of this one, that is not known here."""
        if not self.is_here():
            return False
        try:
            process = psutil.Process(self.pid)
            return process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - self.started_s) > _SAME_S
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


# Whoever made a file that says nothing of it, or not yet.
UNKNOWN = Worker(name="unknown", host="unknown", boot_id=None, pid=0, started_s=0.0)
