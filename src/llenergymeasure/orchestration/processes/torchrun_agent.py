"""What starts the processes of one experiment: ``llenergymeasure.orchestration.processes.torchrun_agent FOLDER N``.

The engine starts N workers, and all end when one fails; here is left word of how each that failed ended.
"""

import contextlib
import sys
from pathlib import Path

from pydantic import TypeAdapter

from llenergymeasure._files import write_atomically
from llenergymeasure._lifeline import tied
from llenergymeasure.core.backends import get_backend
from llenergymeasure.domain.process import ProcessEnd
from llenergymeasure.orchestration.processes.handover import received_plan

ENDS_FILE = "ends.json"
# Files of whatever starts the workers, such as torchrun.
STARTING_DIR = "starting"
_ENDS = TypeAdapter(list[ProcessEnd])


def main(state_dir: Path, n_processes: int) -> int:
    """Run the workers to their end; the exit code of this process."""
    engine = get_backend(received_plan(state_dir).config.backend)
    worker = tied("llenergymeasure.orchestration.processes.worker", str(state_dir))
    ends = engine.start_processes(worker, n_processes, state_dir / STARTING_DIR)
    if ends:
        write_atomically(state_dir / ENDS_FILE, _ENDS.dump_json(list(ends)).decode())
    return 1 if ends else 0


def read_ends(state_dir: Path) -> list[ProcessEnd]:
    """The processes that failed, the first to be seen first; none where nothing is known of them."""
    with contextlib.suppress(OSError, ValueError):  # ValidationError is a ValueError
        return sorted(_ENDS.validate_json((state_dir / ENDS_FILE).read_bytes()), key=lambda end: end.time_s)
    return []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
