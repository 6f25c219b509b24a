"""One window of an energy source, whatever the source does."""

from dataclasses import replace
from typing import Any, Self

from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.protocols import EnergyBackend


class Tracking:
    """A context in which a source tracks; afterwards ``measurement`` says what it took.

    A source that raises gives no joules and a reason.

    The seam forbids ``stop_tracking`` to raise, but a source from elsewhere that does must not cost
    the measurement.
    """

    measurement: EnergyMeasurement

    def __init__(self, energy: EnergyBackend) -> None:
        self._energy = energy
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
                return self._energy.stop_tracking(self._tracker)
            except Exception as error:  # noqa: BLE001 - as above
                self._problem = f"could not stop: {error}"
        reason = MeasurementWarning("energy_unavailable", f"{self._energy.name} {self._problem}")
        return EnergyMeasurement(None, 0.0, 0, warnings=(reason,))


def with_rows_of(headline: EnergyMeasurement, beside: EnergyMeasurement) -> EnergyMeasurement:
    """A measurement with the devices of another one listed beside its own; the total stays what it is."""
    lost = (
        ()
        if beside.total_j is not None
        else tuple(MeasurementWarning("not_in_the_total", str(reason)) for reason in beside.warnings)
    )
    return replace(headline, devices=(*headline.devices, *beside.devices), warnings=(*headline.warnings, *lost))
