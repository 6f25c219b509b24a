"""``llem config``."""

import json

import click

from llenergymeasure.cli import logs, render
from llenergymeasure.config.introspection import experiment_schema
from llenergymeasure.core.backends import engine_names
from llenergymeasure.core.energy_backends import SensorContext, probe_sources
from llenergymeasure.core.environment import collect_environment_snapshot
from llenergymeasure.core.gpu_info import visible_gpus
from llenergymeasure.orchestration.inspection import engine_status, model_status


@click.command("config")
@click.option("-v", "--verbose", is_flag=True, help="Also the versions of packages that change measurements.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of an experiment instead, for editors.")
def config_command(verbose: bool, schema: bool) -> int:
    """Show this machine's GPUs, engines, energy sensors and packaged models."""
    if schema:
        click.echo(json.dumps(experiment_schema(), indent=2))
        return 0
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
