"""One window of a sensor, whatever the sensor does."""

import math
from dataclasses import replace
from typing import Any, Self

from llenergymeasure.core.defaults import with_defaults
from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.domain.metrics import EnergyMeasurement, counted_devices
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.protocols import EnergyBackend


class Tracking:
    """A context in which a sensor tracks; afterwards ``measurement`` says what it took.

    The seam forbids ``stop_tracking`` to raise and to give a figure that is none, but a sensor from elsewhere that
    does must not cost the measurement: it gives no joules and a reason. Each row says which sensor gave it, what it
    covers, and whether it is part of the total.
    """

    measurement: EnergyMeasurement

    def __init__(self, energy: EnergyBackend) -> None:
        self._energy = with_defaults(energy, SensorBase)
        self._tracker: Any = None
        self._problem: str | None = None

    def __enter__(self) -> Self:
        try:
            self._tracker = self._energy.start_tracking()
        except Exception as error:  # noqa: BLE001 - whatever a sensor's library raises costs the joules, not the run
            self._problem = f"could not start: {error}"
        return self

    def __exit__(self, *_: object) -> None:
        self.measurement = self._stopped()

    def _stopped(self) -> EnergyMeasurement:
        if self._problem is None:
            try:
                return self._completed(self._energy.stop_tracking(self._tracker))
            except Exception as error:  # noqa: BLE001 - as above
                self._problem = f"could not stop: {error}"
        return EnergyMeasurement(None, 0.0, 0, warnings=(self._because(self._problem),))

    def _completed(self, found: EnergyMeasurement) -> EnergyMeasurement:
        counted = counted_devices(found.devices)
        rows = tuple(
            replace(
                row,
                sensor=row.sensor or self._energy.name,
                scope=row.scope or ((self._energy.scope if row in counted else None) or row.covers),
                headline=row in counted,
            )
            for row in found.devices
        )
        if found.total_j is None or _may_be(found.total_j, found.duration_sec):
            return replace(found, devices=rows)
        absurd = self._because(f"gave {found.total_j:g} J for {found.duration_sec:.3g} s, which nothing can have used")
        return replace(found, total_j=None, devices=rows, warnings=(*found.warnings, absurd))

    def _because(self, problem: str) -> MeasurementWarning:
        return MeasurementWarning("energy_unavailable", f"{self._energy.name} {problem}")


def _may_be(total_j: float, duration_sec: float) -> bool:
    """Whether a total can be true: something that runs for a time takes a finite energy, and not none."""
    return math.isfinite(total_j) and total_j >= 0 and (total_j > 0 or duration_sec <= 0)


def with_rows_of(headline: EnergyMeasurement, beside: EnergyMeasurement) -> EnergyMeasurement:
    """A measurement with the devices of another one listed beside its own; the total stays what it is."""
    lost = (
        ()
        if beside.total_j is not None
        else tuple(MeasurementWarning("not_in_the_total", str(reason)) for reason in beside.warnings)
    )
    listed = tuple(replace(row, headline=False) for row in beside.devices)
    return replace(headline, devices=(*headline.devices, *listed), warnings=(*headline.warnings, *lost))
