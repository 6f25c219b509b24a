"""What another distribution brings, imported in a process of its own first, which that may end, or keep for ever."""

import json
import subprocess
import sys

from llenergymeasure._lifeline import tied
from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.exceptions import ExperimentError
from llenergymeasure.orchestration.processes.importer import CAME_THROUGH
from llenergymeasure.orchestration.processes.process_group import ending, run_to_end, safe_environment
from llenergymeasure.orchestration.processes.watching import SignsOfLife, Watch

# A large library on a slow disk shows that it reads.
SILENCE_S, LIMIT_S = 300.0, 1800.0


def problem_of_importing(value: str, silence_s: float = SILENCE_S) -> str | None:
    """Why importing something would end a process or not end; None where it does neither, whatever it raises.

    Args:
        value: ``module:attribute``.
        silence_s: how long is waited without a sign of life.
    """
    path = json.dumps([str(place) for place in sys.path if place])
    command = [sys.executable, "-P", *tied("llenergymeasure.orchestration.processes.importer", value, path)]
    patience = ExecutionConfig(timeout_s=LIMIT_S, stall_timeout_s=silence_s)
    watch = Watch(patience, SignsOfLife(), lambda: False)
    try:
        # What it prints it prints again where it is imported for good.
        code = run_to_end(command, stderr=subprocess.DEVNULL, env=safe_environment(), watch=watch)
    except ExperimentError:
        return (
            f"importing it does not end: its process gave no sign of life for {silence_s:g} s, or took longer than "
            f"{LIMIT_S:g} s, and was ended"
        )
    return None if code == CAME_THROUGH else f"importing it ends the process, which {ending(code)}"
