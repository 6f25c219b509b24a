"""What every GPU driver and its GPUs have without writing it: None for whatever they cannot tell."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from llenergymeasure.config.device import Knob
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.core.gpu.power_sensor import AVERAGED_S, PowerSensor
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import EnergyScope
from llenergymeasure.protocols import GpuDevice


class GpuUnavailableError(Exception):
    """No driver, no library, or a device that does not answer; the message says which."""


class KnobRefusedError(Exception):
    """A knob could not be turned; the message says why. ``is_forbidden`` says that only this user may not."""

    def __init__(self, message: str, *, is_forbidden: bool = False) -> None:
        super().__init__(message)
        self.is_forbidden = is_forbidden


@dataclass(frozen=True)
class KnobRange:
    """What a knob can be set to: any value from ``low`` to ``high``, or only ``steps`` where there are any."""

    low: float
    high: float
    steps: tuple[float, ...] = ()


class GpuDeviceBase:
    """A ``GpuDevice`` whose ``uuid`` and ``index`` are still to be given; every reading is None where there is none.

    ``scope`` is what power covers, and the counter unless ``counter_covers`` says otherwise. ``power_field``,
    ``average_power_field`` and ``counter_field`` name what is read. ``power_lag_s`` is how old a reading of power may
    be, and by default as old as the slowest known; ``power_averaged_s`` over how long it is known to be a mean, where
    that is longer than the sensor's own.
    """

    uuid: str
    index: int
    scope: EnergyScope = "gpu"
    power_field: str = "power"
    average_power_field: str = "average power"
    counter_field: str = "energy counter"
    power_lag_s: float = AVERAGED_S
    power_averaged_s: float | None = None

    def name(self) -> str:
        """Product name."""
        return "unknown GPU"

    def power_w(self) -> float | None:
        """Power in watts, as new as the device has it."""
        return None

    def average_power_w(self) -> float | None:
        """Power in watts that the device itself has averaged over a longer time."""
        return None

    def average_power_sensor(self) -> PowerSensor | None:
        """What stands behind that average; None where it is not known."""
        return None

    def powers_w(self) -> tuple[float | None, float | None]:
        """Both powers in watts, as close to each other in time as the driver allows."""
        return self.power_w(), self.average_power_w()

    def power_sensor(self) -> PowerSensor | None:
        """What the sensor behind power looks at; None where that is not known."""
        return None

    def energy_counter_j(self) -> float | None:
        """A counter of energy in joules, since whenever."""
        return None

    def counter_covers(self) -> EnergyScope:
        """What that counter covers; one that covers something else than power is not used."""
        return self.scope

    def power_limit_w(self) -> float | None:
        """Power limit in force, in watts."""
        return None

    def default_power_limit_w(self) -> float | None:
        """Power limit in watts that the card has without anybody's setting."""
        return None

    def temperature_c(self) -> float | None:
        """Temperature of the die in degrees Celsius."""
        return None

    def memory_mb(self) -> tuple[float | None, float | None]:
        """Used and total memory in MB (10^6 bytes)."""
        return None, None

    def utilisation_pct(self) -> float | None:
        """Percent of the last moments in which the device worked."""
        return None

    def throttle_reasons(self) -> int | None:
        """Bit mask of reasons for reduced clocks, the bits as in ``domain.telemetry``."""
        return None

    def running_pids(self) -> Sequence[int] | None:
        """Processes that hold the device; None where that is not told."""
        return None

    def knob_range(self, knob: Knob) -> KnobRange | None:  # noqa: ARG002 - a default
        """What a knob can be set to; None where the card or its driver has no such knob."""
        return None

    def knob_value(self, knob: Knob) -> float | None:  # noqa: ARG002 - a default
        """The limit in watts that somebody has set, or the MHz at which a clock runs now."""
        return None

    def turn(self, knob: Knob, value: float | None) -> None:  # noqa: ARG002 - a default
        """Set a limit, or lock a clock; None gives a clock free.

        Raises:
            KnobRefusedError: it cannot be done.
        """
        raise KnobRefusedError("this driver has no such knob")

    def knob_command(self, knob: Knob, value: float | None) -> str | None:  # noqa: ARG002 - a default
        """A command line by which somebody who may does the same; None where there is none."""
        return None

    def describe(self) -> GpuInfo:
        """The device as it is now."""
        used_mb, total_mb = self.memory_mb()
        pids = self.running_pids()
        return GpuInfo(
            index=self.index,
            uuid=self.uuid,
            name=self.name(),
            memory_total_mb=total_mb,
            memory_used_mb=used_mb,
            power_limit_w=self.power_limit_w(),
            power_limit_default_w=self.default_power_limit_w(),
            running_pids=None if pids is None else tuple(pids),
        )


@dataclass(frozen=True)
class VisibleGpus:
    """The GPUs that this process may use, in the order in which it counts them, or why that is not known."""

    gpus: tuple[GpuInfo, ...] = ()
    problem: str | None = None

    @property
    def uuids(self) -> tuple[str, ...]:
        """UUIDs in that order."""
        return tuple(gpu.uuid for gpu in self.gpus)


class GpuDriverBase:
    """A ``GpuDriver`` whose ``devices`` are still to be written. ``name`` stands beside its joules."""

    name: str

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """Keep the driver at hand inside the body; devices are used in there alone. May be opened again in it.

        Raises:
            GpuUnavailableError: it does not answer.
        """
        yield self

    def devices(self) -> Sequence[GpuDevice]:
        """All GPUs that answer, in the driver's order."""
        raise NotImplementedError(f"{type(self).__name__} has no devices()")

    def find(self, uuids: Sequence[str] | None, index: int) -> list[GpuDeviceBase]:
        """The GPUs of these UUIDs, or the one of this index when none are given.

        Raises:
            GpuUnavailableError: one of them does not answer.
        """
        found = [with_defaults(device, GpuDeviceBase) for device in self.devices()]
        if uuids is None:
            of_index = [device for device in found if device.index == index]
            if not of_index:
                raise GpuUnavailableError(f"no GPU with index {index} answers")
            return of_index[:1]
        by_uuid = {device.uuid: device for device in found}
        missing = [uuid for uuid in uuids if uuid not in by_uuid]
        if missing:
            raise GpuUnavailableError(f"GPU {', '.join(missing)} does not answer")
        return [by_uuid[uuid] for uuid in uuids]

    def version(self) -> str | None:
        """Version of the driver."""
        return None

    def visible(self, gpus: Sequence[GpuInfo], environ: Mapping[str, str]) -> VisibleGpus:  # noqa: ARG002 - a default
        """Those of all GPUs that a process with these variables may use."""
        return VisibleGpus(tuple(gpus))

    def variables_showing(self, uuid: str) -> Mapping[str, str] | None:  # noqa: ARG002 - a default
        """Variables by which a process sees this GPU and no other; None where there are none."""
        return None

    def power_sensor_of(self, gpu: GpuInfo) -> PowerSensor | None:  # noqa: ARG002 - a default
        """What the sensor behind the power of a described GPU looks at; None where that is not known."""
        return None
