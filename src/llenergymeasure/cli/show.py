"""``llem show``."""

from pathlib import Path

import click

from llenergymeasure.cli import render_result
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.results.persistence import load_result


@click.command("show")
@click.argument("result", type=UserPath())
def show_command(result: Path) -> int:
    """Print a result again as after its run.

    RESULT is the folder of a run, its result.json, or the folder of an experiment in a study, such as
    STUDY/runs/0005-HASH, of which the newest attempt counts. For a whole study see llem results.
    """
    found = load_result(result)
    show(render_result.experiment(found, found.folder))
    return 0
