"""Processes that are started, waited for, and ended with all that they started."""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO

import psutil

_PATIENCE_S = 5.0
_POLL_S = 0.02
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run_to_end(
    command: Sequence[str],
    *,
    stdout: int = subprocess.DEVNULL,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """The exit code of a command, which leads a process group of its own; minus the signal that killed it.

    The group is ended whenever this stops waiting.

    Args:
        command: what to run.
        stdout: file descriptor, or one of subprocess's constants.
        stderr: likewise; None is this process's own.
        env: its environment; None is this process's own.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=env, start_new_session=True
    )
    try:
        return process.wait()
    finally:
        _end(process)


def safe_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a Python process and all that it starts: none imports what lies in the working directory.

    Args:
        environ: what else is in it; None is this process's own.
    """
    return {**(os.environ if environ is None else environ), "PYTHONSAFEPATH": "1"}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started: asked first, then told."""
    # A child with a group of its own is found only while its parent lives.
    started = _descendants(process.pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            process.poll()  # reaps the leader, so that only living members are left in the group
            os.killpg(process.pid, 0)
            time.sleep(_POLL_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for descendant in started:
        with contextlib.suppress(psutil.Error):  # psutil tells a process from another that got its number
            descendant.kill()


def _descendants(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def die_with_parent() -> None:
    """End this process when the one that started it is killed, so that no orphan goes on using the device."""
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ending(code: int) -> str:
    """How a process with this exit code ended."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # real-time signals have no names
        return f"was killed by signal {-code}"
