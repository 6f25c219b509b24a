"""Processes that torch's own launcher starts together."""

from collections.abc import Sequence

from llenergymeasure.domain.process import ProcessEnd


def run_together(command: Sequence[str], n_processes: int) -> list[ProcessEnd]:
    """Run Python with ``command`` in [n] processes of this machine to their end; those that failed.

    torchrun itself only prints how they ended.
    """
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    options = ["--standalone", "--local-addr", "127.0.0.1", "--max-restarts", "0"]
    try:
        run.main([*options, "--nproc-per-node", str(n_processes), *command])
    except ChildFailedError as error:
        return [
            ProcessEnd(process_index=rank, exit_code=failure.exitcode, time_s=failure.timestamp)
            for rank, failure in error.failures.items()
        ]
    return []
