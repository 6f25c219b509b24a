"""``llem config``."""

import json

import click

from llenergymeasure.cli import DEFAULT_OUTPUT, logs, render
from llenergymeasure.cli.streams import show
from llenergymeasure.config.engines import registry
from llenergymeasure.config.introspection import experiment_schema
from llenergymeasure.config.loader import effective_defaults
from llenergymeasure.config.reading.sources import user_file_path
from llenergymeasure.config.sensors import names as sensor_names
from llenergymeasure.config.sensors import taken_names
from llenergymeasure.core.backends import engine_names
from llenergymeasure.core.environment import collect_environment_snapshot
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.orchestration.asked_elsewhere import LINE_LIMIT_S, Looking
from llenergymeasure.orchestration.inspection import library_loggers, model_status
from llenergymeasure.orchestration.processes.asking import Asking


@click.command("config")
@click.option(
    "-v", "--verbose", is_flag=True, help="Also versions of packages, and every default with where it comes from."
)
@click.option("--schema", is_flag=True, help="Print the JSON schema of an experiment instead, for editors.")
def config_command(verbose: bool, schema: bool) -> int:
    """Show this machine's GPUs, engines, energy sensors, packaged models and the user's defaults."""
    if schema:
        show(json.dumps(experiment_schema(engine_names(), sensor_names()), indent=2))
        return 0
    logs.configure(quiet=True, verbose=False)
    # First, because a wrong default would be wrong in every run.
    defaults = list(effective_defaults({"output_dir": str(DEFAULT_OUTPUT)}))
    environment = collect_environment_snapshot()
    visible = visible_gpus()
    # Those of other distributions are in processes of their own.
    logs.quiet_libraries(library_loggers(registry.own_names()))
    with Asking(LINE_LIMIT_S) as asking:
        looking = Looking(asking, next(each.value for each in defaults if each.name == "execution.stall_timeout_s"))
        engines = [looking.engine(name, visible.uuids) for name in engine_names()]
        devices: tuple[str, ...] | None = visible.uuids
        if not visible.uuids:
            devices = None  # the sensors of GPUs say so themselves
        elif not any(engine.uses_gpus for engine in engines):
            devices = ()  # every engine runs on the CPU, and the GPUs' sensors are of no use
        sensors = [looking.sensor(name, devices) for name in sensor_names()]
    show(
        render.machine(
            environment,
            visible=visible,
            engines=engines,
            sensors=sensors,
            models=model_status(),
            verbose=verbose,
        )
    )
    for line in render.taken_names("engine", registry.taken_names()) + render.taken_names("energy", taken_names()):
        show(line)
    show(render.user_file(user_file_path()))
    if verbose:
        show(render.defaults(defaults))
    return 0
