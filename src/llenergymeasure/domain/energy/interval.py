"""The one interval of an energy: everything that a measurement leaves open of it, but for the sensor's own error."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llenergymeasure.domain.energy.provenance import is_modelled
from llenergymeasure.domain.metrics import DeviceEnergy, combined_uncertainty_j, counted_devices

# Of a bound that a sensor states as a whole.
_STATED = "stated"
_ALIASING = "aliasing"


@dataclass(frozen=True, kw_only=True)
class EnergyInterval:
    """Joules between which the energy of the window lies; ``parts_j`` is what they are apart, by its reasons.

    The parts are half widths and are added as they are, over reasons and devices: each may have the same sign
    everywhere, so that none takes away from another.
    """

    low_j: float
    high_j: float
    parts_j: Mapping[str, float]

    @property
    def ends_j(self) -> tuple[float, float]:
        """Both ends."""
        return self.low_j, self.high_j


def energy_interval(
    total_j: float | None, bound_j: float | None, devices: Sequence[DeviceEnergy], aliasing_pct: float | None
) -> EnergyInterval | None:
    """The interval of a total; None without a total or a bound of it, and where a model stands behind it.

    Args:
        total_j: the energy.
        bound_j: its bound.
        devices: [n] rows, those of the total among them, with the parts of their bounds.
        aliasing_pct: what the load's rhythm may have hidden from a sensor, in percent of the total.
    """
    if total_j is None or bound_j is None or is_modelled(devices):
        return None
    parts_j: dict[str, float] = defaultdict(float)
    counted = counted_devices(devices)
    if combined_uncertainty_j(devices) == bound_j:
        for device in counted:
            for name, part_j in (device.uncertainty_parts_j or {_STATED: device.uncertainty_j or 0.0}).items():
                parts_j[name] += part_j
    else:
        parts_j[_STATED] = bound_j
    half_j = bound_j
    if aliasing_pct is not None:
        parts_j[_ALIASING] = total_j * aliasing_pct / 100
        half_j += parts_j[_ALIASING]
    return EnergyInterval(low_j=max(0.0, total_j - half_j), high_j=total_j + half_j, parts_j=dict(parts_j))
