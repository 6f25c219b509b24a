"""Ties a process to the one that started it, before anything heavy is imported.

Run by Python with ``PARENT MODULE ARGUMENTS``, it becomes ``MODULE`` and ends when the process ``PARENT`` does. Without
it a process that is still importing when its parent is killed would run its whole experiment beside whatever comes
next.
"""

import contextlib
import ctypes
import os
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOK_S = 1.0


def tied(module: str, *arguments: str) -> list[str]:
    """What Python is to be started with to become a module that does not outlive this process."""
    return ["-m", "llenergymeasure._lifeline", str(os.getpid()), module, *arguments]


def tie_to(parent: int, end: Callable[[], None] = lambda: os._exit(1)) -> None:
    """End this process when its parent is gone, at once if it is gone already.

    Args:
        parent: the pid of who started it.
        end: how to end.
    """
    if not _tied_by_the_kernel():
        threading.Thread(target=_watch, args=(parent, end), name="lifeline", daemon=True).start()
    # It may have ended before the kernel was told.
    if os.getppid() != parent:
        end()


def _tied_by_the_kernel() -> bool:
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it
        return bool(ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) == 0)
    return False


def _watch(parent: int, end: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    end()


def main(parent: str, module: str, *arguments: str) -> None:
    """Tie this process to its parent, then be the module."""
    tie_to(int(parent))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
