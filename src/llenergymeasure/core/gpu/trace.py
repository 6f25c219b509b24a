"""Readings of a GPU's power over time, and which of them are believed."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from llenergymeasure.domain.telemetry import PowerThermalSample


@dataclass(frozen=True)
class PowerTrace:
    """[n] strictly increasing seconds, [n] watts (None is a failed read), and how many readings were absurd."""

    time_s: list[float]
    power_w: list[float | None]
    n_absurd: int

    def was_lost_by(self, end_s: float) -> bool:
        """Whether power was asked for from then on and never told: the last that was seen says nothing of the rest."""
        later = [p for t, p in zip(self.time_s, self.power_w, strict=True) if t >= end_s]
        return bool(later) and all(p is None for p in later)

    def seen(self, start_s: float, end_s: float) -> list[tuple[float, float]]:
        """Seconds and watts of the readings between two moments that did not fail."""
        first, last = bisect_left(self.time_s, start_s), bisect_right(self.time_s, end_s)
        readings = zip(self.time_s[first:last], self.power_w[first:last], strict=True)
        return [(t, p) for t, p in readings if p is not None]


def power_trace(samples: Sequence[PowerThermalSample], limit_w: float) -> PowerTrace:
    """The trace of one GPU's samples; a reading that is negative or over ``limit_w`` is absurd, and none."""
    # A clock may be coarser than two reads in a row; of equal times the first counts.
    known = {s.timestamp: s.power_w for s in reversed(samples)}
    times = sorted(known)
    powers = [known[t] for t in times]
    believed = [None if p is None or not 0 <= p <= limit_w else p for p in powers]
    n_absurd = sum(p is not None and b is None for p, b in zip(powers, believed, strict=True))
    return PowerTrace(times, believed, n_absurd)
