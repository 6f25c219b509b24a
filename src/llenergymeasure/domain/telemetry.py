"""Samples of power and device state, and the arithmetic over them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from llenergymeasure.domain.metrics import ThermalThrottleInfo

# Bits of nvmlDeviceGetCurrentClocksEventReasons, from nvml.h.
SW_POWER_CAP = 0x4
HW_SLOWDOWN = 0x8
SW_THERMAL_SLOWDOWN = 0x20
HW_THERMAL_SLOWDOWN = 0x40
HW_POWER_BRAKE_SLOWDOWN = 0x80
_THROTTLE_BITS = SW_POWER_CAP | HW_SLOWDOWN | SW_THERMAL_SLOWDOWN | HW_THERMAL_SLOWDOWN | HW_POWER_BRAKE_SLOWDOWN

# A failed read is bridged over at most this many sampling periods.
BRIDGED_PERIODS = 3


@dataclass(frozen=True, slots=True)
class PowerThermalSample:
    """State of one GPU at one instant; ``timestamp`` in seconds of a monotonic clock, None is a failed read."""

    timestamp: float
    power_w: float | None = None
    temperature_c: float | None = None
    memory_used_mb: float | None = None
    memory_total_mb: float | None = None
    sm_utilisation: float | None = None
    thermal_throttle: bool = False
    throttle_reasons: int | None = 0
    gpu_index: int | None = None
    power_limit_w: float | None = None
    average_power_w: float | None = None


def integrate_power_j(
    time_s: Sequence[float],
    power_w: Sequence[float | None],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    period_s: float | None = None,
) -> float | None:
    """Energy under a power trace by the trapezoidal rule.

    Args:
        time_s: [n] seconds, strictly increasing.
        power_w: [n] watts; None is a failed read, bridged up to three periods.
        start_s: start of the window, default the first sample; power there is interpolated, or held
            from the first sample up to three periods later.
        end_s: end of the window, default the last sample; likewise.
        period_s: the sampling period; the median spacing of the samples counts where it is longer.

    Returns:
        Joules; None for a longer gap or fewer than two usable samples.

    Raises:
        ValueError: the lengths differ, the times do not increase, or the window is reversed.
    """
    if len(time_s) != len(power_w):
        raise ValueError(f"{len(time_s)} times but {len(power_w)} powers")
    if any(b <= a for a, b in pairwise(time_s)):
        raise ValueError("sample times must increase strictly")
    usable = [(t, p) for t, p in zip(time_s, power_w, strict=True) if p is not None]
    if len(usable) < 2:  # noqa: PLR2004 - one point has no area
        return None
    start = time_s[0] if start_s is None else start_s
    end = time_s[-1] if end_s is None else end_s
    if end < start:
        raise ValueError(f"the window ends at {end} before it starts at {start}")
    # A loaded machine samples more slowly than it was told to.
    period = max(float(np.median(np.diff(time_s))), period_s or 0.0)
    times = np.array([t for t, _ in usable])
    powers = np.array([p for _, p in usable])
    # Only gaps that touch the window matter, the held edges among them.
    inside = times[(times > start) & (times < end)]
    before = times[times <= start][-1:]
    after = times[times >= end][:1]
    anchors = np.concatenate([before if before.size else [start], inside, after if after.size else [end]])
    if np.diff(anchors).max(initial=0.0) > BRIDGED_PERIODS * period * (1 + 1e-6):
        return None
    grid = np.concatenate([[start], inside, [end]])
    return float(np.trapezoid(np.interp(grid, times, powers), grid))


def integration_uncertainty_j(
    time_s: Sequence[float], power_w: Sequence[float | None], *, start_s: float, end_s: float, lag_s: float = 0.0
) -> float | None:
    """How far the trapezoids of a window may be off because power between two samples was not seen.

    A step of power somewhere between two samples moves their trapezoid by at most half the step times
    their distance; such errors of either sign are added as squares, and twice their root is given (95 %
    where they are many). A reading that is up to ``lag_s`` old adds the step at either edge times the lag.
    What a sensor that looks only part of the time never sees is not in it.

    Args:
        time_s: [n] seconds, strictly increasing.
        power_w: [n] watts; None is a failed read.
        start_s: start of the window in seconds.
        end_s: its end.
        lag_s: how old a reading may be, in seconds.

    Returns:
        Joules; None with fewer than two usable samples.
    """
    usable = [(t, p) for t, p in zip(time_s, power_w, strict=True) if p is not None]
    if len(usable) < 2:  # noqa: PLR2004 - one sample says nothing of a change
        return None
    squares_j2, edges_j = 0.0, 0.0
    for (a_s, a_w), (b_s, b_w) in pairwise(usable):
        if b_s <= start_s or a_s >= end_s:
            continue
        step_w = abs(b_w - a_w)
        squares_j2 += (step_w * (min(b_s, end_s) - max(a_s, start_s)) / 2) ** 2
        if a_s <= start_s + lag_s or b_s >= end_s - lag_s:
            edges_j += step_w * lag_s
    return 2 * math.sqrt(squares_j2) + edges_j


def throttle_info(samples: Sequence[PowerThermalSample]) -> ThermalThrottleInfo | None:
    """What the throttle bits of [n] samples say; None when none was read.

    A sample's state is taken to last until the same GPU's next sample; of several GPUs the longest time counts.
    """
    if all(s.throttle_reasons is None for s in samples):
        return None
    reasons = 0
    durations: dict[int | None, float] = {}
    last: dict[int | None, PowerThermalSample] = {}
    for sample in samples:
        reasons |= sample.throttle_reasons or 0
        gpu = sample.gpu_index
        if gpu in last and (last[gpu].throttle_reasons or 0) & _THROTTLE_BITS:
            durations[gpu] = durations.get(gpu, 0.0) + sample.timestamp - last[gpu].timestamp
        last[gpu] = sample
    temperatures = [s.temperature_c for s in samples if s.temperature_c is not None]
    sw_thermal = bool(reasons & SW_THERMAL_SLOWDOWN)
    hw_thermal = bool(reasons & HW_THERMAL_SLOWDOWN)
    hw_power = bool(reasons & HW_POWER_BRAKE_SLOWDOWN)
    return ThermalThrottleInfo(
        detected=bool(reasons & _THROTTLE_BITS),
        thermal=sw_thermal or hw_thermal,
        power=hw_power or bool(reasons & SW_POWER_CAP),
        sw_thermal=sw_thermal,
        hw_thermal=hw_thermal,
        hw_power=hw_power,
        throttle_duration_sec=max(durations.values(), default=0.0),
        max_temperature_c=max(temperatures, default=None),
    )
