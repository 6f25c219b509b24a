"""``llem cancel``."""

import shlex
from pathlib import Path

import click

from llenergymeasure.cli import logs
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show, tell
from llenergymeasure.orchestration.cluster.cancelling import cancel_study


@click.command("cancel")
@click.argument("directory", metavar="DIR", type=UserPath())
def cancel_command(directory: Path) -> int:
    """End the jobs of the study in DIR; what has finished stays, and what was running is given back.

    Exit code 1 if a job has not ended after two minutes.
    """
    logs.configure(quiet=False, verbose=False)
    found = cancel_study(directory)
    standing = found.standing
    lines = [f"ended: {each.in_words}" for each in found.ended]
    if not found.ended and not found.left:
        lines.append("no job of it runs or waits")
    lines.append(f"{standing.n_finished} of {standing.n_planned} runs have finished and are kept in {directory}")
    if standing.state != "finished":
        lines.append(f"go on with: llem submit --resume {shlex.quote(str(directory))}")
    show("\n".join(lines))
    for each in found.left:
        tell(f"llem: not ended yet: {each.in_words}")
    return int(bool(found.left))
