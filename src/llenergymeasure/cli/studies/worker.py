"""``llem worker``."""

from pathlib import Path
from typing import Any

import click

from llenergymeasure.cli import logs
from llenergymeasure.cli.arguments import UserPath, WorkerCount
from llenergymeasure.cli.streams import progress, show, tell
from llenergymeasure.config.execution import checked_workers
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.studies.execute import work_on
from llenergymeasure.orchestration.studies.standing import standing_of_study


@click.command("worker")
@click.argument("directory", metavar="DIR", type=UserPath())
@click.option(
    "--workers",
    type=WorkerCount(),
    metavar="N|per_gpu",
    default="1",
    help="Start so many, each with a GPU of its own.  [default: 1, with all GPUs]",
)
@click.option("-q", "--quiet", is_flag=True, help="No status lines.")
@click.option("-v", "--verbose", is_flag=True, help="Log in detail.")
def worker_command(directory: Path, workers: Any, quiet: bool, verbose: bool) -> int:
    """Help to run the study in DIR: take what no other worker has, until nothing is left.

    This is what llem run itself does with a study. Several may work on one folder, on this machine or on others that
    see it: each takes whole blocks, and what one that died has left is taken over. On a machine with several GPUs
    --workers per_gpu starts one for each. Exit code 1 if a run failed.
    """
    level = logs.configure(quiet=quiet, verbose=verbose)
    with progress(quiet=quiet) as shown:
        work = work_on(directory, RunOptions(log_level=level, progress=shown), checked_workers(workers))
    standing = standing_of_study(directory)
    show(
        f"{work.n_finished} finished and {work.n_failed} failed here; of all {standing.n_planned} runs "
        f"{standing.n_finished} have finished and {len(standing.failed)} failed"
    )
    for problem in [*work.problems, *([] if work.stopped is None else [f"stopped: {work.stopped}"])]:
        tell(f"llem: {problem}")
    return int(bool(standing.failed or work.problems or work.stopped))
