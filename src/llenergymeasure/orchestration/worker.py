"""The process that measures one plan, or its part of it: ``python -m llenergymeasure.orchestration.worker FOLDER``.

The folder holds the plan; the raw result, or why there is none, is left in it.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from llenergymeasure._telling import TellingFormatter
from llenergymeasure.core.backends import get_backend, loggers_of
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.peers import FilePeers
from llenergymeasure.core.session import measure
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ExperimentError, LLEMError, contained, in_one_line
from llenergymeasure.orchestration.handover import PEERS_DIR, received_plan, report
from llenergymeasure.orchestration.process_group import die_with_parent
from llenergymeasure.results.process_files import write_process_result, write_state

# This module runs as __main__, so its name would not be below the package's.
_log = logging.getLogger("llenergymeasure.worker")
LOG_FILE = "log.txt"


def main(state_dir: Path) -> int:
    """Measure the plan in ``state_dir``; the exit code of the process."""
    die_with_parent()
    plan = received_plan(state_dir)
    if plan.layout.n_processes > 1:
        plan = _as_one_of_several(plan)
    index = plan.process_index
    log_to(plan.output_dir, LOG_FILE if index == 0 else f"log_{index}.txt")
    peers = FilePeers(state_dir / PEERS_DIR, index, plan.layout.n_processes)
    try:
        backend = get_backend(plan.config.backend)
        with contained():
            keep_quiet(backend, os.environ)
        raw = measure(plan, backend, lambda state: write_state(state, state_dir, index), peers)
        write_process_result(raw, state_dir)
    except LLEMError as error:
        return _report(state_dir, index, error)
    except Exception as error:  # noqa: BLE001 - the last line of this process: everything is reported
        unforeseen = ExperimentError(f"unforeseen {in_one_line(error)}")
        unforeseen.__cause__ = error
        return _report(state_dir, index, unforeseen)
    return 0


def keep_quiet(engine: EngineBase, environ: MutableMapping[str, str]) -> None:
    """Have the engine's libraries print errors only: what matters to a user is in the warnings."""
    for name, value in engine.variables.items():
        environ.setdefault(name, value)
    for name in loggers_of(engine):
        logging.getLogger(name).setLevel(logging.ERROR)


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


def _report(state_dir: Path, index: int, error: LLEMError) -> int:
    _log.error("%s: %s", type(error).__name__, error, exc_info=error)
    report(error, state_dir, index)
    return error.exit_code


def log_to(output_dir: Path | None, name: str) -> None:
    """Keep this process's log lines in a file of that name; nowhere without a folder."""
    logger = logging.getLogger("llenergymeasure")
    logger.setLevel(logging.INFO)
    handler: logging.Handler = logging.NullHandler()
    if output_dir is not None:
        with contextlib.suppress(OSError):
            handler = logging.FileHandler(output_dir / name, encoding="utf-8")
    handler.setFormatter(TellingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
