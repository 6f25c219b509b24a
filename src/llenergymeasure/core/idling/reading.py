"""What a power or an energy was read from, so that like is held against like.

A card may give a counter that leaves out some of the time and an average of its own that leaves out none. The one of a
short slice of idling and the other of a long window are both the best that there is, and their difference is not what
the load took.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from llenergymeasure.core.gpu.power_sensor import SWING_PER_MEAN_PCT
from llenergymeasure.domain.metrics import UNSEEN, DeviceEnergy, EnergyScope, counted_devices

# How far the moments that are looked at may be from the mean, of a load that idles half of the time.
_OFF_THE_MEAN = SWING_PER_MEAN_PCT / 200


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a figure of a device was read from: ``kind`` is the counter, or the field of power, ``covers`` its scope.

    ``sees_all`` is False where it leaves out some of the time, or has to be taken to.
    """

    kind: str
    covers: EnergyScope
    sees_all: bool = True

    @classmethod
    def of(cls, row: DeviceEnergy) -> Self:
        """The reading behind a row. Who read a counter makes no difference."""
        kind = row.source if row.source == "counter" else row.field or row.source
        return cls(kind=kind, covers=row.covers, sees_all=UNSEEN not in (row.uncertainty_parts_j or {}))

    @property
    def name(self) -> tuple[str, EnergyScope]:
        """Two readings with the same name are alike."""
        return self.kind, self.covers

    def hidden_w(self, power_w: float) -> float:
        """By how much it may be off beside a reading that looks at other moments, in watts."""
        return 0.0 if self.sees_all else _OFF_THE_MEAN * abs(power_w)


Readings = Mapping[str, Reading]


def readings_of(rows: Sequence[DeviceEnergy]) -> dict[str, Reading]:
    """By device, of the counted ones of [n] rows that have a figure."""
    return {row.device: Reading.of(row) for row in counted_devices(rows) if row.energy_j is not None}


def are_alike(some: Readings, others: Readings) -> bool:
    """Whether every device that is in both was read in the same way."""
    return all(some[device].name == others[device].name for device in some.keys() & others.keys())


def cover_the_same(some: Readings, others: Readings) -> bool:
    """Whether what was read of every device that is in both covers the same, so that a difference means something."""
    return all(some[device].covers == others[device].covers for device in some.keys() & others.keys())
