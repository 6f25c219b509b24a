"""The process that measures one plan: ``python -m llenergymeasure.orchestration.worker FOLDER``.

The folder holds the plan; the raw result, or why there is none, is left in it.
"""

import contextlib
import ctypes
import logging
import os
import signal
import sys
from pathlib import Path

from pydantic import TypeAdapter

from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.session import measure
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ExperimentError, LLEMError
from llenergymeasure.orchestration.handover import ERROR_FILE, PLAN_FILE, ProcessError
from llenergymeasure.results.persistence import write_atomically
from llenergymeasure.results.process_files import write_process_result, write_state

# This module runs as __main__, so its name would not be below the package's.
_log = logging.getLogger("llenergymeasure.worker")
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOG_FILE = "log.txt"


def main(state_dir: Path) -> int:
    """Measure the plan in ``state_dir``; the exit code of the process."""
    _die_with_parent()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # what matters to a user is in the warnings
    plan = TypeAdapter(ExperimentPlan).validate_json((state_dir / PLAN_FILE).read_bytes())
    _log_to(plan.output_dir)
    try:
        backend = get_backend(plan.config.backend)
        raw = measure(plan, backend, on_state=lambda state: write_state(state, state_dir))
        write_process_result(raw, state_dir)
    except LLEMError as error:
        return _report(state_dir, error)
    except Exception as error:  # noqa: BLE001 - the last line of this process: everything is reported
        unforeseen = ExperimentError(f"unforeseen {type(error).__name__}: {error}")
        unforeseen.__cause__ = error
        return _report(state_dir, unforeseen)
    return 0


def _report(state_dir: Path, error: LLEMError) -> int:
    _log.error("%s: %s", type(error).__name__, error, exc_info=error)
    report = ProcessError(error_type=type(error).__name__, message=str(error))
    write_atomically(state_dir / ERROR_FILE, report.model_dump_json())
    return error.exit_code


def _log_to(output_dir: Path | None) -> None:
    logger = logging.getLogger("llenergymeasure")
    logger.setLevel(logging.INFO)
    handler: logging.Handler = logging.NullHandler()
    if output_dir is not None:
        with contextlib.suppress(OSError):
            handler = logging.FileHandler(output_dir / LOG_FILE, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)


def _die_with_parent() -> None:
    """End when the launching process is killed, so that no orphan goes on using the device."""
    with contextlib.suppress(OSError, AttributeError):  # not on Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
