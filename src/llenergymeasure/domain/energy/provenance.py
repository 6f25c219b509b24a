"""Where a joule comes from, in plain words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from llenergymeasure.domain.energy.scopes import SCOPE_NAMES
from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    WarmupResult,
    combined_uncertainty_j,
    counted_devices,
)

# Steady-state gain errors of on-board GPU sensors against a wall meter reach 5.5 %
# (Yang, Adamek, Armour, SC24, arXiv 2312.02741); it does not average out.
SENSOR_ACCURACY_PCT = 5.0

NOT_MEASURED = "not measured"

_ROW = TypeAdapter(DeviceEnergy)


def is_modelled(devices: Sequence[DeviceEnergy]) -> bool:
    """Whether the total rests on a model instead of a sensor."""
    return any(d.source == "modelled" for d in counted_devices(devices))


def rests_on_a_model(rows: Sequence[Any]) -> bool:
    """Whether rows of devices, as values or as a file has them, form a total that no sensor is behind.

    Of rows that are none it is false: what is wrong with them is told where they are validated.
    """
    try:
        return is_modelled([row if isinstance(row, DeviceEnergy) else _ROW.validate_python(row) for row in rows])
    except (ValidationError, TypeError):
        return False


def energy_origin(backend: str | None, devices: Sequence[DeviceEnergy]) -> str:
    """How the total was obtained, short enough to stand behind a number."""
    counted = counted_devices(devices)
    if backend is None:
        return NOT_MEASURED
    if not counted:
        return f"by {backend}, which does not name its devices"
    unit = SCOPE_NAMES[counted[0].covers].one
    where = _in_words(counted)
    if is_modelled(counted):
        return f"modelled from {counted[0].basis or f'{unit} load'}, not sensed ({backend})"
    readers = list(dict.fromkeys(d.sensor or backend for d in counted))
    by = f"({', '.join(readers)}){'' if backend in readers else f', beside {backend}'}"
    if all(d.source == "counter" for d in counted):
        # Only a reading that dates the counter's ticks is founded better than the selected sensor's own.
        timed = "" if backend in readers else ", ticks timed"
        return f"sensed: energy counter of the {where}{timed} {by}"
    return f"sensed: sampled power of the {where}, integrated {by}"


def _in_words(counted: Sequence[DeviceEnergy]) -> str:
    """What [n] figures cover, with their number where there are several: ``2 GPUs and 1 module of ...``."""
    numbers = Counter(d.covers for d in counted)
    if len(counted) == 1:
        return SCOPE_NAMES[counted[0].covers].one
    return " and ".join(f"{n} {SCOPE_NAMES[scope][n > 1]}" for scope, n in numbers.items())


def sensor_accuracy_pct(devices: Sequence[DeviceEnergy]) -> float | None:
    """Systematic accuracy of the sensors behind the total, in percent; None where no published figure covers them."""
    counted = counted_devices(devices)
    on_board = bool(counted) and all(d.kind == "gpu" and d.source != "modelled" for d in counted)
    return SENSOR_ACCURACY_PCT if on_board else None


def reproducibility_notes(
    backend: str | None,
    devices: Sequence[DeviceEnergy],
    total_j: float | None,
    warmup: WarmupResult | None = None,
    weights: object = None,
    aliasing_pct: float | None = None,
    chosen: Mapping[str, str] | None = None,
) -> str:
    """What a reader must know to judge or repeat the energy figure. Never empty.

    Args:
        backend: the sensor of the energy.
        devices: what it read.
        total_j: the energy of the window.
        warmup: for a thermal floor that ended early.
        weights: what the weights are when they were not read from files.
        aliasing_pct: what the load's rhythm may have hidden from the sensor.
        chosen: settings that were left to the machine, with what it chose.
    """
    notes = [_about_the_energy(backend, devices, total_j)]
    if aliasing_pct is not None and total_j is not None:
        notes.append(
            f"Tokens came in step with a power sensor that looks only part of the time: up to {aliasing_pct:.1f} % "
            "more is open (energy_aliasing_pct), which neither the bound nor a second reading of the same sensor "
            "shows; energy_interval_j has it in it."
        )
    if warmup is not None and warmup.thermal_floor_ended_early:
        notes.append(
            f"The thermal floor ended early, after {warmup.thermal_floor_wait_s:.0f} s, when temperature and power had "
            "settled; repeats may wait for another time."
        )
    if weights is not None:
        notes.append(
            f"Weights: {weights}; they were not read from files. The same seed gives the same weights with the same "
            "torch on the same kind of device only."
        )
    notes += [
        f"{name} was given as auto, and is {value} on this machine; on another it may be another."
        for name, value in (chosen or {}).items()
    ]
    return " ".join(notes)


def _about_the_energy(backend: str | None, devices: Sequence[DeviceEnergy], total_j: float | None) -> str:
    if total_j is None:
        return (
            "Energy was not obtained; measurement_warnings say why. "
            "Throughput, latency and token counts do not depend on it."
        )
    origin = f"Energy: {energy_origin(backend, devices)}."
    if is_modelled(devices):
        return (
            f"{origin} Source: {'; '.join(d.field or d.device for d in counted_devices(devices))}. Such models err by "
            "tens of percent against a wall meter; compare it with no sensed figure and cite it only as an estimate."
        )
    if not counted_devices(devices):
        return f"{origin} Nothing is known of the sensor; whoever made it has to be asked."
    names = ", ".join(f"{d.device} ({d.covers})" for d in counted_devices(devices))
    if sensor_accuracy_pct(devices) is None:
        return f"{origin} Devices: {names}. Only what these counters cover; no accuracy is published for all of them."
    return (
        f"{origin} Devices: {names}.{_about_the_reading(counted_devices(devices))} On-board sensors carry a systematic "
        f"error of about {SENSOR_ACCURACY_PCT:g} % that repeats do not remove; the same card measures itself alike "
        "each time."
    )


def _about_the_reading(counted: Sequence[DeviceEnergy]) -> str:
    """What was read and how often, what that leaves open, and what a second reading said."""
    fields = ", ".join(dict.fromkeys(d.field for d in counted if d.field is not None))
    periods_s = [d.update_period_s for d in counted if d.update_period_s is not None]
    read = f" Read: {fields}{f', new every {max(periods_s):.3g} s' if periods_s else ''}." if fields else ""
    bound_j = combined_uncertainty_j(counted)
    bound = (
        ""
        if bound_j is None
        else f" Edges of the window, ticks and integration leave {bound_j:.3g} J open (energy_uncertainty_j)."
    )
    apart_pct = [
        100 * abs(d.energy_j - d.witness_j) / d.energy_j for d in counted if d.energy_j and d.witness_j is not None
    ]
    witness = f" A second reading of the same card came within {max(apart_pct):.2g} %." if apart_pct else ""
    return f"{read}{bound}{witness}"
