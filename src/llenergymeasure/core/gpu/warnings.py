"""What a reader has to know of the GPUs that a number was taken on; see ``measurement_warnings``."""

import statistics
from collections.abc import Sequence

from llenergymeasure.core.gpu.processes import ForeignProcesses, listed
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import ThermalThrottleInfo
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.domain.warnings import MeasurementWarning, on_its_side

HOST_BOUND_PCT = 80.0
# nvml.h: utilisation is over a sample period of 1/6 to 1 s, so an earlier reading tells of the time before the window.
_UTILISATION_LAG_S = 1.0


def foreign_process_warning(foreign: ForeignProcesses) -> MeasurementWarning | None:
    """Whether somebody else used the GPUs."""
    parts = []
    if foreign.pids_before_load:
        parts.append(f"before the model was loaded ({listed(foreign.pids_before_load)})")
    if foreign.pids_at_end:
        parts.append(f"at the end of the window ({listed(foreign.pids_at_end)})")
    if not parts:
        return None
    return MeasurementWarning(
        "foreign_process",
        f"other processes were on a GPU in use {' and '.join(parts)}: their energy is in the figures, "
        "the baseline's too",
        "stop them, or choose another GPU with CUDA_VISIBLE_DEVICES",
    )


def gpu_throttled_warning(info: ThermalThrottleInfo | None, window_s: float) -> MeasurementWarning | None:
    """Whether the GPUs slowed themselves down, why and for how long."""
    if info is None or not info.detected:
        return None
    causes = {
        "the driver's thermal limit": info.sw_thermal,
        "the card's own thermal limit": info.hw_thermal,
        "the power brake of the supply": info.hw_power,
        # Power without the brake is the driver's cap; beside the brake it does not matter any more.
        "the power cap": info.power and not info.hw_power,
    }
    named = [cause for cause, there in causes.items() if there] or ["the card's slowdown signal"]
    hottest = "" if info.max_temperature_c is None else f", at most {info.max_temperature_c:.0f} C"
    advice = "look after the power supply and the cooling of the card, and measure again"
    if info.thermal:
        advice = "improve the cooling, or lock lower clocks with 'nvidia-smi -lgc', and measure again"
    elif info.power and not info.hw_power:
        advice = "this is power and not heat: say the power limit with the number, or raise it to compare"
    return MeasurementWarning(
        "gpu_throttled",
        f"{' and '.join(named)} lowered the clocks for about {info.throttle_duration_sec:.1f} of "
        f"{window_s:.1f} s{hottest}",
        advice,
    )


def power_limit_reached_warning(info: ThermalThrottleInfo | None, window_s: float) -> MeasurementWarning | None:
    """Whether the power limit that the configuration asks for lowered the clocks, as ``info`` of that alone says."""
    if info is None or not info.detected:
        return None
    return MeasurementWarning(
        "power_limit_reached",
        f"the power limit that device.power_limit_w asks for lowered the clocks for about "
        f"{info.throttle_duration_sec:.1f} of {window_s:.1f} s, as it is meant to",
        "say the limit with the number",
    )


def power_cap_warning(gpus: Sequence[GpuInfo]) -> MeasurementWarning | None:
    """Whether a GPU may draw less than its makers meant it to."""
    capped = [
        f"{gpu.uuid} {gpu.power_limit_w:g} of {gpu.power_limit_default_w:g} W"
        for gpu in gpus
        if gpu.power_limit_w is not None
        and gpu.power_limit_default_w is not None
        and gpu.power_limit_w < gpu.power_limit_default_w
    ]
    if not capped:
        return None
    return MeasurementWarning(
        "power_cap_below_default",
        f"the power limit in force is under the default ({', '.join(capped)})",
        "say so with the number, or set it back with 'sudo nvidia-smi -pl'",
    )


def host_bound_warning(
    samples: Sequence[PowerThermalSample], start_s: float, end_s: float
) -> MeasurementWarning | None:
    """Whether a GPU stood idle while the host prepared its work.

    Args:
        samples: [n] samples of one or more GPUs.
        start_s: start of the window, on the samples' clock.
        end_s: its end.
    """
    by_gpu: dict[int | None, list[float]] = {}
    for sample in samples:
        if sample.sm_utilisation is not None and start_s + _UTILISATION_LAG_S <= sample.timestamp <= end_s:
            by_gpu.setdefault(sample.gpu_index, []).append(sample.sm_utilisation)
    means_pct = {gpu: statistics.fmean(values) for gpu, values in by_gpu.items()}
    if not means_pct:
        return None
    gpu, least_pct = min(means_pct.items(), key=lambda item: item[1])
    if least_pct >= HOST_BOUND_PCT:
        return None
    which, awaited = ("the GPU", "the host") if len(means_pct) == 1 else (f"GPU {gpu}", "the host or another GPU")
    return MeasurementWarning(
        "host_bound",
        f"{which} was busy {on_its_side(least_pct, HOST_BOUND_PCT, 0)} % of the time, under {HOST_BOUND_PCT:.0f} %, "
        f"and waited for {awaited}, so energy per token says as much of the host",
        "raise the batch size, or compile the model",
    )
