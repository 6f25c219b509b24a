"""The process that measures one plan, or its part of it: ``llenergymeasure.orchestration.processes.worker FOLDER``.

The folder holds the plan; the raw result, or why there is none, is left in it. ``lifeline`` starts it.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from llenergymeasure._host import this_host
from llenergymeasure._stderr import use_patient_stderr
from llenergymeasure._telling import visible
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.nodes.peers import NodePeers
from llenergymeasure.core.peers import FilePeers
from llenergymeasure.core.progress.shown import showing
from llenergymeasure.core.session import measure
from llenergymeasure.core.state import ExperimentState
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.exceptions import ExperimentError, LLEMError, contained, in_one_line
from llenergymeasure.orchestration.processes.handover import PEERS_DIR, hand_back, received_plan, report
from llenergymeasure.orchestration.quiet import keep_quiet, quieten_others
from llenergymeasure.orchestration.status import HeldLines, file_handler, status_handler
from llenergymeasure.results.persistence import LOG_FILE
from llenergymeasure.results.process_files import write_state

# This module runs as __main__, so its name would not be below the package's.
_log = logging.getLogger("llenergymeasure.worker")


def main(state_dir: Path) -> int:
    """Measure the plan in ``state_dir``; the exit code of the process."""
    plan = received_plan(state_dir)
    leads = plan.config.nodes is not None
    if plan.layout.n_processes > 1 and not leads:
        plan = _as_one_of_several(plan)
    use_patient_stderr()
    index = plan.process_index
    lines = telling(plan)

    def on_state(state: ExperimentState) -> None:
        write_state(state, state_dir, index)
        for handler in lines:
            handler.hold(state is ExperimentState.MEASURING)

    left: list[RawProcessResult] = []

    def run() -> None:
        backend = get_backend(plan.config.backend)
        with contained():
            keep_quiet(backend, os.environ)

        def leave(raw: RawProcessResult) -> None:
            if raw not in left:  # what is new since then are warnings
                hand_back(raw, plan, state_dir)
                left.append(raw)

        with _peers(plan, state_dir) as peers, showing(plan.shown) as progress:
            progress.begin(f"starting {plan.config.backend}")
            leave(measure(plan, backend, on_state, peers, leave, progress))

    return code_of(run, state_dir, index)


def code_of(run: Callable[[], None], state_dir: Path, index: int) -> int:
    """The exit code of a process that measures; whatever ends it is reported."""
    try:
        run()
    except LLEMError as error:
        return _report(state_dir, index, error)
    except BaseException as error:  # noqa: BLE001 - the last line of this process: everything is reported
        unforeseen = ExperimentError(f"unforeseen {in_one_line(error)}")
        unforeseen.__cause__ = error
        return _report(state_dir, index, unforeseen)
    return 0


def own_gpu(index: int, environ: Mapping[str, str]) -> str:
    """The entry of ``CUDA_VISIBLE_DEVICES`` that belongs to a process; all of it where there are too few.

    Args:
        index: the process's.
        environ: the environment that all of them got.
    """
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return str(index)
    entries = [entry.strip() for entry in listed.split(",")]
    return entries[index] if index < len(entries) else listed


def _as_one_of_several(plan: ExperimentPlan) -> ExperimentPlan:
    """The plan for the process that torchrun says this is, with the streams and the GPU that it is to use."""
    index = int(os.environ["RANK"])
    # The launcher gave its own stderr as stdout; torchrun's, which all inherit, goes to a file.
    if index == 0:
        os.dup2(1, 2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    if plan.layout.parallelism == "data":
        # Before CUDA looks: whatever the engine takes is then this process's own.
        os.environ["CUDA_VISIBLE_DEVICES"] = own_gpu(index, os.environ)
    return plan.part(index)


@contextlib.contextmanager
def _peers(plan: ExperimentPlan, state_dir: Path) -> Iterator[FilePeers | None]:
    """The other processes of the plan: on this machine, or on the nodes that attend; None where there is no other."""
    n, folder, nodes = plan.layout.n_processes, state_dir / PEERS_DIR, plan.config.nodes
    if nodes is None:
        yield FilePeers(folder, plan.process_index, n) if n > 1 else None
        return
    peers = NodePeers(folder, plan.process_index, n, come_s=nodes.wait_s)
    with peers.taking_part(this_host().name):
        yield peers


def _report(state_dir: Path, index: int, error: LLEMError) -> int:
    """Say why this process gives no result; the exit code that follows."""
    _log.error("%s: %s", type(error).__name__, error, exc_info=error)
    try:
        report(error, state_dir, index)
    except OSError:
        # The folder takes nothing: whoever waits is to see it all the same.
        with contextlib.suppress(OSError):
            sys.stderr.write(visible(f"llem: {error}") + "\n")
    return error.exit_code


def telling(plan: ExperimentPlan) -> list[HeldLines]:
    """Where this process tells how it stands: its log, and stderr where somebody wants to see it."""
    # A disk that is full costs the line and nothing else.
    logging.raiseExceptions = False
    # Without any handler logging has one of its own.
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if plan.output_dir is not None:
        name = LOG_FILE if plan.process_index == 0 else f"log_{plan.process_index}.txt"
        handlers.append(file_handler(plan.output_dir / name))
    if plan.log_level is not None:
        told = status_handler(plan.log_level)
        if plan.log_level > logging.DEBUG:
            # Errors with their tracebacks are for the log: whoever started this process tells them.
            told.addFilter(lambda record: record.exc_info is None)
        handlers.append(told)
    quieten_others(plan.log_level)
    logger = logging.getLogger("llenergymeasure")
    logger.propagate = False
    logger.setLevel(min([logging.INFO, *(handler.level for handler in handlers if handler.level)]))
    lines = [HeldLines(handler) for handler in handlers]
    for held in lines:
        logger.addHandler(held)
    return lines


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
