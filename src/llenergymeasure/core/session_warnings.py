"""Every warning about a measured window, from what the session knows of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from llenergymeasure.config.device import limits_power
from llenergymeasure.core.gpu.machine import sensor_behind
from llenergymeasure.core.gpu.power_sensor import Pauses, PowerSensor
from llenergymeasure.core.gpu.processes import foreign_processes, own_pids, pids_before
from llenergymeasure.core.gpu.warnings import (
    foreign_process_warning,
    gpu_throttled_warning,
    host_bound_warning,
    power_cap_warning,
    power_limit_reached_warning,
)
from llenergymeasure.core.measurement_warnings import (
    aliasing_warning,
    few_sensor_periods_warning,
    foreign_load_warning,
    part_time_warning,
    unresolved_by,
    warnings_of_a_window,
)
from llenergymeasure.core.window.meter import Window
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.inference import decode_period_s
from llenergymeasure.domain.metrics import UNSEEN, EnergyMeasurement, counted_devices
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.domain.telemetry import SW_POWER_CAP, PowerThermalSample, throttle_info
from llenergymeasure.domain.warnings import MeasurementWarning


def warnings_of_the_window(
    plan: ExperimentPlan, used: Sequence[GpuInfo], window: Window, pids_at_end: Iterable[int] | None
) -> list[MeasurementWarning]:
    """What the window, the GPUs and their sensors did that bears on the figures.

    Args:
        plan: what was run.
        used: the GPUs in use, as they were before the model was loaded.
        window: what was measured.
        pids_at_end: processes on those GPUs with the model still loaded; None where the driver does not say.
    """
    modes = [gpu.persistence_mode for gpu in used if gpu.persistence_mode is not None]
    first_c, last_c = _largest_drift(window.samples)
    found: list[MeasurementWarning | None] = [
        *warnings_of_a_window(
            window.duration_sec,
            all(modes) if modes else None,
            first_c,
            last_c,
            _fewest_power_samples(window.samples, len(plan.devices)),
        ),
        foreign_load_warning(window.foreign_cpu_pct),
        *_about_the_sensors(plan, used, window),
    ]
    if plan.devices:
        found += _about_the_gpus(plan, used, window, pids_at_end)
    return [warning for warning in found if warning is not None]


def _about_the_gpus(
    plan: ExperimentPlan, used: Sequence[GpuInfo], window: Window, pids_at_end: Iterable[int] | None
) -> list[MeasurementWarning | None]:
    foreign = foreign_processes(pids_before(used), pids_at_end, own_pids())
    return [
        foreign_process_warning(foreign),
        *_about_the_clocks(plan, window),
        None if limits_power(plan.config.device) else power_cap_warning(used),
        host_bound_warning(window.samples, window.start_s, window.end_s),
    ]


def _about_the_clocks(plan: ExperimentPlan, window: Window) -> Iterator[MeasurementWarning | None]:
    """What lowered the clocks: a limit that the configuration asks for is what is measured, and no fault."""
    if not limits_power(plan.config.device):
        yield gpu_throttled_warning(throttle_info(window.samples), window.duration_sec)
        return
    yield gpu_throttled_warning(throttle_info(_with_reasons(window.samples, ~SW_POWER_CAP)), window.duration_sec)
    yield power_limit_reached_warning(throttle_info(_with_reasons(window.samples, SW_POWER_CAP)), window.duration_sec)


def _with_reasons(samples: Sequence[PowerThermalSample], mask: int) -> list[PowerThermalSample]:
    """[n] samples that know of some reasons for lower clocks only."""
    return [
        sample if sample.throttle_reasons is None else replace(sample, throttle_reasons=sample.throttle_reasons & mask)
        for sample in samples
    ]


def _about_the_sensors(
    plan: ExperimentPlan, used: Sequence[GpuInfo], window: Window
) -> Iterator[MeasurementWarning | None]:
    """Whether the window is long enough for the sensors behind the total, and no multiple of the load's rhythm."""
    if window.energy is None or window.energy.total_j is None:
        return
    yield few_sensor_periods_warning(counted_devices(window.energy.devices), window.duration_sec)
    yield part_time_warning(window.energy.devices)
    period_s, pauses = decode_period_s(window.output.requests), _pauses(plan, window)
    for sensor in _sensors_as_polled(plan, used, window.energy):
        yield aliasing_warning(period_s, sensor, window.duration_sec, pauses)


def aliasing_pct(plan: ExperimentPlan, used: Sequence[GpuInfo], window: Window) -> float | None:
    """What the load's rhythm may have hidden from the sensors behind the total, in percent of it; None if nothing.

    Arguments as ``warnings_of_the_window``.
    """
    if window.energy is None or window.energy.total_j is None:
        return None
    period_s, pauses = decode_period_s(window.output.requests), _pauses(plan, window)
    sensors = _sensors_as_polled(plan, used, window.energy)
    found = [unresolved_by(period_s, sensor, window.duration_sec, pauses) for sensor in sensors]
    return max((aliasing.residual_pct for aliasing in found if aliasing is not None), default=None)


def _sensors_as_polled(
    plan: ExperimentPlan, used: Sequence[GpuInfo], energy: EnergyMeasurement
) -> list[PowerSensor | None]:
    """The kinds of power sensors behind the total, each once; None stands for one that nobody knows.

    What is known to leave out none of the time, such as the average that a card takes itself, is not among them.
    """
    interval_s = plan.config.energy.sample_interval_ms / 1000
    rows = {
        d.device: d
        for d in counted_devices(energy.devices)
        if d.uncertainty_parts_j is None or UNSEEN in d.uncertainty_parts_j
    }
    sensors = [(sensor_behind(g, rows[g.uuid]), rows[g.uuid].source) for g in used if g.uuid in rows]
    return [
        None if sensor is None else sensor.polled_every(interval_s * (source == "integrated"))
        for sensor, source in dict.fromkeys(sensors)
    ]


def _pauses(plan: ExperimentPlan, window: Window) -> Pauses | None:
    """The pauses that were in the window; None where nothing paused."""
    longest_s, paused_s, n = plan.config.measurement.dither_s, window.dither_pause_s, len(window.units)
    if longest_s is None or paused_s is None or n == 0:
        return None
    return Pauses(longest_s=longest_s, n_batches=n, batch_s=(window.duration_sec - paused_s) / n)


def _largest_drift(samples: Sequence[PowerThermalSample]) -> tuple[float | None, float | None]:
    """First and last temperature of the GPU whose temperature changed most."""
    by_gpu: dict[int | None, list[float]] = {}
    for sample in samples:
        if sample.temperature_c is not None:
            by_gpu.setdefault(sample.gpu_index, []).append(sample.temperature_c)
    if not by_gpu:
        return None, None
    worst = max(by_gpu.values(), key=lambda values: abs(values[-1] - values[0]))
    return worst[0], worst[-1]


def _fewest_power_samples(samples: Sequence[PowerThermalSample], n_gpus: int) -> int | None:
    """Power readings of the GPU that gave fewest, 0 if one gave none; None without GPUs."""
    if n_gpus == 0:
        return None
    counts = Counter(s.gpu_index for s in samples if s.power_w is not None)
    return min(counts.values()) if len(counts) >= n_gpus else 0
