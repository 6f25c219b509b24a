"""Processes that are started, waited for, and ended with all that they started."""

import contextlib
import os
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import IO

import psutil

from llenergymeasure.orchestration.processes.guard import MARK, guarded, mark_by_a_limit, marked

_PATIENCE_S = 5.0
_POLL_S = 0.02
# A scheduler sends its signals to all processes of a job, one after another, in a millisecond or two.
_SAME_SIGNAL_S = 1.0


def run_to_end(
    command: Sequence[str],
    *,
    stdout: int = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    watch: Callable[[int], float | None] = lambda _: None,
) -> int:
    """The exit code of a command, which leads a process group of its own; minus the signal that killed it.

    The group, and all that it started, is ended whenever this stops waiting, and where this process is killed.

    Args:
        command: what to run.
        stdout: file descriptor, or one of subprocess's constants.
        stderr: likewise; None is this process's own.
        env: its environment; None is this process's own.
        watch: called with its pid, now and then; gives the seconds until it is called again, None for never. What it
            raises ends the waiting.
    """
    with leading_a_group(command, stdout=stdout, stderr=stderr, env=env) as process:
        while not _has_ended(process, watch(process.pid)):
            pass
        if process.returncode == -signal.SIGTERM:
            # Where it came to this process too, that is no fault of the command, and is raised here.
            time.sleep(_SAME_SIGNAL_S)
        return process.wait()


@contextlib.contextmanager
def leading_a_group(
    command: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that leads a process group of its own; whatever ends the body, it is ended with all that it started.

    Args:
        command: what to run.
        stdin: file descriptor, or one of subprocess's constants.
        stdout: likewise.
        stderr: likewise; None is this process's own.
        env: its environment; None is this process's own.
    """
    # All that it starts has this too, whatever group or parent it takes.
    mark = uuid.uuid4().hex
    environ = {**(os.environ if env is None else env), MARK: mark}
    guard = contextlib.ExitStack()
    process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=environ, start_new_session=True)
    # Nothing that is worth starting has started anything yet.
    mark_by_a_limit(process.pid, mark)
    try:
        guard.enter_context(guarded(process.pid, mark))
        yield process
    finally:
        with guard:
            _end(process, mark)


def safe_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a Python process and all that it starts: none imports what lies in the working directory.

    Args:
        environ: what else is in it; None is this process's own.
    """
    return {**(os.environ if environ is None else environ), "PYTHONSAFEPATH": "1"}


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End the process and whatever it started: asked first, then told."""
    # A child with a group of its own is found only while its parent lives.
    started = _descendants(process.pid)
    try:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + _PATIENCE_S
            while time.monotonic() < deadline:
                process.poll()  # reaps the leader, so that only living members are left in the group
                os.killpg(process.pid, 0)
                time.sleep(_POLL_S)
    finally:
        # Also where somebody does not want to wait any longer.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for descendant in (*started, *marked(mark)):
            with contextlib.suppress(psutil.Error):  # psutil tells a process from another that got its number
                descendant.kill()


def _has_ended(process: subprocess.Popen[bytes], within_s: float | None) -> bool:
    """Whether it ends in so many seconds. Whoever waits does nothing meanwhile, beside a measurement."""
    try:
        # Popen would look twenty times a second where there is a limit.
        descriptor = os.pidfd_open(process.pid) if within_s is not None else None
    except (AttributeError, OSError):  # not on this system
        descriptor = None
    if descriptor is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(within_s)
    else:
        try:
            select.select([descriptor], [], [], within_s)
        finally:
            os.close(descriptor)
    return process.poll() is not None


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def ending(code: int) -> str:
    """How a process with this exit code ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # real-time signals have no names
        return f"was killed by signal {-code}"
