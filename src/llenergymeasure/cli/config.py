"""``llem config``."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import click

from llenergymeasure.cli import DEFAULT_OUTPUT, logs, render_machine
from llenergymeasure.cli.errors import describe
from llenergymeasure.cli.streams import show
from llenergymeasure.config.engines import registry
from llenergymeasure.config.introspection import experiment_schema
from llenergymeasure.config.loader import FieldOrigin, effective_defaults
from llenergymeasure.config.reading.sources import user_file_path
from llenergymeasure.config.sensors import names as sensor_names
from llenergymeasure.config.sensors import taken_names
from llenergymeasure.core.backends import engine_names
from llenergymeasure.core.energy_backends import SensorStatus
from llenergymeasure.core.environment import collect_environment_snapshot, native_formats
from llenergymeasure.core.gpu.machine import visible_gpus
from llenergymeasure.core.machine_load import cpu_times, foreign_cpu_pct
from llenergymeasure.orchestration.advice import Advice, advice
from llenergymeasure.orchestration.inspection import Availability, library_loggers, model_status
from llenergymeasure.orchestration.survey import LONG_WAIT_S, READ_S, USUAL_WAIT_S, Survey

_Found = TypeVar("_Found", Availability, SensorStatus)


@click.command("config")
@click.option(
    "-v",
    "--verbose",
    is_flag=True,
    help="Also versions of packages, and every default with where it comes from; waits longer for what is slow.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@click.option("--schema", is_flag=True, help="Print the JSON schema of an experiment instead, for editors.")
def config_command(verbose: bool, as_json: bool, schema: bool) -> int:
    """Show this machine's GPUs, engines, energy sensors, packaged models, and what would make its numbers citable.

    This is what a report of a problem needs first. Sensors are read for half a second. What does not answer in time, or
    fails, is a line that says so.
    """
    if schema:
        show(json.dumps(experiment_schema(engine_names(), sensor_names()), indent=2), is_json=True)
        return 0
    logs.configure(quiet=True, verbose=False)
    machine = _Machine(wait_s=LONG_WAIT_S if verbose else USUAL_WAIT_S)
    if as_json:
        show(json.dumps(machine.as_written(), indent=2, default=str), is_json=True)
        return 0
    for line in machine.lines(verbose=verbose):
        show(line)
    return 0


@dataclass(frozen=True)
class _Defaults:
    """The defaults in effect here, or in words why they cannot be had."""

    origins: tuple[FieldOrigin, ...] = ()
    problem: str | None = None

    @classmethod
    def here(cls) -> "_Defaults":
        """Those of the user's file, variables and this package."""
        try:
            return cls(tuple(effective_defaults({"output_dir": str(DEFAULT_OUTPUT)})))
        except Exception as error:  # noqa: BLE001 - what is wrong with them is a line like others
            return cls(problem=describe(error)[0])

    def of(self, name: str) -> Any:
        """The value of a field; None where they cannot be had."""
        return next((each.value for each in self.origins if each.name == name), None)


class _Machine:
    """What is found out, each thing when it is asked for."""

    def __init__(self, wait_s: float) -> None:
        self._before = cpu_times([os.getpid()])
        self.environment, self.visible = collect_environment_snapshot(with_cuda=False), visible_gpus()
        self._wait_s = wait_s
        self._engines: list[Availability] = []
        self._sensors: list[SensorStatus] = []

    def lines(self, *, verbose: bool) -> Iterator[str]:
        """All of it for people, what is known at once first."""
        yield from render_machine.machine(self.environment, native_formats(), self.visible, user_file_path())
        defaults = _Defaults.here()
        if defaults.problem is not None:
            yield from (render_machine.wrong_defaults(line) for line in defaults.problem.split("\n"))
        survey = self._survey(defaults)
        yield from map(render_machine.engine, _kept(survey.engines(), self._engines))
        yield from render_machine.taken_names("engine", registry.taken_names())
        found = survey.sensors(use_gpus=self._use_gpus())
        yield from (render_machine.sensor(each, READ_S) for each in _kept(found, self._sensors))
        yield from render_machine.taken_names("energy", taken_names())
        yield render_machine.chosen(self._sensors)
        models = model_status()
        yield from map(render_machine.model, models)
        yield from render_machine.advised(self._advice(models))
        if verbose:
            yield from render_machine.packages(self.environment)
            if defaults.problem is None:
                yield render_machine.defaults(defaults.origins)

    def as_written(self) -> dict[str, Any]:
        """All of it for programs."""
        defaults = _Defaults.here()
        survey = self._survey(defaults)
        self._engines = list(survey.engines())
        self._sensors, models = list(survey.sensors(use_gpus=self._use_gpus())), model_status()
        native, environment = native_formats(), asdict(self.environment)
        return {
            "environment": {**environment, "native_formats": None if native is None else sorted(native)},
            "visible_gpus": list(self.visible.uuids),
            "visible_gpus_problem": self.visible.problem,
            "engines": [asdict(each) for each in self._engines],
            "sensors": [
                {"name": each.name, "problem": each.problem, "modelled": each.modelled, "read_w": each.read_w,
                 "read_s": READ_S, "advice": each.advice, "command": each.command}
                for each in self._sensors
            ],
            "packaged_models": [{"name": each.name, "problem": each.problem} for each in models],
            "user_file": {"path": str(user_file_path()), "exists": user_file_path().exists()},
            "defaults": [asdict(each) for each in defaults.origins],
            "defaults_problem": defaults.problem,
            "advice": [asdict(each) for each in self._advice(models)],
        }  # fmt: skip

    def _survey(self, defaults: _Defaults) -> Survey:
        # Those of other distributions are in processes of their own.
        logs.quiet_libraries(library_loggers(registry.own_names()))
        return Survey(
            engine_names(),
            sensor_names(),
            self.visible.uuids,
            wait_s=self._wait_s,
            silence_s=defaults.of("execution.stall_timeout_s"),
        )

    def _use_gpus(self) -> bool:
        """Whether any engine would use the GPUs that are seen."""
        return any(engine.uses_gpus for engine in self._engines)

    def _advice(self, models: Sequence[Availability]) -> list[Advice]:
        foreign_pct = foreign_cpu_pct(self._before, cpu_times([os.getpid()]))
        seen = [gpu for gpu in self.environment.gpus if gpu.uuid in self.visible.uuids]
        return advice(seen, self._engines, self._sensors, models, foreign_pct)


def _kept(found: Iterator[_Found], into: list[_Found]) -> Iterator[_Found]:
    """Each as it comes, kept for later."""
    for each in found:
        into.append(each)
        yield each
