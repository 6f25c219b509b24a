"""``llem calibrate``."""

import click

from llenergymeasure._telling import in_a_line
from llenergymeasure.cli import logs, render_calibration
from llenergymeasure.cli.streams import show, tell
from llenergymeasure.config.loader import effective_defaults
from llenergymeasure.core.calibration.procedure import SECONDS
from llenergymeasure.orchestration.calibrating import calibrate


@click.command("calibrate")
@click.option(
    "--gpu", "gpus", multiple=True, help="A GPU by its UUID, or its driver's index; several allowed. Default all."
)
@click.option("--engine", help="The engine whose load is used. Default the first that is installed and has one.")
@click.option("--seconds", type=float, default=SECONDS, show_default=True, help="How long the load is switched.")
def calibrate_command(gpus: tuple[str, ...], engine: str | None, seconds: float) -> int:
    """Find out what the sensors of this machine's GPUs see, and keep it for the runs to come.

    A load is switched on and off for half a minute on each GPU, and what the card says meanwhile shows how often its
    readings are new, what stretch of time each of them is the mean of, and what its energy counter adds up. It is kept
    for this card and this driver in the user's cache, and results that used it say so. Nothing else may run on the GPU;
    a run of llem that measures it is waited for (execution.wait_for_devices_s).
    """
    logs.configure(quiet=False, verbose=False)
    defaults = {each.name: each.value for each in effective_defaults({})}
    stall_timeout_s, wait_for_devices_s = (
        defaults[f"execution.{name}"] for name in ("stall_timeout_s", "wait_for_devices_s")
    )
    code = 0
    for found in calibrate(gpus, engine, seconds, stall_timeout_s, wait_for_devices_s):
        show(render_calibration.calibration(found.calibration))
        if found.path is None:
            tell(in_a_line(f"llem: this calibration could not be kept: {found.problem}"))
            code = 1
        else:
            show(in_a_line(f"kept in {found.path}"))
    return code
