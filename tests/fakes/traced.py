"""A sensor of a device whose power steps at known times, so that every energy is a sum of rectangles."""

from collections.abc import Mapping, Sequence

from llenergymeasure.domain.metrics import DeviceEnergy, EnergyMeasurement
from llenergymeasure.testing import FakeClock


class TracedEnergy:
    """Devices with a power each from some time on: ``{"GPU-0": [(0.0, 60.0), (10.0, 300.0)]}`` is 60 W, then 300 W.

    ``bound_w`` is what it states as its bound, in watts over the window; None for a sensor that states none.
    ``update_s`` is how often its counter moves, in whole steps of the clock; 0 is at all times.
    """

    name = "traced"

    def __init__(
        self,
        clock: FakeClock,
        powers: Mapping[str, Sequence[tuple[float, float]]],
        *,
        bound_w: float | None = None,
        update_s: float = 0.0,
        log: list[str] | None = None,
    ) -> None:
        self.clock, self.powers, self.bound_w, self.update_s = clock, powers, bound_w, update_s
        self.log = [] if log is None else log

    def is_available(self) -> bool:
        return True

    def start_tracking(self) -> float:
        self.log.append("energy on")
        return self.clock()

    def stop_tracking(self, tracker: float) -> EnergyMeasurement:
        self.log.append("energy off")
        start_s, end_s = tracker, self.clock()
        seconds = end_s - start_s
        bound_j = None if self.bound_w is None else self.bound_w * seconds
        rows = tuple(
            DeviceEnergy(
                device=device,
                kind="gpu",
                energy_j=self.energy_j(device, self._shown(start_s), self._shown(end_s)),
                source="counter",
                uncertainty_j=bound_j,
                update_period_s=self.update_s or None,
            )
            for device in self.powers
        )
        total_j = sum(row.energy_j or 0.0 for row in rows)
        return EnergyMeasurement(
            total_j,
            seconds,
            2,
            devices=rows,
            uncertainty_j=None if bound_j is None else bound_j * len(rows),
        )

    def energy_j(self, device: str, start_s: float, end_s: float) -> float:
        """The true energy of a device between two times."""
        steps = self.powers[device]
        ends = [*(since_s for since_s, _ in steps[1:]), float("inf")]
        return sum(
            power_w * max(0.0, min(end_s, until_s) - max(start_s, since_s))
            for (since_s, power_w), until_s in zip(steps, ends, strict=True)
        )

    def _shown(self, at_s: float) -> float:
        return at_s if not self.update_s else self.update_s * int(at_s / self.update_s + 1e-9)
