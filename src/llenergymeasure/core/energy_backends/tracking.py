"""One window of a sensor, whatever the sensor does."""

import contextlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

from llenergymeasure.core.energy_backends.base import SensorBase
from llenergymeasure.core.foreign import checked, with_defaults
from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement, counted_devices, headline_energy_j
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import contained
from llenergymeasure.protocols import EnergyBackend

# What the order of additions may change.
_ROUNDING = 1e-6


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
            with contained():
                self._tracker = self._energy.start_tracking()
        except Exception as error:  # noqa: BLE001 - whatever a sensor's library raises costs the joules, not the run
            self._problem = f"could not start: {error}"
        return self

    def __exit__(self, *_: object) -> None:
        self.measurement = self._stopped()

    def _stopped(self) -> EnergyMeasurement:
        if self._problem is None:
            try:
                with contained():
                    return self._completed(self._energy.stop_tracking(self._tracker))
            except Exception as error:  # noqa: BLE001 - as above
                self._problem = f"could not stop: {error}"
        return EnergyMeasurement(None, 0.0, 0, warnings=(self._because(self._problem),))

    def _completed(self, given: EnergyMeasurement) -> EnergyMeasurement:
        try:
            found = checked(EnergyMeasurement, given)
        except ValueError as error:
            return self._refused(str(error), EnergyMeasurement(None, 0.0, 0, devices=_readable(given)))
        counted = counted_devices(found.devices)
        problem = _contradiction(found, counted)
        if problem is not None:
            return self._refused(f"gave {problem}", found)
        beside = [row for row in found.devices if row not in counted and not _may_be(row.energy_j, found.duration_sec)]
        rows = [replace(row, energy_j=None, uncertainty_j=None) if row in beside else row for row in found.devices]
        return replace(found, devices=self._labelled(rows))

    def _refused(self, why: str, found: EnergyMeasurement) -> EnergyMeasurement:
        """No joules, of the parts neither: nobody is to add them up again."""
        rows = [replace(row, energy_j=None, uncertainty_j=None) for row in found.devices]
        warnings = (*found.warnings, self._because(why))
        return EnergyMeasurement(
            None, found.duration_sec, found.samples, devices=self._labelled(rows), warnings=warnings
        )

    def _labelled(self, rows: Sequence[DeviceEnergy]) -> tuple[DeviceEnergy, ...]:
        counted = counted_devices(rows)
        return tuple(
            replace(
                row,
                sensor=row.sensor or self._energy.name,
                scope=row.scope or ((self._energy.scope if row in counted else None) or row.covers),
                headline=row in counted,
            )
            for row in rows
        )

    def _because(self, problem: str) -> MeasurementWarning:
        return MeasurementWarning("energy_unavailable", f"{self._energy.name} {problem}")


def _may_be(energy_j: float | None, seconds: float) -> bool:
    """Whether a figure can be true: something that runs for a time takes energy."""
    return energy_j is None or energy_j > 0 or (energy_j == 0 and seconds <= 0)


def _contradiction(found: EnergyMeasurement, counted: Sequence[DeviceEnergy]) -> str | None:
    """What of a measurement cannot be, or does not go together; None where it may be true."""
    named = [("", found.total_j), *((f" for {row.device}", row.energy_j) for row in counted)]
    for whose, energy_j in named:
        if not _may_be(energy_j, found.duration_sec):
            return f"{energy_j:g} J{whose} for {found.duration_sec:.3g} s, which nothing can have used"
    for bound_j in (found.uncertainty_j, *(row.uncertainty_j for row in counted)):
        if bound_j is not None and bound_j < 0:
            return f"a bound of {bound_j:g} J"
    twice = [name for name, times in Counter(row.device for row in counted).items() if times > 1]
    if twice:
        return f"more than one row for {', '.join(twice)}, of which only one can count"
    if found.total_j is None or not counted:
        return None
    of_rows_j = headline_energy_j(counted)
    if of_rows_j is None or not math.isclose(found.total_j, of_rows_j, rel_tol=_ROUNDING):
        sum_is = "have no sum" if of_rows_j is None else f"have {of_rows_j:g} J"
        names = ", ".join(row.device for row in counted)
        return f"a total of {found.total_j:g} J, and the rows that make it ({names}) {sum_is}"
    return None


def _readable(given: object) -> tuple[DeviceEnergy, ...]:
    """The names of what was read, as far as there are any in what a sensor gave."""
    rows = getattr(given, "devices", None)
    found = []
    for row in rows if isinstance(rows, (tuple, list)) else ():
        with contextlib.suppress(ValueError, TypeError):
            found.append(checked(DeviceEnergy, replace(row, energy_j=None, uncertainty_j=None)))
    return tuple(found)


def with_rows_of(headline: EnergyMeasurement, beside: EnergyMeasurement) -> EnergyMeasurement:
    """A measurement with the devices of another one listed beside its own; the total stays what it is."""
    lost = (
        ()
        if beside.total_j is not None
        else tuple(MeasurementWarning("not_in_the_total", str(reason)) for reason in beside.warnings)
    )
    listed = tuple(replace(row, headline=False) for row in beside.devices)
    return replace(headline, devices=(*headline.devices, *listed), warnings=(*headline.warnings, *lost))
