"""One window of an energy source, whatever the source does."""

from typing import Any

from llenergymeasure.domain.metrics import EnergyMeasurement
from llenergymeasure.protocols import EnergyBackend


class Tracking:
    """Starts a source when made, and stops it once; a source that raises gives no joules and a reason.

    The seam forbids ``stop_tracking`` to raise, but a source from elsewhere that does must not cost
    the measurement.
    """

    def __init__(self, energy: EnergyBackend) -> None:
        self._energy = energy
        self._tracker: Any = None
        self._problem: str | None = None
        try:
            self._tracker = energy.start_tracking()
        except Exception as error:  # noqa: BLE001 - whatever a sensor's library raises costs the joules, not the run
            self._problem = f"could not start: {error}"

    def stop(self, duration_sec: float) -> EnergyMeasurement:
        """End the window; ``duration_sec`` is its length when the source cannot tell."""
        if self._problem is None:
            try:
                return self._energy.stop_tracking(self._tracker)
            except Exception as error:  # noqa: BLE001 - as above
                self._problem = f"could not stop: {error}"
        reason = f"energy_unavailable: {self._energy.name} {self._problem}"
        return EnergyMeasurement(None, duration_sec, 0, warnings=(reason,))
