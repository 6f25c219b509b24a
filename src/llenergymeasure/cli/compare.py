"""``llem compare``."""

from pathlib import Path

import click

from llenergymeasure.cli import render
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.results.differences import differing_settings
from llenergymeasure.results.outputs import compare_runs
from llenergymeasure.results.persistence import load_result


@click.command("compare")
@click.argument("first", type=UserPath())
@click.argument("second", type=UserPath())
def compare_command(first: Path, second: Path) -> int:
    """Show whether two runs of the same prompts said the same, token by token, and what they differ in.

    FIRST and SECOND are results: the folder of a run, its result.json, or the folder of an experiment in a study, such
    as STUDY/runs/0005-HASH, of which the newest attempt counts.
    """
    found, settings = compare_runs(first, second), differing_settings(first, second)
    show(render.comparison(found, settings, (load_result(first).validity, load_result(second).validity)))
    return 0
