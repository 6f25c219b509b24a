"""Sensors, and the choice among them; ``config.sensors`` finds them by name.

A new sensor of this package is one file here and one line there.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from llenergymeasure.config import sensors
from llenergymeasure.config.base import nearest
from llenergymeasure.core.energy_backends.base import NO_GPU_IN_USE, SensorBase, SensorContext, sees_gpus
from llenergymeasure.core.energy_backends.codecarbon import CodeCarbonBackend
from llenergymeasure.core.energy_backends.hwmon import HwmonBackend
from llenergymeasure.core.energy_backends.nvml import NVMLBackend
from llenergymeasure.core.energy_backends.rapl import RAPLBackend
from llenergymeasure.core.energy_backends.zeus import ZeusBackend
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.domain.metrics import EnergyMeasurement, EnergyScope
from llenergymeasure.exceptions import ConfigError, contained, in_one_line
from llenergymeasure.protocols import EnergyBackend

__all__ = [
    "CodeCarbonBackend",
    "EnergyMeasurement",
    "HwmonBackend",
    "NVMLBackend",
    "RAPLBackend",
    "SensorBase",
    "SensorContext",
    "SensorStatus",
    "ZeusBackend",
    "choose_sensor",
    "create_sensor",
    "first_that_senses",
    "make_sensor",
    "not_usable",
    "probe_sensors",
    "read_briefly",
    "select_energy_backend",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SensorStatus:
    """A sensor after it was tried: usable when ``problem`` is None. One that could not even be made is None.

    ``command`` is what to type against the problem, where one command is all of it. ``read_w`` is the mean power that
    it gave over a short window, in watts; None where nobody read it, or it gave none.
    """

    name: str
    sensor: SensorBase | None
    problem: str | None
    modelled: bool = False
    read_w: float | None = None
    command: str = ""

    @property
    def advice(self) -> str:
        """What can be done about the problem; empty where it says so itself, or nothing is known."""
        return "" if self.sensor is None or self.problem is None else _advice(self.sensor, self.problem)


def select_energy_backend(
    explicit: str | None, *, devices: Sequence[str] | None = None, device_index: int = 0
) -> EnergyBackend | None:
    """The sensor to measure with.

    Args:
        explicit: a sensor's name, ``"auto"`` for the best of this package that answers, or None for none.
        devices: UUIDs of the GPUs in use, empty for a CPU; default the GPU of ``device_index``.
        device_index: the driver's index of the GPU, used when ``devices`` is None.

    Returns:
        A sensor that has read a device; None when none is wanted, or ``"auto"`` finds none.

    Raises:
        ConfigError: the named sensor is unknown or not usable.
    """
    context = SensorContext(devices=None if devices is None else tuple(devices), device_index=device_index)
    return choose_sensor(explicit, context)[0]


def choose_sensor(wanted: str | None, context: SensorContext) -> tuple[SensorBase | None, str | None]:
    """The sensor to measure with, as ``select_energy_backend``; or None and why there is none.

    Raises:
        ConfigError: the named sensor is unknown or not usable.
    """
    if wanted is None:
        return None, "energy.backend is null: none was asked for"
    if wanted != sensors.AUTO:
        return create_sensor(wanted, context), None
    problems: list[str] = []
    for status in probe_sensors(context, sensors.own_names()):
        if status.problem is None:
            if context.devices and problems:
                _log.info("energy.backend auto takes %s (%s)", status.name, "; ".join(problems))
            return status.sensor, None
        problems.append(f"{status.name}: {status.problem}")
    return None, f"no sensor of energy answered ({', '.join(problems)})"


def create_sensor(name: str, context: SensorContext) -> SensorBase:
    """The sensor of this name.

    Raises:
        ConfigError: unknown or not usable here.
    """
    sensor = make_sensor(name, context)
    problem = _problem(sensor, context)
    if problem is not None:
        advice = _advice(sensor, problem)
        raise ConfigError(not_usable(name, f"{problem}{f'; {advice}' if advice else ''}"))
    return sensor


def not_usable(name: str, problem: str) -> str:
    """What to say of a sensor that is named and has a problem."""
    return f"energy backend {name!r} is not usable: {problem}"


def _advice(sensor: SensorBase, problem: str) -> str:
    try:
        with contained():
            remedy = str(sensor.remedy)
    except Exception:  # noqa: BLE001 - one that fails when it is asked has no advice
        return ""
    return "" if problem == NO_GPU_IN_USE or remedy in problem else remedy


def make_sensor(name: str, context: SensorContext) -> SensorBase:
    """The sensor of this name with the defaults for what it does not write, whether or not it is usable.

    Raises:
        ConfigError: there is none of this name, or none can be made.
    """
    found = sensors.find(name)
    if found is None:
        hint = nearest(name, [*sensors.names(), sensors.AUTO])
        raise ConfigError(f"energy.backend: no sensor is called {name!r}; {hint}")
    if found.problem is not None:
        raise ConfigError(not_usable(name, found.problem))
    make = getattr(found.sensor, "in_context", lambda _: found.sensor())
    try:
        with contained():
            sensor = with_defaults(make(context), SensorBase)
            calls_itself = sensor.name
    except Exception as error:  # another distribution's constructor raises what it will
        raise ConfigError(not_usable(name, f"{found.in_words} cannot be made: {in_one_line(error)}")) from error
    if calls_itself != name:
        raise ConfigError(
            not_usable(name, f"{found.in_words} calls itself {calls_itself!r}; both names must be the same")
        )
    return sensor


def probe_sensors(context: SensorContext, names: Sequence[str] | None = None) -> Iterator[SensorStatus]:
    """Try sensors one after another, best first; each is loaded and probed when it is asked for. Never raises.

    Args:
        context: what they are to watch.
        names: default all, those of other distributions last.
    """
    for name in sensors.names() if names is None else names:
        try:
            sensor = make_sensor(name, context)
        except ConfigError as error:
            problem = str(error).removeprefix(not_usable(name, ""))
            yield SensorStatus(name=name, sensor=None, problem=problem)
            continue
        said = _problem(sensor, context)
        # One that fails when it is asked is asked nothing more.
        modelled = said is None and sensor.modelled
        command = "" if said is None or name not in sensors.own_names() else sensor.command
        yield SensorStatus(name=name, sensor=sensor, problem=said, modelled=modelled, command=command)


def read_briefly(status: SensorStatus, seconds: float, sleep: Callable[[float], None] = time.sleep) -> SensorStatus:
    """The same with what the sensor gives over a window of so many seconds. Never raises."""
    sensor = status.sensor
    if sensor is None or status.problem is not None:
        return status
    try:
        with contained():
            window = sensor.start_tracking()
            sleep(seconds)
            found = sensor.stop_tracking(window)
            total_j, duration_s = found.total_j, found.duration_sec
    except Exception as error:  # noqa: BLE001 - whatever a sensor's library raises
        _log.debug("sensor %s gave nothing over %g s: %s", status.name, seconds, in_one_line(error))
        return status
    return status if total_j is None or duration_s <= 0 else replace(status, read_w=total_j / duration_s)


def first_that_senses(scope: EnergyScope, context: SensorContext) -> SensorBase | None:
    """The first sensor of this package that reads what ``scope`` says and answers; None where none does."""
    for name in sensors.own_names():
        sensor = make_sensor(name, context)
        if sensor.scope == scope and not sensor.modelled and sensor.is_available():
            return sensor
    return None


def _problem(sensor: SensorBase, context: SensorContext) -> str | None:
    try:
        with contained():
            if context.devices and not sees_gpus(sensor):
                return "the experiment runs on a GPU and this sensor sees only the CPU"
            problem = sensor.problem()
            # Asked for here, where it may raise.
            _ = sensor.modelled, sensor.remedy
            return problem if problem is None else str(problem).strip() or "it does not say why"
    except Exception as error:  # noqa: BLE001 - whatever a sensor's library raises, the others are still to be asked
        return f"it failed when it was asked: {in_one_line(error)}"
