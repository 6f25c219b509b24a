"""What the power sensor of a GPU looks at, and what a periodic load makes of that."""

import math
from dataclasses import dataclass, replace

from llenergymeasure.domain.energy.calibration import Calibration, ReadingProperties

# How often power readings are new on most cards, and what those average over that average longest (Yang, Adamek,
# Armour, SC24, arXiv 2312.02741).
REFRESH_S, AVERAGED_S = 0.1, 1.0
# The load that is assumed: half of the time at full power, half of the time idle with a context, at a fifth
# of that (an A100 of 400 W idles at about 80 W). The swing is four fifths, the mean three fifths.
SWING_PER_MEAN_PCT = 400 / 3
# How well the two periods are known to each other: the median of many gaps between tokens, and the
# sensor's nominal period.
_PERIOD_TOLERANCE = 0.001
# Of so many parts a coefficient is under 1/60, whatever the draw.
_PARTS_OF_A_PERIOD = 20
# What is under it nobody looks for.
_NEGLIGIBLE_PCT = 0.01


@dataclass(frozen=True)
class PowerSensor:
    """A sensor that gives a new reading every ``update_s`` seconds: the mean of the last ``window_s``."""

    update_s: float
    window_s: float

    @property
    def part_time(self) -> bool:
        """Whether some of the time is in no reading."""
        return self.window_s < self.update_s

    @property
    def unseen_share(self) -> float:
        """The share of the time that is in no reading."""
        return max(0.0, 1 - self.window_s / self.update_s)

    def polled_every(self, interval_s: float) -> "PowerSensor":
        """The same sensor as seen by who reads it at this interval: readings in between are lost."""
        return PowerSensor(max(self.update_s, interval_s), self.window_s)


def found_sensor(reading: ReadingProperties) -> PowerSensor:
    """The sensor that a calibration found."""
    return PowerSensor(reading.update_s, reading.window_s)


def sensor_of_the_counter(found: Calibration | None, power: PowerSensor | None) -> PowerSensor | None:
    """What a counter adds up: as it was found, else, as nobody has published it, the readings of ``power``."""
    if found is None:
        return power
    if found.counter_fed_by == "everything" and found.counter_tick_s is not None:
        return PowerSensor(found.counter_tick_s, found.counter_tick_s)
    read = found.average if found.counter_fed_by == "average" else found.power
    return power if read is None else found_sensor(read)


@dataclass(frozen=True, kw_only=True)
class Aliasing:
    """The worst that a sensor may make of a periodic load.

    It sees ``n_phases`` moments of each period again and again. They wander through the whole period in
    ``beat_s`` seconds, infinite when they stand still. ``residual_pct`` is what may be left in the mean power
    of the window, in percent of it.
    """

    residual_pct: float
    n_phases: int
    beat_s: float


def aliasing_of(workload_period_s: float, sensor: PowerSensor, window_s: float) -> Aliasing | None:
    """How far the mean of a sensor's readings may be off the mean power of a periodic load.

    Readings ``k`` end at the phases ``k * update_s`` of the load's period ``T``. Where ``q * update_s`` is
    near ``p * T``, each ``q`` of them in a row lie at ``q`` equal distances. Their mean sees the load folded
    to the period ``T / q`` and its swing divided by ``q``, through a window of ``window_s``: whole folded
    periods in the window average out, and a rest ``r`` of one leaves at most
    ``swing / q * r * (T / q - r) / (T / q * window_s)``, when the load is on for just that rest. The rest of
    the detuning, ``|q * update_s - p * T|``, lets the phases wander; whole beats average out too, and of
    ``n`` beats at most half of one is left.

    Args:
        workload_period_s: period of the load.
        sensor: what it looks at.
        window_s: length of the measurement.

    Returns:
        The worst over all ``q``; None when no ``q`` readings fit into the window or nothing is left.
    """
    ratio = sensor.update_s / workload_period_s
    n_readings = int(window_s / sensor.update_s)
    worst: Aliasing | None = None
    for q in range(1, n_readings + 1):
        # r * (T/q - r) is at most a quarter of (T/q)^2, and r at most the window.
        bound_pct = SWING_PER_MEAN_PCT / q * min(1.0, workload_period_s / (4 * q * sensor.window_s))
        if bound_pct < (_NEGLIGIBLE_PCT if worst is None else worst.residual_pct):
            break
        p = round(q * ratio)
        if p == 0:
            continue
        left_pct, beat_s = _left_at(q, p, workload_period_s, sensor, window_s)
        if left_pct > (_NEGLIGIBLE_PCT if worst is None else worst.residual_pct):
            worst = Aliasing(residual_pct=left_pct, n_phases=q, beat_s=beat_s)
    return worst


@dataclass(frozen=True, kw_only=True)
class Pauses:
    """Pauses in a window, evenly drawn from 0 up to ``longest_s``, after ``n_batches`` of ``batch_s`` each."""

    longest_s: float
    n_batches: int
    batch_s: float

    def alike(self, update_s: float) -> float:
        """How alike the places are, 0 to 1, at which two batches in a row begin in a period of a sensor.

        It is the largest coefficient of Fourier's of an even draw, over all parts of the period.
        """
        turns = self.longest_s / update_s
        angles = [math.pi * turns * k for k in range(1, _PARTS_OF_A_PERIOD)]
        return max(abs(math.sin(angle) / angle) for angle in angles) if turns > 0 else 1.0


def dithered_aliasing_of(workload_period_s: float, sensor: PowerSensor, pauses: Pauses) -> Aliasing | None:
    """How far the mean of a sensor's readings may be off in a window with random pauses: a bound as of 95 %.

    Each batch by itself may be off as far as :func:`aliasing_of` says of a window of its length. As it begins anywhere
    in a period of the sensor, that is a draw with the mean 0. Of a load that is on or off and a look as long as either,
    the error over all phases is a triangle, so its standard deviation is the worst by the root of 3, and of shorter
    looks less. Of ``n`` draws twice the standard error is left; draws that are alike count as fewer.

    Args:
        workload_period_s: period of the load.
        sensor: what it looks at.
        pauses: the pauses.
    """
    one = aliasing_of(workload_period_s, sensor, max(pauses.batch_s, sensor.update_s))
    if one is None:
        return None
    alike = pauses.alike(sensor.update_s)
    n_draws = pauses.n_batches * (1 - alike) / (1 + alike)
    share = 1.0 if n_draws <= 0 else min(1.0, 2 / math.sqrt(3 * n_draws))
    return replace(one, residual_pct=share * one.residual_pct)


def _left_at(q: int, p: int, workload_period_s: float, sensor: PowerSensor, window_s: float) -> tuple[float, float]:
    """Percent that are left, and seconds of a beat, with ``q`` readings to ``p`` periods."""
    folded_s = workload_period_s / q
    rest_s = math.fmod(sensor.window_s, folded_s)
    left_pct = SWING_PER_MEAN_PCT / q * rest_s * (folded_s - rest_s) / (folded_s * sensor.window_s)
    detuning_s = abs(q * sensor.update_s - p * workload_period_s) - _PERIOD_TOLERANCE * q * sensor.update_s
    if detuning_s <= 0:
        return left_pct, math.inf
    beat_s = workload_period_s * sensor.update_s / detuning_s
    return left_pct * min(1.0, beat_s / (2 * window_s)), beat_s
