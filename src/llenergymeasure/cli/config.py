"""``llem config``."""

import click

from llenergymeasure.cli import logs, render
from llenergymeasure.core.backends import engine_names
from llenergymeasure.core.energy_backends import SensorContext, probe_sources
from llenergymeasure.core.environment import collect_environment_snapshot
from llenergymeasure.core.gpu_info import visible_gpus
from llenergymeasure.orchestration.inspection import engine_status, model_status


@click.command("config")
@click.option("-v", "--verbose", is_flag=True, help="Also the versions of packages that change measurements.")
def config_command(verbose: bool) -> int:
    """Show this machine's GPUs, engines, energy sensors and packaged models."""
    logs.configure(quiet=True, verbose=False)
    environment = collect_environment_snapshot()
    visible = visible_gpus()
    sources = list(probe_sources(SensorContext(devices=visible.uuids)))
    click.echo(
        render.machine(
            environment,
            visible=visible,
            engines=[engine_status(name) for name in engine_names()],
            sources=sources,
            models=model_status(),
            verbose=verbose,
        )
    )
    return 0
