"""What this machine has to measure with: all are asked beside each other, and none is waited for long."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from llenergymeasure.config import sensors
from llenergymeasure.config.engines import registry
from llenergymeasure.core.background import in_a_thread, within
from llenergymeasure.core.energy_backends import SensorContext, SensorStatus, probe_sensors, read_briefly
from llenergymeasure.core.energy_backends.base import NO_GPU_IN_USE
from llenergymeasure.orchestration.asked_elsewhere import LINE_LIMIT_S, Looking
from llenergymeasure.orchestration.inspection import Availability, engine_status
from llenergymeasure.orchestration.processes.asking import Asking
from llenergymeasure.orchestration.processes.interpreters import has_its_own

# Whoever looks at the list waits so long for all of it; who wants more of it, for as long as a line may take.
USUAL_WAIT_S, LONG_WAIT_S = 20.0, LINE_LIMIT_S
# Sensors that see power every tenth of a second have some readings in it.
READ_S = 0.5
# Of whom nothing is known yet.
NO_ANSWER_YET = "no answer yet"

_Status = TypeVar("_Status", Availability, SensorStatus)


class Survey:
    """Asks all at once, each where it can do no harm; answers come in order.

    What is quick is asked here, when its turn comes. What takes a while, or is code of others, has a process of its
    own that begins now.

    Args:
        engines: names.
        sensor_names: names.
        visible: UUIDs of the GPUs that are to be seen.
        wait_s: seconds from now on after which ``NO_ANSWER_YET`` is a line's problem.
        silence_s: how long one may show no sign of life, where that is less.
    """

    def __init__(
        self,
        engines: Sequence[str],
        sensor_names: Sequence[str],
        visible: Sequence[str],
        *,
        wait_s: float = USUAL_WAIT_S,
        silence_s: float | None = None,
    ) -> None:
        self._wait_s, self._silence_s = wait_s, min(wait_s, silence_s or wait_s)
        self._end_s = time.monotonic() + wait_s
        self._visible, self._names = tuple(visible), (tuple(engines), tuple(sensor_names))
        devices = self._visible or None
        self._engines = {
            name: in_a_thread(partial(self._elsewhere, partial(Looking.engine, name=name, visible=self._visible)))
            for name in engines
            if name not in registry.own_names() or has_its_own(name)
        }
        self._sensors = {
            name: in_a_thread(
                partial(self._elsewhere, partial(Looking.sensor, name=name, devices=devices, read_s=READ_S, apart=True))
            )
            for name in sensor_names
            if _is_slow(name)
        }

    def engines(self) -> Iterator[Availability]:
        """Each engine, in the order of their names."""
        for name in self._names[0]:
            if name in self._engines:
                yield self._in_time(self._engines[name], Availability(name, self._not_yet))
            else:
                yield engine_status(name, self._visible)

    def sensors(self, *, use_gpus: bool = True) -> Iterator[SensorStatus]:
        """Each sensor, with what it was read to give.

        Args:
            use_gpus: false where no engine would use the GPUs that are seen, so that what reads them is of no use.
        """
        # The sensors of GPUs say themselves that there are none.
        context = SensorContext(devices=(self._visible or None) if use_gpus or not self._visible else ())
        for name in self._names[1]:
            if context.devices == () and name in self._sensors and _sees_gpus_only(name):
                yield SensorStatus(name=name, sensor=None, problem=NO_GPU_IN_USE)
            elif name in self._sensors:
                yield self._in_time(self._sensors[name], SensorStatus(name=name, sensor=None, problem=self._not_yet))
            else:
                yield from (read_briefly(status, READ_S) for status in probe_sensors(context, [name]))

    def _elsewhere(self, ask: Callable[[Looking], _Status]) -> _Status:
        with Asking(self._wait_s) as asking:
            return ask(Looking(asking, self._silence_s))

    def _in_time(self, future: "Future[_Status]", otherwise: _Status) -> _Status:
        try:
            return within(max(self._end_s - time.monotonic(), 0.0), future)
        except TimeoutError:
            return otherwise

    @property
    def _not_yet(self) -> str:
        return f"{NO_ANSWER_YET}, after {self._wait_s:g} s; llem config -v waits longer"


def _sees_gpus_only(name: str) -> bool:
    found = sensors.find(name)
    return name in sensors.own_names() and found is not None and getattr(found.sensor, "scope", None) == "gpu"


def _is_slow(name: str) -> bool:
    if name not in sensors.own_names():
        return True
    found = sensors.find(name)
    return bool(found is not None and found.sensor is not None and found.sensor.has_library)
