"""Knobs of the card: what it may draw, and how fast its clocks run."""

from collections.abc import Mapping
from typing import Literal, get_args

from pydantic import Field

from llenergymeasure.config.base import ConfigModel, Integer, Number

Knob = Literal["power_limit_w", "sm_clock_mhz", "memory_clock_mhz"]
KNOBS: tuple[Knob, ...] = get_args(Knob)


class DeviceConfig(ConfigModel):
    """What every GPU of the experiment is set to while the model is loaded; null leaves it as it is."""

    power_limit_w: Number | None = Field(
        default=None, gt=0, le=10_000, description="Power limit in watts, within the card's own range; needs root."
    )
    sm_clock_mhz: Integer | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Clock in MHz that the SMs are locked to, one of the card's; needs root.",
    )
    memory_clock_mhz: Integer | None = Field(
        default=None,
        gt=0,
        le=20_000,
        description="Clock in MHz that the memory is locked to, one of the card's; needs root.",
    )

    @property
    def wanted(self) -> Mapping[Knob, float]:
        """The knobs that are given."""
        given = {knob: getattr(self, knob) for knob in KNOBS}
        return {knob: value for knob, value in given.items() if value is not None}


def locks_clocks(device: DeviceConfig | None) -> bool:
    """Whether a clock is given."""
    return device is not None and bool(set(device.wanted) - {"power_limit_w"})


def limits_power(device: DeviceConfig | None) -> bool:
    """Whether a power limit is given."""
    return device is not None and device.power_limit_w is not None
