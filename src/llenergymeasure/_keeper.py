"""Starts a program and outlives neither it nor who asked for it: ``keeper PARENT PATIENCE_S WORD...``.

A server starts others, in sessions of their own and as orphans. This process is a child of whoever wants the server,
and the server its own: on Linux it takes the orphans below it over (``PR_SET_CHILD_SUBREAPER``), so that all that was
started stays in one tree, which is counted as one and ended as one. It is told by SIGTERM, also by the kernel where its
parent was killed, and then asks the program to end, and kills it when its patience is over, or when told again. It
ends when nothing is left, as the program ended.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

import psutil

# linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Where the kernel does not tell of the parent's end.
_LOOK_S = 5.0
_POLL_S = 0.02
# For what a program leaves behind to end by itself.
_GRACE_S = 2.0
# For what was killed to be gone, and for what it started meanwhile.
_KILLED_S = 5.0
_NOT_FOUND, _NOT_STARTED = 127, 126
_ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def kept(command: list[str], patience_s: float) -> list[str]:
    """What Python is to be started with so that a program does not outlive this process.

    Args:
        command: the program and its arguments.
        patience_s: how long it has to end once it was asked to.
    """
    return ["-m", "llenergymeasure._keeper", str(os.getpid()), str(patience_s), *command]


def main(parent: int, patience_s: float, command: list[str]) -> int:
    """Run the program to its end, or end it where that is asked for; its exit code, or 128 and its signal's number."""
    # Taken one by one below; who has it here already is not to be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, [*_ASKED, signal.SIGCHLD])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() != parent:
        return _NOT_STARTED
    try:
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_unblocked)  # noqa: PLW1509 - it has one thread
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_STARTED
    code = _until_it_ends_or_is_to(program.pid, parent)
    if code is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(program.pid, signal.SIGTERM)
        code = _reaped_within(program.pid, patience_s)
    _end_what_is_left(program.pid)
    return 128 + signal.SIGKILL if code is None else code


def _unblocked() -> None:
    """The program gets its signals; it goes with this process, should that be killed."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [*_ASKED, signal.SIGCHLD])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _until_it_ends_or_is_to(pid: int, parent: int) -> int | None:
    """The exit code of the program; None where this process was asked to end, or is an orphan."""
    while True:
        taken = signal.sigtimedwait([*_ASKED, signal.SIGCHLD], _LOOK_S)
        code = _reaped(pid)
        if code is not None:
            return code
        if (taken is not None and taken.si_signo in _ASKED) or os.getppid() != parent:
            return None


def _reaped(pid: int) -> int | None:
    """The exit code of the program, if it has ended; orphans that have are reaped as well."""
    code = None
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == pid:
                ended = os.waitstatus_to_exitcode(found[1])
                code = ended if ended >= 0 else 128 - ended
    return code


def _reaped_within(pid: int, patience_s: float) -> int | None:
    """The exit code once it and its group have ended; None where some of it still lives."""
    end_s, code = time.monotonic() + patience_s, None
    while time.monotonic() < end_s:
        found = _reaped(pid)
        if found is not None:
            code, end_s = found, min(end_s, time.monotonic() + _GRACE_S)
        if code is not None and not _children():
            return code
        taken = signal.sigtimedwait(_ASKED, _POLL_S)
        if taken is not None:
            # Asked again: nobody waits any longer.
            return code
    return code


def _end_what_is_left(group: int) -> None:
    """Kill all that was started, until nothing is left of it."""
    end_s = time.monotonic() + _KILLED_S
    while time.monotonic() < end_s:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
        for process in _children():
            with contextlib.suppress(psutil.Error):
                process.kill()
        _reaped(group)
        if not _children():
            return
        time.sleep(_POLL_S)


def _children() -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process().children(recursive=True)
    return []


def _prctl(option: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        ctypes.CDLL(None).prctl(option, value)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]))
