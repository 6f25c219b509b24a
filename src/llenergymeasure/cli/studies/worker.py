"""``llem worker``."""

from pathlib import Path
from typing import Any

import click

from llenergymeasure.cli import logs
from llenergymeasure.cli.arguments import TimeLimit, UserPath, WorkerCount
from llenergymeasure.cli.streams import progress, show, tell
from llenergymeasure.config.execution import checked_workers
from llenergymeasure.orchestration.cluster.drain import drained_by_signals
from llenergymeasure.orchestration.cluster.signs import LeavingSigns
from llenergymeasure.orchestration.cluster.time_left import RunTimes, TimeLeft
from llenergymeasure.orchestration.options import RunOptions
from llenergymeasure.orchestration.studies.execute import work_on
from llenergymeasure.orchestration.studies.slot_attempt import Work
from llenergymeasure.orchestration.studies.standing import standing_of_study
from llenergymeasure.results.study.directory import EVENTS_DIR, StudyDirectory

# EX_TEMPFAIL of sysexits.h: nothing is wrong, and somebody is to try again.
OUT_OF_TIME = 75


@click.command("worker")
@click.argument("directory", metavar="DIR", type=UserPath())
@click.option(
    "--workers",
    type=WorkerCount(),
    metavar="N|per_gpu",
    default="1",
    help="Start so many, each with a GPU of its own.  [default: 1, with all GPUs]",
)
@click.option(
    "--time-limit",
    type=TimeLimit(),
    metavar="TIME",
    help="Begin no run that cannot end within this time, such as 4h or 02:00:00; a number is minutes.",
)
@click.option("-q", "--quiet", is_flag=True, help="No status lines.")
@click.option("-v", "--verbose", is_flag=True, help="Log in detail.")
def worker_command(directory: Path, workers: Any, time_limit: float | None, quiet: bool, verbose: bool) -> int:
    """Help to run the study in DIR: take what no other worker has, until nothing is left.

    This is what llem run itself does with a study. Several may work on one folder, on this machine or on others that
    see it: each takes whole blocks, and what one that died has left is taken over. On a machine with several GPUs
    --workers per_gpu starts one for each. At SIGUSR1 or SIGUSR2 it ends the run that it is in and takes no more. Exit
    code 1 if a run failed, 75 if time was over and something is left.
    """
    level = logs.configure(quiet=quiet, verbose=verbose)
    with drained_by_signals() as drain, progress(quiet=quiet) as shown:
        times = RunTimes()
        if time_limit is not None:
            times = RunTimes.of(StudyDirectory(directory).plan(), directory / EVENTS_DIR)
        until = TimeLeft(times, time_limit, drain.asked_by)
        with LeavingSigns(directory.absolute(), shown) as signs:
            options = RunOptions(log_level=level, progress=signs, until=until)
            work = work_on(directory, options, checked_workers(workers))
    return _told(work, directory)


def _told(work: Work, directory: Path) -> int:
    """Say what was done; the exit code."""
    standing = standing_of_study(directory)
    show(
        f"{work.n_finished} finished and {work.n_failed} failed here; of all {standing.n_planned} runs "
        f"{standing.n_finished} have finished and {len(standing.failed)} failed"
    )
    for problem in [*work.problems, *([] if work.stopped is None else [f"stopped: {work.stopped}"])]:
        tell(f"llem: {problem}")
    if work.out_of_time and not work.problems:
        return OUT_OF_TIME
    return int(bool(standing.failed or work.problems or work.stopped))
