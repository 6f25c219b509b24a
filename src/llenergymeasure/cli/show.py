"""``llem show``."""

from pathlib import Path
from typing import Any

import click

from llenergymeasure.cli import render_result
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.publishing.footprint import beneath, footprint_on_request, requested_terms
from llenergymeasure.cli.streams import show
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.persistence import load_result
from llenergymeasure.results.sharing.opening import bundle_in, is_archive


@click.command("show")
@click.argument("result", type=UserPath())
@footprint_on_request
def show_command(result: Path, **options: Any) -> int:
    """Print a result again as after its run.

    RESULT is the folder of a run, its result.json, or the folder of an experiment in a study, such as
    STUDY/runs/0005-HASH, of which the newest attempt counts, or the archive of one. For a whole study see llem results.
    """
    terms = requested_terms(options)
    if not is_archive(result):
        found = load_result(result)
        show(render_result.experiment(found, found.folder) + beneath([found], terms))
        return 0
    with bundle_in(result) as bundle:
        if bundle.is_study:
            raise config_error(f"archive {result}: this is of a whole study; see llem results {result}")
        (found,) = bundle.results()
    show(render_result.experiment(found, result) + beneath([found], terms))
    return 0
