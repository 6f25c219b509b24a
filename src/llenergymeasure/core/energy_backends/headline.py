"""Which of several readings of one device makes the headline.

A sensor may give, beside its own row of a device, what somebody else read of the same device over the same window: a
row with another ``sensor`` that is no part of the sensor's own total. Zeus's figure, for example, is a plain difference
of a counter whose ticks NVML has timed. Both readings stay; the total is of the better founded one.

The rule: of the sensed readings of a device that cover the same, the one with the smallest bound. One without a bound
comes after all that have one, one without a figure, or that its own sensor refused, not at all.
"""

import math
from dataclasses import replace

from llenergymeasure.domain.metrics import (
    DeviceEnergy,
    EnergyMeasurement,
    combined_uncertainty_j,
    counted_devices,
    headline_energy_j,
)


def best_founded(found: EnergyMeasurement, sensor: str) -> EnergyMeasurement:
    """A measurement whose total is of the best founded reading of each device, and whose rows say which that is.

    Args:
        found: what ``sensor`` gave, every row of it with its sensor, and with ``headline`` where it is of the total.
        sensor: the sensor that was selected.

    Returns:
        ``found`` itself where nobody else read what it read; else the same rows, those of the total before the others.
        Why the selected sensor had no total is left out where there is one now.
    """
    better = []
    for own in found.devices:
        others = [row for row in found.devices if _is_another_reading(row, own)]
        if own.sensor == sensor and others:
            better.append((own, min([*others, own] if own.headline else others, key=_open_j)))
    if all(best is own for own, best in better):
        return found
    chosen = [best for n, (_, best) in enumerate(better) if best not in [earlier for _, earlier in better[:n]]]
    passed_over = [own for own, _ in better if own not in chosen]
    rows = (
        *(replace(row, headline=True) for row in chosen),
        *(
            replace(row, headline=bool(row.headline) and row not in passed_over)
            for row in found.devices
            if row not in chosen
        ),
    )
    total_j = headline_energy_j(rows)
    return replace(
        found,
        total_j=total_j,
        per_gpu_j={d.device: d.energy_j for d in counted_devices(rows) if d.kind == "gpu" and d.energy_j is not None},
        devices=rows,
        uncertainty_j=None if total_j is None else combined_uncertainty_j(rows),
        warnings=tuple(w for w in found.warnings if total_j is None or w.flag != "energy_unavailable"),
    )


def _is_another_reading(row: DeviceEnergy, own: DeviceEnergy) -> bool:
    """Whether a row is somebody else's figure for what another row is of, sensed and no part of the total."""
    # One that its own sensor refused may have been of something else: nothing is compared with it.
    same = (row.device, row.kind) == (own.device, own.kind) and (row.covers == own.covers or not own.headline)
    return same and row.sensor != own.sensor and not row.headline and _is_a_figure(row)


def _is_a_figure(row: DeviceEnergy) -> bool:
    return row.energy_j is not None and row.source != "modelled"


def _open_j(row: DeviceEnergy) -> float:
    """What a reading leaves open, by which it is judged: less is better."""
    return math.inf if row.uncertainty_j is None or not _is_a_figure(row) else row.uncertainty_j
