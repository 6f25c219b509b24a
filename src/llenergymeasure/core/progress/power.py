"""What a machine draws now, for whoever watches: never what is reported."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.protocols import TelemetrySampler

# Devices by their names, with the watts of each.
Watts = Mapping[str, float]


@runtime_checkable
class TellsPower(Protocol):
    """A sampler that knows its newest readings without a copy of all."""

    def last_power_w(self) -> Watts:
        """The newest power of each GPU that told one."""
        ...


def watts_of(sampler: TelemetrySampler, sensor: SensorBase | None) -> Callable[[], str] | None:
    """What reads the power of now, in words: of the GPUs that are sampled, else of what the sensor sees.

    Args:
        sampler: that of the GPUs, running.
        sensor: reads the energy of the run; None where nothing does.

    Returns:
        A function that costs a few reads of files at most; None where nothing tells power.
    """
    if isinstance(sampler, TellsPower) and sampler.last_power_w():
        return lambda: in_words(sampler.last_power_w())
    read = None if sensor is None else sensor.power_now()
    return None if read is None else lambda: in_words(read())


def in_words(watts: Watts) -> str:
    """Such as "GPU 0 312 W", and "8 devices 2,450 W" for several; empty where nothing is known."""
    if not watts:
        return ""
    total_w = sum(watts.values())
    return f"{next(iter(watts)) if len(watts) == 1 else f'{len(watts)} devices'} {total_w:,.0f} W"
