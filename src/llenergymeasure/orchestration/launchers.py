"""Where the process of a plan runs: here, or in a fresh one of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from llenergymeasure import exceptions
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.session import measure
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ExperimentError, LLEMError
from llenergymeasure.orchestration.handover import ERROR_FILE, PLAN_FILE, ProcessError
from llenergymeasure.protocols import Launcher
from llenergymeasure.results.persistence import STATE_DIR
from llenergymeasure.results.process_files import read_process_results, write_process_result, write_state

_PATIENCE_S = 5.0
_POLL_S = 0.02


class InProcessLauncher:
    """Measures in this process: no start-up cost, but the CUDA context stays for what comes after."""

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """Measure, and keep the raw result where the plan has a folder.

        Raises:
            LLEMError: as ``run_session``.
        """
        backend = get_backend(plan.config.backend)
        if plan.output_dir is None:
            return [measure(plan, backend)]
        state_dir = plan.output_dir / STATE_DIR
        raw = measure(plan, backend, on_state=lambda state: write_state(state, state_dir))
        write_process_result(raw, state_dir)
        return [raw]


class SubprocessLauncher:
    """Measures in a fresh process, so that every experiment is a launch of its own.

    The process leads its own process group, which is ended whenever this one stops waiting.
    """

    def __init__(self, command: Callable[[Path], list[str]] | None = None) -> None:
        """``command`` makes the command line for the folder in which the plan lies."""
        self._command = command or _worker_command

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """Hand the plan over, wait, and read what the process left.

        Raises:
            LLEMError: what the process reported, or that it died.
        """
        with _handover_dir(plan) as state_dir:
            text = TypeAdapter(ExperimentPlan).dump_json(plan)
            (state_dir / PLAN_FILE).write_bytes(text)
            code = _run(self._command(state_dir))
            report = state_dir / ERROR_FILE
            if report.exists():
                raise _reported(report)
            if code != 0:
                raise ExperimentError(f"the measuring process {_ending(code)} without a report")
            raws = list(read_process_results(state_dir, 1))
            (state_dir / PLAN_FILE).unlink()
            return raws


def create_launcher(name: str) -> Launcher:
    """The launcher of this name, as ``execution.launcher`` gives it."""
    return SubprocessLauncher() if name == "subprocess" else InProcessLauncher()


@contextlib.contextmanager
def _handover_dir(plan: ExperimentPlan) -> Iterator[Path]:
    if plan.output_dir is not None:
        state_dir = plan.output_dir / STATE_DIR
        state_dir.mkdir()
        yield state_dir
        return
    with tempfile.TemporaryDirectory(prefix="llenergymeasure-") as temporary:
        yield Path(temporary)


def _worker_command(state_dir: Path) -> list[str]:
    return [sys.executable, "-m", "llenergymeasure.orchestration.worker", str(state_dir)]


def _run(command: list[str]) -> int:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        return process.wait()
    finally:
        _end_group(process)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started: asked first, then told."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            process.poll()  # reaps the leader, so that only living members are left in the group
            os.killpg(process.pid, 0)
            time.sleep(_POLL_S)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reported(path: Path) -> LLEMError:
    try:
        report = ProcessError.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        return ExperimentError(f"the measuring process failed, and its report cannot be read: {error}")
    kind = getattr(exceptions, report.error_type, None)
    if isinstance(kind, type) and issubclass(kind, LLEMError):
        return kind(report.message)
    return ExperimentError(report.message)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # real-time signals have no names
        return f"was killed by signal {-code}"
