"""Ends what an experiment has started where whoever ran it was killed: ``guard PARENT LEADER MARK``.

The measuring process is tied to its parent, but servers and workers that an engine has started are not. This process
sleeps until the parent has ended, in a session of its own, and ends what is left then; an experiment that ends in any
other way ends this first.
"""

import contextlib
import hashlib
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import psutil

_log = logging.getLogger(__name__)

# All that an experiment starts has this variable, whatever group or parent it takes, unless it is given none.
MARK = "LLENERGYMEASURE_PROCESS_OF"
_RLIMIT_LOCKS = 10  # linux/resource.h
_PATIENCE_S = 5.0
_LOOK_S = 1.0
_POLL_S = 0.02
# What is killed may just have started something.
_ROUNDS = 3


@contextlib.contextmanager
def guarded(leader: int, mark: str) -> Iterator[None]:
    """While the body runs, all that belongs to an experiment ends with this process, however that ends.

    Args:
        leader: the pid of the process that leads the experiment's process group.
        mark: what its processes have in the variable ``MARK``, or as a limit.
    """
    command = [sys.executable, "-P", "-m", __name__, str(os.getpid()), str(leader), mark]
    # It is none of those that it ends, and holds no stream open.
    environ = {name: value for name, value in os.environ.items() if name != MARK}
    guard: subprocess.Popen[bytes] | None = None
    try:
        guard = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environ,
            start_new_session=True,
        )
    except OSError as error:
        _log.warning("after a kill of this process what the engine has started would live on: %s", error)
    try:
        yield
    finally:
        if guard is not None:
            guard.kill()
            guard.wait()


def mark_by_a_limit(pid: int, mark: str) -> None:
    """Mark a process that has just started so that all that it starts is found, whatever environment that is given.

    By ``RLIMIT_LOCKS``, which limits nothing since Linux 2.4.25 (getrlimit(2)) and is handed down to every child. Where
    it cannot be set, what has no variable ``MARK``, group or parent of its own is not found.
    """
    with contextlib.suppress(psutil.Error, OSError, ValueError, AttributeError):  # only Linux has it
        process = psutil.Process(pid)
        _, highest = process.rlimit(_RLIMIT_LOCKS)
        process.rlimit(_RLIMIT_LOCKS, (_as_a_limit(mark), highest))


def _as_a_limit(mark: str) -> int:
    """A number of 56 bits, which nobody else takes by chance."""
    return int.from_bytes(hashlib.blake2b(mark.encode(), digest_size=7).digest(), "big")


def _has_the_limit(process: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError, AttributeError):  # as above
        return bool(process.rlimit(_RLIMIT_LOCKS)[0] == _as_a_limit(mark))
    return False


def marked(mark: str) -> list[psutil.Process]:
    """The living processes of this user that were started with a mark, of either kind."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if _has_the_limit(process, mark) or process.environ().get(MARK) == mark:
                found.append(process)
    return found


def of_group(leader: psutil.Process | None) -> list[psutil.Process]:
    """The processes of the group that a process leads, or led; none where its number is another's by now."""
    # The kernel gives it to nobody while the group has members.
    if leader is None or (psutil.pid_exists(leader.pid) and not leader.is_running()):
        return []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == leader.pid:
                found.append(process)
    return found


def end_all(leader: psutil.Process | None, mark: str) -> None:
    """End all that belongs to an experiment: asked first, then told."""
    asked = _left(leader, mark)
    for process in asked:
        with contextlib.suppress(psutil.Error):  # psutil tells a process from another that got its number
            process.terminate()
    _wait_for_all(asked, _PATIENCE_S)
    for _ in range(_ROUNDS):
        # A child that has neither the mark nor the group is found while its parent lives.
        told = {*filter(_lives, asked), *_left(leader, mark)}
        for process in told:
            with contextlib.suppress(psutil.Error):
                process.kill()
        _wait_for_all(told, _LOOK_S)


def wait_for_the_end_of(parent: int) -> None:
    """Sleep until the process that started this one has ended."""
    try:
        descriptor = os.pidfd_open(parent)
    except (AttributeError, OSError):  # not on this system, or it has gone
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        return
    # The number may be another's already.
    if os.getppid() == parent:
        select.select([descriptor], [], [])


def main(parent: int, leader: int, mark: str) -> None:
    """Wait for the parent's end, and end what it has left."""
    # Whoever ends everything that there is, such as a scheduler, ends the parent too, and that may take its time.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    led = None
    with contextlib.suppress(psutil.Error):
        led = psutil.Process(leader)
    wait_for_the_end_of(parent)
    end_all(led, mark)


def _left(leader: psutil.Process | None, mark: str) -> set[psutil.Process]:
    found = {*marked(mark), *of_group(leader)}
    for process in tuple(found):
        with contextlib.suppress(psutil.Error):
            found |= {*process.children(recursive=True)}
    return {*filter(_lives, found)}


def _lives(process: psutil.Process) -> bool:
    # Nobody may take notice of an orphan's end, where the first process of a container is no init.
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _wait_for_all(processes: Iterable[psutil.Process], timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while any(map(_lives, processes)) and time.monotonic() < end_s:
        time.sleep(_POLL_S)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
