"""``llem attach``."""

from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli.arguments import UserPath
from llenergymeasure.cli.streams import show
from llenergymeasure.domain.in_figures import number
from llenergymeasure.exceptions import config_error
from llenergymeasure.results.attaching import attach_log


@click.command("attach")
@click.argument("result", type=UserPath())
@click.argument("log", type=UserPath())
@click.option("--offset-s", type=float, default=0.0, help="Seconds by which the meter's clock was ahead.")
@click.option("--time-zone", default="UTC", show_default=True, help="Zone of times that name none.")
def attach_command(result: Path, log: Path, offset_s: float, time_zone: str) -> int:
    """Join the log of a meter at the wall to a result, as a row beside its total.

    RESULT is the folder of a run, or its result.json, and is written anew. LOG is a CSV file whose first line names
    the columns time (Unix seconds or ISO 8601) and W, separated by commas, with four readings in the window or more.
    Nothing that was measured is changed.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise config_error(f"--time-zone: no zone is called {time_zone!r}; Europe/Berlin is one, and UTC") from None
    joined = attach_log(result, log, offset_s=offset_s, zone=zone)
    row, about = joined.energy_devices[-1], joined.attached_logs[-1]
    show(
        f"{number(row.energy_j)} J at the wall +-{number(row.uncertainty_j)} J (window), from {about.n_readings} "
        f"readings in {in_a_line(about.file)}; the total stays {number(joined.total_energy_j)} J"
    )
    return 0
