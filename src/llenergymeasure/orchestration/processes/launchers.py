"""Where the processes of a plan run: here, or in fresh ones of their own."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from llenergymeasure._lifeline import tied
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.progress.shown import showing
from llenergymeasure.core.session import measure
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ExperimentError, in_one_line
from llenergymeasure.orchestration.interruptions import signals_noted
from llenergymeasure.orchestration.processes.handover import (
    handed_back,
    handed_over,
    is_handed_back,
    reported,
    with_a_bad_end,
)
from llenergymeasure.orchestration.processes.interpreters import Interpreter, interpreter_of
from llenergymeasure.orchestration.processes.process_group import ending, run_to_end
from llenergymeasure.orchestration.processes.torchrun_launcher import TorchrunLauncher
from llenergymeasure.orchestration.processes.watching import watch_of
from llenergymeasure.protocols import Launcher
from llenergymeasure.results.persistence import STATE_DIR
from llenergymeasure.results.process_files import write_process_result, write_state

_log = logging.getLogger(__name__)


class InProcessLauncher:
    """Measures in this process: no start-up cost, but the CUDA context stays for what comes after."""

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """Measure, and keep the raw result where the plan has a folder.

        Raises:
            LLEMError: as ``run_session``.
        """
        backend = get_backend(plan.config.backend)
        if plan.output_dir is None:
            with _ended_by_signals_only(), showing(plan.shown) as progress:
                return [measure(plan, backend, progress=progress)]
        state_dir = plan.output_dir / STATE_DIR
        with _ended_by_signals_only(), showing(plan.shown) as progress:
            raw = measure(plan, backend, on_state=lambda state: write_state(state, state_dir), progress=progress)
        try:
            write_process_result(raw, state_dir)
        except OSError as error:  # it is at hand, and the result has it all
            _log.warning("the raw result cannot be written: %s: %s", state_dir, error.strerror or error)
        return [raw]


@contextlib.contextmanager
def _ended_by_signals_only() -> Iterator[None]:
    """An engine that raises what an interruption would is one that fails.

    Raises:
        ExperimentError: in place of what no signal has raised.
    """
    with signals_noted() as came:
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit) as error:
            if isinstance(error, KeyboardInterrupt) and came():
                raise
            raise ExperimentError(f"unforeseen {in_one_line(error)}, which no signal has raised") from error


class SubprocessLauncher:
    """Measures in a fresh process, so that every experiment is a launch of its own.

    The process leads its own process group, which is ended whenever this one stops waiting.
    """

    def __init__(self, command: Callable[[Path], list[str]] | None = None) -> None:
        """``command`` makes the command line for the folder in which the plan lies; None is the engine's own worker."""
        self._command = command

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """Hand the plan over, wait, and read what the process left.

        Raises:
            LLEMError: what the process reported, or that it died.
        """
        with handed_over(plan) as state_dir:
            why = self._ended_badly(plan, state_dir)
            error = reported(state_dir)
            if error is not None:
                raise error
            if not is_handed_back(plan, state_dir):
                raise why or ExperimentError("the measuring process ended with exit code 0 without a report")
            raws = handed_back(plan, state_dir)
        return raws if why is None else with_a_bad_end(raws, why)

    def _ended_badly(self, plan: ExperimentPlan, state_dir: Path) -> ExperimentError | None:
        """Run the process to its end; what was wrong with that."""
        python = interpreter_of(plan.config.backend)
        command = _worker_command(python, state_dir) if self._command is None else self._command(state_dir)
        try:
            code = run_to_end(command, env=python.environment(), watch=watch_of(plan, state_dir))
        except ExperimentError as error:
            return error
        return None if code == 0 else ExperimentError(f"the measuring process {ending(code)} without a report")


def create_launcher(name: str, layout: ProcessLayout) -> Launcher:
    """What runs an experiment of this layout: as ``execution.launcher`` says, or several processes together."""
    if layout.n_processes > 1:
        return TorchrunLauncher()
    return SubprocessLauncher() if name == "subprocess" else InProcessLauncher()


def _worker_command(python: Interpreter, state_dir: Path) -> list[str]:
    return python.command(*tied("llenergymeasure.orchestration.processes.worker", str(state_dir)))
