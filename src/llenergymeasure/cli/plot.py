"""``llem plot``."""

from pathlib import Path

import click

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.report import check_target, tell_skipped
from llenergymeasure.cli.streams import show
from llenergymeasure.results.reading import Skipped
from llenergymeasure.results.report.figure import Look, draw, form_of
from llenergymeasure.results.report.points import points_within


@click.command("plot")
@click.argument("paths", nargs=-1, required=True, type=UserPath(), metavar="DIR...")
@click.option("--x", "x", required=True, metavar="NAME", help="Column or setting of numbers, from left to right.")
@click.option("--y", "y", required=True, metavar="NAME", help="Column or setting of numbers, from bottom to top.")
@click.option("--by", "by", metavar="NAME", help="Column or setting by which points are series of their own.")
@click.option("--runs", "each_run", is_flag=True, help="A point for each run, and not for each configuration.")
@click.option("--log-x", is_flag=True, help="Logarithmic axis from left to right.")
@click.option("--log-y", is_flag=True, help="Logarithmic axis from bottom to top.")
@click.option("--line", is_flag=True, help="Join the points of a series, from left to right.")
@click.option("-o", "--output", required=True, type=UserPath(), help="The file to write: .pdf, .svg or .png.")
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
def plot_command(
    paths: tuple[Path, ...], x: str, y: str, by: str | None, each_run: bool, output: Path, **options: bool
) -> int:  # fmt: skip
    """Draw two columns of the table of results against each other, for a paper.

    DIR and the names of columns are as for llem results. A point is a configuration: the geometric mean of its runs,
    with its 95 % interval from three runs on. Where a column has no mean, and with --runs, a point is a run; its energy
    has the interval that the measurement leaves open. Joules that are not citable or modelled are drawn hollow, and the
    figure says so. The same results give the same file. Takes pip install 'llenergymeasure[plot]'.
    """
    form_of(output)
    check_target(output, force=options.pop("force"))
    skipped: list[Skipped] = []
    points = points_within(paths, (x, y, by), skipped.append, each_run=each_run)
    draw(points, output, Look(**options))
    tell_skipped(skipped)
    show(in_a_line(f"figure: {output}: {points.told}"))
    return int(any(each.damaged for each in skipped))
