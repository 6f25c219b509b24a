"""The knobs of a session: set after the idle baseline and before the model is loaded, and read back twice.

The baseline is of the machine as it is found, so that experiments that differ in a knob have one and the same, and none
that is kept in a cache is of a limited card. All that comes with the model, from loading on, is of the card as set.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llenergymeasure.config.device import Knob
from llenergymeasure.core.gpu.base import GpuDeviceBase, GpuUnavailableError
from llenergymeasure.core.gpu.machine import whole_driver
from llenergymeasure.core.instruments import Instruments
from llenergymeasure.core.knobs.problems import knob_problems
from llenergymeasure.core.knobs.restoring import SAME_W
from llenergymeasure.core.knobs.turning import Turning
from llenergymeasure.core.peers import POLL_BESIDE_S
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import PreFlightError

# Clocks go in steps of about 1 %, and only those that a card has are asked for.
_SAME_CLOCK = 0.01


@dataclass
class KnobsSet:
    """The environment with the power limits in force, and what was read back of each knob, a list for each GPU."""

    environment: EnvironmentSnapshot
    wanted: Mapping[Knob, float] = field(default_factory=dict)
    devices: Sequence[GpuDeviceBase] = ()
    read: dict[tuple[str, Knob], list[float]] = field(default_factory=dict)

    def look(self) -> None:
        """Read every knob back."""
        for device in self.devices:
            for knob in self.wanted:
                found = _in_force(device, knob)
                self.read.setdefault((device.uuid, knob), []).extend([] if found is None else [found])

    def look_again(self) -> list[MeasurementWarning]:
        """Read every knob back once more, and say which were not as asked, by GPU.

        A limit has to be so each time. A clock may be lower while nothing is computed, so once is enough.
        """
        self.look()
        return [
            self._differs(device, knob, asked, self.read[device.uuid, knob])
            for device in self.devices
            for knob, asked in self.wanted.items()
            if not _is_as_asked(knob, asked, self.read[device.uuid, knob])
        ]

    def _differs(self, device: GpuDeviceBase, knob: Knob, asked: float, read: Sequence[float]) -> MeasurementWarning:
        told = "could not be read back" if not read else f"was read back as {', '.join(f'{value:g}' for value in read)}"
        return MeasurementWarning(
            "device_setting_differs",
            f"device.{knob}: {asked:g} was asked for, and it {told} on GPU {device.index}",
            "the figures are of what the card did; 'nvidia-smi -q -d POWER,CLOCK,PERFORMANCE' says what holds it back",
            device.uuid,
        )


@contextlib.contextmanager
def knobs_set(plan: ExperimentPlan, instruments: Instruments, environment: EnvironmentSnapshot) -> Iterator[KnobsSet]:
    """The GPUs of a plan as its configuration wants them, set back on every way out.

    Raises:
        PreFlightError: a knob cannot be set.
    """
    wanted = {} if plan.config.device is None else plan.config.device.wanted
    if not wanted:
        yield KnobsSet(environment)
        return
    problems = knob_problems(wanted, plan.devices, instruments.driver)
    if problems:
        raise PreFlightError("\n".join(problems))
    turning = Turning(wanted=wanted, experiment_id=plan.experiment_id)
    with contextlib.ExitStack() as stack:
        try:
            devices = stack.enter_context(whole_driver(instruments.driver).opened()).find(plan.devices, 0)
        except GpuUnavailableError as error:
            raise PreFlightError(f"device: {error}") from error
        for device in devices:
            stack.enter_context(turning.of(device))
        # Nobody loads a model while a card that several use is still being set.
        instruments.peers.wait("set", POLL_BESIDE_S)
        limits_w = {device.uuid: device.power_limit_w() for device in devices}
        gpus = tuple(
            replace(gpu, power_limit_w=limits_w[gpu.uuid]) if gpu.uuid in limits_w else gpu for gpu in environment.gpus
        )
        knobs = KnobsSet(replace(environment, gpus=gpus), wanted, devices)
        knobs.look()
        yield knobs


def _in_force(device: GpuDeviceBase, knob: Knob) -> float | None:
    """What counts of a knob: of a power limit what the card goes by, whoever set it."""
    in_force_w = device.power_limit_w() if knob == "power_limit_w" else None
    return device.knob_value(knob) if in_force_w is None else in_force_w


def _is_as_asked(knob: Knob, asked: float, read: Sequence[float]) -> bool:
    if knob == "power_limit_w":
        return bool(read) and all(abs(value - asked) <= SAME_W for value in read)
    return any(abs(value - asked) <= _SAME_CLOCK * asked for value in read)
