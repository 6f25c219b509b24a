"""What a reader of the number has to know about the way it was taken. Warnings inform, they never block.

Each function looks at one thing and returns a warning, or None where there is nothing to say. What the GPUs
themselves did is in ``gpu.warnings``.
"""

import math
from collections.abc import Sequence

from llenergymeasure.core.gpu.power_sensor import Aliasing, Pauses, PowerSensor, aliasing_of, dithered_aliasing_of
from llenergymeasure.core.idling.slices import Level
from llenergymeasure.domain.environment import EnvironmentSnapshot
from llenergymeasure.domain.metrics import UNSEEN, DeviceEnergy, EnergyMeasurement, counted_devices
from llenergymeasure.domain.warnings import MeasurementWarning, on_its_side

SHORT_MEASUREMENT_SEC = 10.0
FEW_SAMPLES = 10
# A window may be wrong by a period at its edges: of twenty periods that is 5 %, as much as the sensor's own accuracy.
FEW_SENSOR_PERIODS = 20
# What a tool that tells apart differences of a percent may not let pass silently.
ALIASING_RESIDUAL_PCT = 1.0
# Idle power of a machine at rest repeats to a few percent. Less than this is measured again without a word; more has a
# cause that a reader should know of, such as a process or another clock.
BASELINE_DRIFT = 0.10
# A card that has just worked is warmer, and its clocks may be up for a moment: that is tens of percent of what it idles
# with. A neighbour's load is a multiple of it.
STILL_HOT = 0.5
# What an otherwise idle machine does by itself stays under a few percent of its processors.
FOREIGN_CPU_PCT = 5.0
# Where others take as much, what they slow down and draw is no longer a small error of the figure.
MUCH_FOREIGN_CPU_PCT = 10.0
# Of a window's length, what a sensor's edges may lie beside its own.
_SAME_SPAN = 0.01


def collect_measurement_warnings(
    duration_sec: float,
    gpu_persistence_mode: bool | None,
    temp_start_c: float | None,
    temp_end_c: float | None,
    nvml_sample_count: int | None,
    thermal_drift_threshold_c: float = 10.0,
) -> list[str]:
    """Warnings about one measured window; an argument that is None does not apply.

    Each starts with its flag and a colon, and says what to do.
    """
    return [
        str(warning)
        for warning in warnings_of_a_window(
            duration_sec, gpu_persistence_mode, temp_start_c, temp_end_c, nvml_sample_count, thermal_drift_threshold_c
        )
    ]


def warnings_of_a_window(
    duration_sec: float,
    gpu_persistence_mode: bool | None,
    temp_start_c: float | None,
    temp_end_c: float | None,
    nvml_sample_count: int | None,
    thermal_drift_threshold_c: float = 10.0,
) -> list[MeasurementWarning]:
    """The same as values."""
    found = []
    if duration_sec < SHORT_MEASUREMENT_SEC:
        found.append(
            MeasurementWarning(
                "short_measurement_duration",
                f"the window was {on_its_side(duration_sec, SHORT_MEASUREMENT_SEC, 1)} s, under "
                f"{SHORT_MEASUREMENT_SEC:.0f} s",
                "raise n or max_output_tokens",
            )
        )
    if gpu_persistence_mode is False:
        found.append(
            MeasurementWarning(
                "gpu_persistence_mode_off",
                "the driver may change its state between runs",
                "switch it on with 'sudo nvidia-smi -pm 1'",
            )
        )
    if temp_start_c is not None and temp_end_c is not None:
        drift = temp_end_c - temp_start_c
        if abs(drift) > thermal_drift_threshold_c:
            found.append(
                MeasurementWarning(
                    "thermal_drift_detected",
                    f"the GPU went from {temp_start_c:.0f} to {temp_end_c:.0f} C in the window",
                    "warm up longer",
                )
            )
    if nvml_sample_count is not None and nvml_sample_count < FEW_SAMPLES:
        found.append(
            MeasurementWarning(
                "nvml_low_sample_count",
                f"{nvml_sample_count} power samples, under {FEW_SAMPLES}",
                "measure for longer" if nvml_sample_count else "the card reports no power: 'nvidia-smi -q -d POWER'",
            )
        )
    return found


def foreign_load_warning(foreign_cpu_pct: float | None) -> MeasurementWarning | None:
    """Whether other programs were at work on the processors, or a hypervisor gave them to others."""
    if foreign_cpu_pct is None or foreign_cpu_pct <= FOREIGN_CPU_PCT:
        return None
    much = foreign_cpu_pct > MUCH_FOREIGN_CPU_PCT
    took = on_its_side(foreign_cpu_pct, MUCH_FOREIGN_CPU_PCT if much else FOREIGN_CPU_PCT, 0)
    return MeasurementWarning(
        "foreign_load_high" if much else "foreign_load",
        f"others took {took} % of this machine's processors in the window, which slows "
        "what runs on them and is in the energy of the CPU",
        "run again with nothing beside it",
    )


def neighbours_warning(environment: EnvironmentSnapshot, devices: Sequence[DeviceEnergy]) -> MeasurementWarning | None:
    """Whether the joules are of more than the job was given, so that others may be in them."""
    counted = counted_devices(devices)
    beyond = [device for device in counted if device.covers != "gpu"]
    part = environment.part_of_host if beyond else None
    job = environment.job
    shards = job is not None and job.n_gpu_shards and any(device.covers == "gpu" for device in counted)
    if part is None and not shards:
        return None
    if part is None:
        what = "the scheduler gives the GPU in shards, of which others may have some, and the joules are of all of it"
    else:
        read = ", ".join(dict.fromkeys(device.device for device in beyond))
        what = f"the work was given {part}, and the joules are of all of {read}"
    return MeasurementWarning(
        "neighbours_in_energy",
        f"{what}: what runs beside it is in them",
        "ask the scheduler for the whole node (--exclusive), or measure GPUs, which have joules of their own",
    )


def phases_disturbed_warning(foreign_cpu_pct: float | None) -> list[MeasurementWarning]:
    """Whether other programs were at work while prefill and decode were told apart."""
    if foreign_cpu_pct is None or foreign_cpu_pct <= FOREIGN_CPU_PCT:
        return []
    took = on_its_side(foreign_cpu_pct, FOREIGN_CPU_PCT, 0)
    told = f"others took {took} % of this machine's processors while prefill and decode were told apart"
    return [MeasurementWarning("phases_disturbed", told, "run again with nothing beside it")]


def baseline_drift_warning(
    cached_w: float, now_w: float, age_s: float, device: str | None = None
) -> MeasurementWarning | None:
    """Whether idle power, of one device or of all, is no longer what it was when it was measured ``age_s`` ago."""
    drift_w = now_w - cached_w
    if abs(drift_w) <= BASELINE_DRIFT * abs(cached_w):
        return None
    of = "" if device is None else f" of {device}"
    return MeasurementWarning(
        "baseline_drift",
        f"idle power{of} was {cached_w:.1f} W {age_s:.0f} s ago and is {now_w:.1f} W now, over "
        f"{BASELINE_DRIFT:.0%} apart, so the baseline was measured again",
        "let the machine rest between experiments (execution.pause_s), and look for other processes",
    )


def idle_unsteady_warning(disturbance: str, when: str) -> MeasurementWarning:
    """That others were at work while the machine was to idle; ``disturbance`` is what was seen of it."""
    return MeasurementWarning(
        "idle_unsteady",
        f"{disturbance}, {when}: the figure is of the quiet ones, or of all where there are none, and its bound "
        "reaches to the others",
        "see that nobody else uses the machine, and run again",
    )


def idle_changed_warning(before: Level, after: Sequence[Level], device: str | None = None) -> MeasurementWarning | None:
    """Whether idling with the model loaded, of one device or of all, took other power after the window than before it.

    Args:
        before: in the thermal floor.
        after: in [n] slices right after the window.
        device: of which they are; None of all.
    """
    lowest, highest = min(after, key=_power_w, default=None), max(after, key=_power_w, default=None)
    if lowest is None or highest is None:
        return None
    risen = lowest.power_w > (1 + STILL_HOT) * before.power_w and before.differs_from(lowest)
    fallen = highest.power_w < (1 - BASELINE_DRIFT) * before.power_w and before.differs_from(highest)
    if not risen and not fallen:
        return None
    seen = lowest if risen else highest
    of = "" if device is None else f" of {device}"
    return MeasurementWarning(
        "idle_changed",
        f"idle power{of} with the model loaded was {before.power_w:.1f} W before the window and {seen.power_w:.1f} W "
        "right after it, so somebody else was at work on the device at one of the two, and perhaps in between",
        "see that nobody else uses the machine, and run again",
        device,
    )


def idle_below_baseline_warning(empty: Level, loaded: Level, device: str | None = None) -> MeasurementWarning | None:
    """Whether idling took less with a model loaded than before, which only load of others explains."""
    if loaded.power_w >= (1 - BASELINE_DRIFT) * empty.power_w or not empty.differs_from(loaded):
        return None
    of = "" if device is None else f" of {device}"
    return MeasurementWarning(
        "idle_changed",
        f"idle power{of} was {empty.power_w:.1f} W before the model was loaded and {loaded.power_w:.1f} W with it, so "
        "somebody else was at work on the device when the baseline was measured",
        "see that nobody else uses the machine, and run again",
        device,
    )


def _power_w(level: Level) -> float:
    return level.power_w


def energy_span_warning(energy: EnergyMeasurement, window_s: float) -> list[MeasurementWarning]:
    """Whether joules were taken over another time than tokens and latencies."""
    if energy.total_j is None or abs(energy.duration_sec - window_s) <= _SAME_SPAN * window_s:
        return []
    return [
        MeasurementWarning(
            "energy_span_differs",
            f"the joules are of {energy.duration_sec:.3g} s, the window was {window_s:.3g} s long",
            "use a sensor that starts and stops faster, or measure for longer",
        )
    ]


def few_sensor_periods_warning(devices: Sequence[DeviceEnergy], window_s: float) -> MeasurementWarning | None:
    """Whether the window is too short for the slowest sensor behind the total."""
    periods_s = [d.update_period_s for d in counted_devices(devices) if d.update_period_s is not None]
    slowest_s = max(periods_s, default=0.0)
    if window_s >= FEW_SENSOR_PERIODS * slowest_s:
        return None
    return MeasurementWarning(
        "few_sensor_periods",
        f"the window of {window_s:.2f} s holds {on_its_side(window_s / slowest_s, FEW_SENSOR_PERIODS, 1)} periods of "
        f"the sensor ({slowest_s:g} s), under {FEW_SENSOR_PERIODS}",
        "raise n or max_output_tokens",
    )


def part_time_warning(devices: Sequence[DeviceEnergy]) -> MeasurementWarning | None:
    """Whether nothing that was read of a device behind the total is known to see all of the time."""
    unseen = [d.device for d in counted_devices(devices) if UNSEEN in (d.uncertainty_parts_j or {})]
    if not unseen:
        return None
    return MeasurementWarning(
        "sensor_sees_part_of_the_time",
        f"what was read of {', '.join(unseen)} is not known to look all of the time; the bound takes the rest to be as "
        "what was seen, and bursts that are shorter than the gaps and seldom, or in step with them, may be in none",
        "compare with a meter where the load is of such bursts",
    )


def unresolved_by(
    workload_period_s: float | None, sensor: PowerSensor | None, window_s: float, pauses: Pauses | None = None
) -> Aliasing | None:
    """How a part-time sensor sees a periodic load, where that leaves enough open to be told.

    Args:
        workload_period_s: period of the load, in decoding the time from token to token; None if there is none.
        sensor: what looks, as it is polled; None where nobody knows.
        window_s: length of the measurement.
        pauses: random pauses in it, which break the step of the two; None for none.
    """
    if workload_period_s is None or workload_period_s <= 0 or sensor is None or not sensor.part_time:
        return None
    if pauses is None:
        found = aliasing_of(workload_period_s, sensor, window_s)
    else:
        found = dithered_aliasing_of(workload_period_s, sensor, pauses)
    return None if found is None or found.residual_pct <= ALIASING_RESIDUAL_PCT else found


def aliasing_warning(
    workload_period_s: float | None, sensor: PowerSensor | None, window_s: float, pauses: Pauses | None = None
) -> MeasurementWarning | None:
    """Whether a sensor may keep seeing the same part of a periodic load; arguments as ``unresolved_by``."""
    found = unresolved_by(workload_period_s, sensor, window_s, pauses)
    if found is None or workload_period_s is None or sensor is None:
        return None
    phases = "1 moment is" if found.n_phases == 1 else f"{found.n_phases} moments are"
    wander = "standing still" if math.isinf(found.beat_s) else f"wandering through it in {found.beat_s:.1f} s"
    paused = "" if pauses is None else f" in a batch, of {pauses.n_batches} with pauses of up to {pauses.longest_s:g} s"
    return MeasurementWarning(
        "aliasing",
        f"the power sensor sees {sensor.window_s * 1000.0:g} of every {sensor.update_s * 1000.0:g} "
        f"ms, the load repeats every {workload_period_s * 1000.0:.2f} ms, and {phases} seen of it, "
        f"{wander}{paused}: mean power over {window_s:.0f} s may be off by up to {found.residual_pct:.1f} %",
        "measure for longer, or compare with runs of another batch size"
        if pauses is None
        else "measure more batches, with measurement.dither_s at the sensor's period",
    )
