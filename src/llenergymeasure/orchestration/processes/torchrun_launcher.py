"""Several processes of one experiment, started together by torchrun."""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from llenergymeasure._files import write_atomically
from llenergymeasure._lifeline import tied
from llenergymeasure._telling import told
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import ProcessEnd, RawProcessResult
from llenergymeasure.exceptions import ExperimentError, LLEMError
from llenergymeasure.orchestration.processes.handover import (
    PEERS_DIR,
    handed_back,
    handed_over,
    reported,
    with_a_bad_end,
)
from llenergymeasure.orchestration.processes.interpreters import Interpreter, interpreter_of
from llenergymeasure.orchestration.processes.process_group import ending, run_to_end, safe_environment
from llenergymeasure.orchestration.processes.torchrun_agent import STARTING_DIR, read_ends
from llenergymeasure.orchestration.processes.watching import watch_of

_TORCHRUN_LOG = "torchrun.log"
_STDERR = 2
# torchrun waits 30 s for a process that it asked to end, before it kills it.
_KILLED_LATE_S = 20.0


class TorchrunLauncher:
    """Measures in several fresh processes of this machine, all of which end when one of them fails."""

    def __init__(self, command: Callable[[Path, int], list[str]] | None = None) -> None:
        """``command`` makes the command line for the plan's folder and so many processes; None is that of torchrun."""
        self._command = command

    def launch(self, plan: ExperimentPlan) -> list[RawProcessResult]:
        """Hand the plan over, wait for all processes, and read what they left.

        Raises:
            LLEMError: the first failure; which process died; or whose file is missing or torn.
        """
        with handed_over(plan) as state_dir:
            why = self._ended_badly(plan, state_dir)
            raws = self._left(plan, state_dir, why)
            with contextlib.suppress(OSError):
                (state_dir / _TORCHRUN_LOG).unlink(missing_ok=True)
            shutil.rmtree(state_dir / PEERS_DIR, ignore_errors=True)
        return raws if why is None else with_a_bad_end(raws, why)

    def _ended_badly(self, plan: ExperimentPlan, state_dir: Path) -> LLEMError | None:
        """Run the processes to their end; what was wrong with that, the first failure where there are several."""
        n, log, python = plan.layout.n_processes, state_dir / _TORCHRUN_LOG, interpreter_of(plan.config.backend)
        command = _agent_command(python, state_dir, n) if self._command is None else self._command(state_dir, n)
        try:
            with _as_others_may_read_it(log), log.open("wb") as file:
                # Process 0 shows its progress where this process would: torchrun's own stderr is of no use to a user.
                code = run_to_end(
                    command,
                    stdout=_STDERR,
                    stderr=file,
                    env=environment(n, python.environment()),
                    watch=watch_of(plan, state_dir),
                )
        except ExperimentError as error:
            return error
        finally:
            shutil.rmtree(state_dir / STARTING_DIR, ignore_errors=True)
        return None if code == 0 else _failure(state_dir, n, code)

    def _left(self, plan: ExperimentPlan, state_dir: Path, why: LLEMError | None) -> list[RawProcessResult]:
        """What all of them measured; of some that ended badly only where nobody told of an error and all is whole."""
        if why is None:
            return handed_back(plan, state_dir)
        if reported(state_dir, plan.layout.n_processes) is not None:
            raise why
        try:
            return handed_back(plan, state_dir)
        except ExperimentError:
            raise why from None


@contextlib.contextmanager
def _as_others_may_read_it(log: Path) -> Iterator[None]:
    """Whatever ends the body, a log that stays beside a failure has nobody's home or secrets in it."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            text = told(log.read_text(encoding="utf-8", errors="replace"))
            try:
                write_atomically(log, text, durable=False)
            except OSError:
                # What cannot be written again is not left as it is.
                log.unlink()


def environment(n_processes: int, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the processes: unless it says otherwise, each gets its share of the cores as threads."""
    given = safe_environment(environ)
    usable = _usable_cpus()
    cores = min(psutil.cpu_count(logical=False) or usable, usable)
    # Left to itself, torchrun gives each a single one.
    return {"OMP_NUM_THREADS": str(max(1, cores // n_processes)), **given}


def _usable_cpus() -> int:
    """CPUs that this process may run on; all of the machine's where the system does not say, as macOS does not."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _agent_command(python: Interpreter, state_dir: Path, n_processes: int) -> list[str]:
    agent = tied("llenergymeasure.orchestration.processes.torchrun_agent", str(state_dir), str(n_processes))
    return python.command(*agent)


def _failure(state_dir: Path, n_processes: int, code: int) -> LLEMError:
    """Of all that went wrong what came first: the rest follows from it."""
    ends = read_ends(state_dir)
    error = reported(state_dir, n_processes)
    first = min(ends, key=lambda end: _likelihood(end, ends[0].time_s), default=None)
    if first is not None and (error is None or _likelihood(first, ends[0].time_s) == 0):
        return _death(first, n_processes)
    return error or _torchrun_failure(state_dir, code)


def _likelihood(end: ProcessEnd, first_s: float) -> int:
    """Whether this end was the cause of the others: 0 is most likely.

    A process that is killed takes the others with it, which then raise, or abort from inside of a library;
    those that are left torchrun ends.
    """
    if end.exit_code >= 0:
        return 1
    if end.exit_code == -signal.SIGABRT:
        return 2
    asked_to_go = end.exit_code == -signal.SIGTERM or end.time_s > first_s + _KILLED_LATE_S
    return 3 if asked_to_go else 0


def _death(end: ProcessEnd, n_processes: int) -> ExperimentError:
    how = ending(end.exit_code)
    hint = "; if nobody did that, the machine ran out of memory (see dmesg)" if "SIGKILL" in how else ""
    return ExperimentError(f"process {end.process_index} of {n_processes} {how} without a report{hint}")


def _torchrun_failure(state_dir: Path, code: int) -> ExperimentError:
    log = (state_dir / _TORCHRUN_LOG).read_text(encoding="utf-8")
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "it said nothing")
    return ExperimentError(f"torchrun, which starts the measuring processes, {ending(code)}: {last}")
