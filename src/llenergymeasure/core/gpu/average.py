"""Energy of a window from the power that a card has averaged itself, over a second on most.

A reading of power that looks for a quarter of the time never sees the rest. The mean of the last second sees all of it:
readings that lie as far apart as they average over tile a window, whatever the load does within a second. What is left
open is the rest of the window that no whole tile covers, and the moment at which a reading was new.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llenergymeasure.core.gpu.integral import RESOLUTION_W, PowerEnergy
from llenergymeasure.core.gpu.power_sensor import SWING_PER_MEAN_PCT, PowerSensor
from llenergymeasure.domain.telemetry import PowerThermalSample

# Of fewer tiles the rest that is not covered is a large part.
_FEWEST_TILES = 4
# A gap of more periods than this between readings is no curve any more.
_MOST_PERIODS = 3


def averaged_power_energy(
    samples: Sequence[PowerThermalSample], sensor: PowerSensor, lag_s: float, span_s: tuple[float, float]
) -> PowerEnergy | None:
    """Energy of a window by the average of [n] samples, as a reading beside others; None as ``averaged_energy``.

    Args:
        samples: of one GPU, oldest first.
        sensor: how often the average is new, and how long it is.
        lag_s: how long ago it ended when it was new.
        span_s: start and end of the window.
    """
    known = {s.timestamp - lag_s: s.average_power_w for s in reversed(samples) if s.average_power_w}
    times = sorted(known)
    powers_w = [known[t] for t in times]
    found = averaged_energy(times, powers_w, sensor, span_s)
    if found is None:
        return None
    return PowerEnergy(energy_j=found.energy_j, parts_j={"averaging": found.uncertainty_j}, is_average=True)


@dataclass(frozen=True, kw_only=True)
class AveragedEnergy:
    """Joules of a window and their bound."""

    energy_j: float
    uncertainty_j: float


def averaged_energy(
    time_s: Sequence[float],
    mean_w: Sequence[float | None],
    sensor: PowerSensor,
    span_s: tuple[float, float],
) -> AveragedEnergy | None:
    """Energy between two moments by tiles of the sensor's own length.

    One tiling begins at the start of the window and leaves a rest at its end, another one ends at the end and leaves
    the rest at the start. In the rest power is taken to be the mean of the whole length beside it. The mean of both is
    given; the bound holds how far they are apart, how much the average changed over the length beside a rest, what
    swings within it may have been in the rest, and what a refresh more or less would change at the edges of tiles. How
    far power swings within the average is not known: it is taken to be that of a load that idles half of its time.

    Args:
        time_s: [n] moments at which the average was read, strictly increasing.
        mean_w: [n] watts; None is a failed read.
        sensor: how often a reading is new, and how long it averages over.
        span_s: start and end of the window, on the clock of the readings, which go on for a refresh after it.

    Returns:
        None where the window holds fewer than four tiles, or readings are missing.
    """
    start_s, end_s = span_s
    n_tiles = math.floor((end_s - start_s) / sensor.window_s)
    known = [(t, w) for t, w in zip(time_s, mean_w, strict=True) if w is not None]
    if n_tiles < _FEWEST_TILES or len(known) <= n_tiles:
        return None
    # A reading is as new as its last refresh: half a period old on average.
    curve = _Curve([t - sensor.update_s / 2 for t, _ in known], [w for _, w in known], sensor.update_s)
    length_s = sensor.window_s
    rest_s = (end_s - start_s) - n_tiles * length_s
    forwards = start_s + length_s * np.arange(1, n_tiles + 1)
    ends_s = np.concatenate([forwards, forwards + rest_s])
    if not curve.reaches(ends_s):
        return None
    whole_w = curve.mean_w(ends_s)
    first, last = float(whole_w[0]), float(whole_w[-1])
    sums_j = (
        length_s * float(whole_w[:n_tiles].sum()) + rest_s * last,
        length_s * float(whole_w[n_tiles:].sum()) + rest_s * first,
    )
    # How much the average moved over the length beside the rest: what power may have been in it instead.
    moved_w = max(abs(last - float(whole_w[n_tiles - 1])), abs(first - float(whole_w[n_tiles])))
    dated_j = length_s * float(np.hypot.reduce(curve.steps_w(ends_s))) / math.sqrt(2)
    energy_j = sum(sums_j) / 2
    swing_w = SWING_PER_MEAN_PCT / 100 * energy_j / (end_s - start_s)
    return AveragedEnergy(
        energy_j=energy_j,
        uncertainty_j=abs(sums_j[0] - sums_j[1]) / 2
        + moved_w * length_s / 2
        + swing_w / 2 * rest_s
        + dated_j
        + RESOLUTION_W * (end_s - start_s),
    )


class _Curve:
    """The average as a function of the moment up to which it was taken."""

    def __init__(self, until_s: Sequence[float], mean_w: Sequence[float], update_s: float) -> None:
        self._until_s = np.array(until_s)
        self._mean_w = np.array(mean_w)
        self._update_s = update_s

    def reaches(self, times_s: npt.NDArray[np.float64]) -> bool:
        """Whether there are readings on both sides of [n] moments, near to each other."""
        known = self._until_s
        if times_s.min() < known[0] or times_s.max() > known[-1] + self._update_s / 2:
            return False
        after = self._after(times_s)
        return bool(np.all(known[after] - known[after - 1] <= _MOST_PERIODS * self._update_s))

    def mean_w(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Watts over the length before each of [n] moments."""
        found: npt.NDArray[np.float64] = np.interp(times_s, self._until_s, self._mean_w)
        return found

    def steps_w(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """How much the average changed from the reading before each of [n] moments to the one after it."""
        after = self._after(times_s)
        steps: npt.NDArray[np.float64] = np.abs(self._mean_w[after] - self._mean_w[after - 1])
        return steps

    def _after(self, times_s: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
        return np.clip(np.searchsorted(self._until_s, times_s), 1, self._until_s.size - 1)
