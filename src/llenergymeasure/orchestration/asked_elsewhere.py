"""What engines are asked before a run, put to a process of its own as ``execution.launcher`` says."""

from collections.abc import Sequence
from typing import Any

from llenergymeasure.config import sensors
from llenergymeasure.config.engines import registry
from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.energy_backends import SensorContext, SensorStatus, probe_sensors, read_briefly
from llenergymeasure.core.settling import AskedHere, Settled, settled
from llenergymeasure.exceptions import BackendError, ForeignExitError, LLEMError, PreFlightError, first_line
from llenergymeasure.orchestration.inspection import Availability, engine_status
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.interpreters import has_its_own, interpreter_of

# Whoever looks at a list waits no longer for one line of it, in silence and in all.
_LINE_SILENCE_S, LINE_LIMIT_S = 60.0, 300.0


def settled_before_a_run(config: ExperimentConfig, asking: Asking) -> Settled:
    """As ``core.settling.settled``, and an engine that ends its process or does not answer is a ``BackendError``.

    What its libraries are imported for once serves all that is asked of ``asking``.
    """
    if config.is_settled or config.execution.launcher == "in_process":
        return settled(config)
    return settled(config, answers=_AskedElsewhere(asking, config.execution))


class _AskedElsewhere(AskedHere):
    """What engines answer in a process of their own."""

    def __init__(self, asking: Asking, execution: ExecutionConfig) -> None:
        super().__init__()
        self._asking, self._execution = asking, execution

    def installation_problem(self, name: str) -> str | None:
        """As of any; engines of this package only look at which packages there are."""
        if name in registry.own_names() and not has_its_own(name):
            return super().installation_problem(name)
        problem: str | None = self._asked(name, "installation_problem", name=name)
        return problem

    def native_precision(self, config: ExperimentConfig) -> str:
        """As of any."""
        said = config.model_dump_json(exclude_unset=True)
        return str(self._asked(config.backend, "native_precision", config=said))

    def _asked(self, engine: str, question: str, **about: Any) -> Any:
        try:
            return self._asking.ask(question, self._execution, by=interpreter_of(engine), **about)
        except ForeignExitError as error:
            raise BackendError(f"{registry.in_words(engine)} cannot be asked: {first_line(error)}") from error


class Looking:
    """Finds out what can be used; code of other distributions is asked in a process of its own.

    One that ends its process, or does not answer, cannot be used, and the others can.
    """

    def __init__(self, asking: Asking, stall_timeout_s: float | None = None) -> None:
        """``stall_timeout_s`` is how long is waited in silence, where that is less than a minute."""
        self._asking = asking
        silence_s = min(_LINE_SILENCE_S, stall_timeout_s or _LINE_SILENCE_S)
        self._execution = ExecutionConfig(stall_timeout_s=silence_s)

    def engine(self, name: str, visible: Sequence[str]) -> Availability:
        """As ``inspection.engine_status``."""
        if name in registry.own_names() and not has_its_own(name):
            return engine_status(name, visible)
        try:
            by = interpreter_of(name)
            found = self._asking.ask("engine", self._execution, by=by, name=name, visible=list(visible))
            problem, uses_gpus, proven, version = found
        except PreFlightError as error:
            return Availability(name, str(error))
        except (LLEMError, ForeignExitError) as error:
            return Availability(name, f"{registry.in_words(name)} cannot be asked: {first_line(error)}")
        return Availability(
            name, problem, uses_gpus, python=None if by.is_own else by.python, proven=proven, version=version
        )

    def sensor(
        self, name: str, devices: Sequence[str] | None, *, read_s: float = 0.0, apart: bool = False
    ) -> SensorStatus:
        """As ``core.energy_backends.probe_sensors``; what was asked elsewhere has the advice in its problem.

        Args:
            name: of the sensor.
            devices: UUIDs of the GPUs in use; None where that was not said.
            read_s: seconds of a window over which it is read, too; 0 for none.
            apart: also one of this package is asked elsewhere, for its library takes a while.
        """
        if name in sensors.own_names() and not apart:
            context = SensorContext(devices=None if devices is None else tuple(devices))
            status = next(iter(probe_sensors(context, [name])))
            return read_briefly(status, read_s) if read_s else status
        given = None if devices is None else list(devices)
        try:
            found = self._asking.ask("sensor", self._execution, name=name, devices=given, read_s=read_s)
            problem, modelled, advice, read_w, command = found
        except (LLEMError, ForeignExitError) as error:
            return SensorStatus(name=name, sensor=None, problem=f"it cannot be asked: {first_line(error)}")
        # What this package's own say of a problem is complete.
        advice = "" if name in sensors.own_names() else advice
        problem = "; ".join(filter(None, [problem, advice])) or None
        return SensorStatus(name=name, sensor=None, problem=problem, modelled=modelled, read_w=read_w, command=command)
