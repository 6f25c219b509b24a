"""``llem verify``."""

from pathlib import Path

import click

from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.sharing.opening import as_folder
from llenergymeasure.results.verification.verify import in_lines, reports_of


@click.command("verify")
@click.argument("directories", metavar="DIR...", nargs=-1, required=True, type=UserPath())
def verify_command(directories: tuple[Path, ...]) -> int:
    """Work results out again from their files alone, and say what differs.

    Checks the sums in DONE, then derives energy and its bounds from the readings in trace.parquet, tokens, latencies
    and percentiles from requests.parquet and outputs.parquet, and all that follows, by code that the measurement does
    not use; no flag in the files is trusted. DIR is the folder of a result, or one with results below it, such as a
    study, or the archive of either. What cannot be derived is said with the reason. Exit code 1 if anything differs, is
    damaged, or cannot be looked into.
    """
    for directory in directories:
        if not directory.exists():
            raise config_error(f"verify {directory}: there is no such folder or archive")
    agree = True
    for directory in directories:
        with as_folder(directory) as place:
            for report in reports_of(place):
                agree = agree and report.agrees
                # What lies in an archive is called as if that were a folder.
                report.folder = directory / report.folder.relative_to(place) if place != directory else report.folder
                show("\n".join(in_lines(report)))
    return 0 if agree else 1
