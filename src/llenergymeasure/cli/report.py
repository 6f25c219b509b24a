"""``llem report``."""

from pathlib import Path

import click

from llenergymeasure._files import write_atomically
from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show, tell
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.reading import Skipped
from llenergymeasure.results.report.data import report_data
from llenergymeasure.results.report.page import page_of, plotly_program


@click.command("report")
@click.argument("paths", nargs=-1, required=True, type=UserPath(), metavar="DIR...")
@click.option("-o", "--output", type=UserPath(), default="report.html", show_default=True, help="The page to write.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def report_command(paths: tuple[Path, ...], output: Path, force: bool) -> int:
    """Write a page that shows results: how far to trust them, the table, plots, runs over time, comparisons.

    DIR is as for llem results. The folder of a study, or its archive, is shown as it was planned; anything else by
    configuration. The page is one file that needs no network, and opens in any browser of the last years. The same
    results give the same page, to the byte.

    What cannot be used is listed on stderr with its reason. Exit code 1 where that is a result that is damaged. Takes
    pip install 'llenergymeasure[report]'.
    """
    check_target(output, force=force)
    plotly = plotly_program()
    skipped: list[Skipped] = []
    data = report_data(paths, skipped.append)
    write_atomically(output, page_of(data, plotly))
    tell_skipped(skipped)
    show(in_a_line(f"report: {output}"))
    return int(any(each.damaged for each in skipped))


def check_target(output: Path, *, force: bool) -> None:
    """Refuse a file that cannot be written or is there, before anything is read.

    Raises:
        ConfigError: it is a folder, is in none, or is there and ``force`` is not given.
    """
    problem = None
    if output.is_dir():
        problem = "this is a folder; name a file in it"
    elif output.exists() and not force:
        problem = "this exists and is not overwritten; name another file, or give --force"
    elif not output.parent.is_dir():
        problem = f"there is no folder {output.parent}"
    if problem is not None:
        raise config_error(f"--output {output}: {problem}")


def tell_skipped(skipped: list[Skipped]) -> None:
    """What was passed over, a line for each, once."""
    for line in dict.fromkeys(map(str, skipped)):
        tell(f"llem: passed over: {line}")
