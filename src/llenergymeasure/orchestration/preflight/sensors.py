"""The sensors that experiments would be measured with."""

from typing import Self

from llenergymeasure.config import sensors
from llenergymeasure.config.execution import ExecutionConfig
from llenergymeasure.config.sensors import AUTO
from llenergymeasure.core.energy_backends import SensorContext, choose_sensor, not_usable
from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.orchestration.asked_elsewhere import LINE_LIMIT_S, Looking
from llenergymeasure.orchestration.preflight.examined import ChosenSensor
from llenergymeasure.orchestration.processes.asking import Asking


class Sensors:
    """The sensors of this machine, each asked once for the same GPUs; what others bring in a process of its own.

    A context manager: that process is ended with it.
    """

    def __init__(self, visible: VisibleGpus) -> None:
        self._visible = visible
        self._asked: dict[tuple[str, tuple[str, ...]], ChosenSensor] = {}
        # Nothing is started before it is asked, and none of an engine's libraries is in there.
        self._asking = Asking(LINE_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._asking.close()

    def ask(self, name: str, devices: tuple[str, ...], execution: ExecutionConfig) -> ChosenSensor:
        """The sensor that an experiment would be measured with; ``execution`` is the same for all experiments."""
        if (name, devices) not in self._asked:
            self._asked[name, devices] = self._chosen(name, devices, execution)
        return self._asked[name, devices]

    def _chosen(self, name: str, devices: tuple[str, ...], execution: ExecutionConfig) -> ChosenSensor:
        if self._visible.problem is not None:
            return ChosenSensor(lacking=self._visible.problem)
        if name not in (AUTO, *sensors.own_names()) and execution.launcher != "in_process":
            found = Looking(self._asking, execution.stall_timeout_s).sensor(name, devices)
            if found.problem is not None:
                return ChosenSensor(config_error=not_usable(name, found.problem))
            return ChosenSensor(name=name, modelled=found.modelled)
        try:
            sensor, reason = choose_sensor(name, SensorContext(devices=devices))
        except ConfigError as error:
            return ChosenSensor(config_error=str(error))
        if sensor is None:
            return ChosenSensor(lacking=reason or "")
        return ChosenSensor(name=sensor.name, modelled=bool(sensor.modelled))
