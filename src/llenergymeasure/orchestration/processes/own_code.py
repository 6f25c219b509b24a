"""Asking a model whose own code the user trusts: in a process of its own, which that code may end, or keep for ever."""

import contextlib
import os
import signal
import subprocess
import sys

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.exceptions import ForeignExitError
from llenergymeasure.orchestration.processes.lifeline import tied
from llenergymeasure.orchestration.processes.process_group import ending, safe_environment

# Code that is downloaded and imported, and a description that is read: minutes at the most.
LIMIT_S = 600.0


def answered_by_own_code(config: ExperimentConfig, limit_s: float = LIMIT_S) -> bytes:
    """What ``examiner`` says of an experiment, as it writes it.

    Args:
        config: with the names of secrets, which are put in place there.
        limit_s: how long is waited.

    Raises:
        ForeignExitError: the process ended without an answer, or gave none in time.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", *tied("llenergymeasure.orchestration.processes.examiner")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=safe_environment(),
        start_new_session=True,
    )
    try:
        answer, _ = process.communicate(config.model_dump_json(exclude_unset=True).encode(), timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise ForeignExitError(f"it gave no answer within {limit_s:g} s") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it did not read any more
                    stream.close()
    if not answer:
        raise ForeignExitError(f"it ended its process, which {ending(process.returncode)}")
    return answer
