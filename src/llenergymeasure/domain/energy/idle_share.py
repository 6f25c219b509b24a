"""What of the energy of several processes was idling: without the model, with it, and in pauses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llenergymeasure.domain.metrics import EnergyBreakdown, counted_devices, sum_or_none
from llenergymeasure.domain.process import RawProcessResult


@dataclass(frozen=True, kw_only=True)
class IdlePower:
    """Power of idling of all counted devices, its share of the energy of the windows, and the bounds of both.

    Bounds add up: they are of sensors of one kind, which may all be off to one side. None where one is not known.
    """

    power_w: float
    energy_j: float
    power_uncertainty_w: float | None = None
    energy_uncertainty_j: float | None = None


# Watts and their bound, each None where it is not known.
_Watts = tuple[float | None, float | None]


def combined_idle(raws: Sequence[RawProcessResult], powers_w: Sequence[_Watts]) -> IdlePower | None:
    """Idle power over all processes, of those that saw the same devices the longest window's, as for their energy.

    Args:
        raws: [n] processes.
        powers_w: [n] watts of the counted devices of each, with their bounds.

    Returns:
        The sum; None where one is unknown, or where devices are in some sets and not in others, so that nobody
        knows the power of each.
    """
    by_devices: dict[frozenset[str], tuple[float, _Watts]] = {}
    for raw, watts in zip(raws, powers_w, strict=True):
        if raw.energy is None:
            return None
        devices = frozenset(d.device for d in counted_devices(raw.energy.devices))
        seconds = raw.energy.duration_sec
        if devices not in by_devices or seconds > by_devices[devices][0]:
            by_devices[devices] = (seconds, watts)
    n_distinct = len(frozenset[str]().union(*by_devices))
    known = list(by_devices.values())
    sum_w = sum_or_none([power_w for _, (power_w, _) in known])
    if sum_w is None or sum(map(len, by_devices)) != n_distinct:
        return None
    return IdlePower(
        power_w=sum_w,
        energy_j=sum(seconds * (power_w or 0.0) for seconds, (power_w, _) in known),
        power_uncertainty_w=sum_or_none([bound_w for _, (_, bound_w) in known]),
        energy_uncertainty_j=sum_or_none([None if b is None else seconds * b for seconds, (_, b) in known]),
    )


def loaded_idle(raws: Sequence[RawProcessResult]) -> IdlePower | None:
    """Idling with the model loaded."""
    return combined_idle(raws, [(r.idle_loaded_power_w, r.idle_loaded_power_uncertainty_w) for r in raws])


def dither_pause_s(raws: Sequence[RawProcessResult]) -> float | None:
    """Seconds of pauses in the windows, of the process that paused for longest: they pause beside each other."""
    return max((r.dither_pause_s for r in raws if r.dither_pause_s is not None), default=None)


def dither_energy_j(raws: Sequence[RawProcessResult]) -> float | None:
    """What was idled away in those pauses: loaded idle power times seconds, which no sensor told apart.

    None where nothing paused, or the power of a process is not known by itself.
    """
    pauses_s = [r.dither_pause_s for r in raws]
    devices = [d.device for r in raws if r.energy is not None for d in counted_devices(r.energy.devices)]
    if len(set(devices)) < len(devices):
        return None
    return sum_or_none(
        [
            None if r.idle_loaded_power_w is None or pause_s is None else r.idle_loaded_power_w * pause_s
            for r, pause_s in zip(raws, pauses_s, strict=True)
        ]
    )


def combined_breakdown(
    raws: Sequence[RawProcessResult], raw_j: float | None, raw_uncertainty_j: float | None
) -> EnergyBreakdown | None:
    """Baseline-adjusted energy over all processes, each set of devices counted once."""
    known = [r.energy_breakdown for r in raws if r.energy_breakdown is not None]
    if not known:
        return None
    idle = combined_idle(raws, [_baseline(r.energy_breakdown) for r in raws])
    bound_j = None if idle is None else sum_or_none([raw_uncertainty_j, idle.energy_uncertainty_j])
    if len(raws) == 1:
        return replace(known[0], adjusted_uncertainty_j=None if known[0].adjusted_j is None else bound_j)
    if raw_j is None or idle is None:
        return EnergyBreakdown(raw_j=raw_j, adjusted_j=None, baseline_power_w=None, baseline_method="unavailable")
    return EnergyBreakdown(
        raw_j=raw_j,
        adjusted_j=raw_j - idle.energy_j,
        baseline_power_w=idle.power_w,
        baseline_method=known[0].baseline_method,
        baseline_timestamp=known[0].baseline_timestamp,
        baseline_cache_age_sec=known[0].baseline_cache_age_sec,
        baseline_power_uncertainty_w=idle.power_uncertainty_w,
        adjusted_uncertainty_j=bound_j,
    )


def _baseline(breakdown: EnergyBreakdown | None) -> _Watts:
    return (None, None) if breakdown is None else (breakdown.baseline_power_w, breakdown.baseline_power_uncertainty_w)
