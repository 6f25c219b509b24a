"""torchrun, told what to run: ``python -m llenergymeasure.orchestration.torchrun_agent FOLDER N``.

It starts N workers, ends all when one fails, and here leaves word of how each ended: torchrun itself only prints it.
"""

import contextlib
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from llenergymeasure._files import write_atomically
from llenergymeasure.orchestration.process_group import die_with_parent

ENDS_FILE = "ends.json"


class ProcessEnd(BaseModel):
    """How a process that failed ended: its exit code, minus the signal that killed it, and Unix time."""

    model_config = ConfigDict(frozen=True)

    process_index: int
    exit_code: int
    time_s: float


_ENDS = TypeAdapter(list[ProcessEnd])


def main(state_dir: Path, n_processes: int) -> int:
    """Run the workers to their end; the exit code of this process."""
    die_with_parent()
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", "--local-addr", "127.0.0.1", "--max-restarts", "0"]
    worker = ["-m", "llenergymeasure.orchestration.worker", str(state_dir)]
    try:
        run.main([*options, "--nproc-per-node", str(n_processes), *worker])
    except ChildFailedError as error:
        ends = [
            ProcessEnd(process_index=rank, exit_code=failure.exitcode, time_s=failure.timestamp)
            for rank, failure in error.failures.items()
        ]
        write_atomically(state_dir / ENDS_FILE, _ENDS.dump_json(ends).decode())
        return 1
    return 0


def read_ends(state_dir: Path) -> list[ProcessEnd]:
    """The processes that failed, the first to be seen first; none where nothing is known of them."""
    with contextlib.suppress(OSError, ValueError):  # ValidationError is a ValueError
        return sorted(_ENDS.validate_json((state_dir / ENDS_FILE).read_bytes()), key=lambda end: end.time_s)
    return []


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
