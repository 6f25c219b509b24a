"""Joules of a GPU over a window from sampled power, and what such a figure leaves open.

A reading is no power of the moment at which it is read: it is a mean over some time before the sensor's last refresh.
It is taken for the power in the middle of that time. What is left open is given in parts, each with its own reason.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from llenergymeasure.core.gpu.power_sensor import SWING_PER_MEAN_PCT, PowerSensor
from llenergymeasure.core.gpu.trace import PowerTrace
from llenergymeasure.domain.metrics import UNSEEN
from llenergymeasure.domain.telemetry import (
    BRIDGED_PERIODS,
    integrate_power_j,
    integration_uncertainty_j,
)

# Drivers give whole milliwatts.
RESOLUTION_W = 0.001
_SWING_PER_MEAN = SWING_PER_MEAN_PCT / 100


@dataclass(frozen=True, kw_only=True)
class PowerReading:
    """What a reading of power is: the mean of ``averaged_s`` up to a refresh of ``sensor``, at the most.

    It is read every ``polled_s``. Its middle lies ``lag_s`` before the moment at which it is read, give or take
    ``lag_spread_s``.
    """

    sensor: PowerSensor
    averaged_s: float
    lag_s: float
    lag_spread_s: float
    polled_s: float

    @classmethod
    def of(cls, sensor: PowerSensor, polled_s: float, late_s: float = 0.0) -> "PowerReading":
        """A reading of a sensor that is known: half of what it averages, and a refresh that is up to one old.

        Args:
            sensor: what it looks at.
            polled_s: how often it is read.
            late_s: how long before the refresh what it averages ended.
        """
        return cls(
            sensor=sensor,
            averaged_s=sensor.window_s,
            lag_s=(sensor.update_s + sensor.window_s) / 2 + late_s,
            lag_spread_s=sensor.update_s / 2,
            polled_s=polled_s,
        )

    @classmethod
    def unknown(cls, sensor: PowerSensor, averaged_s: float, polled_s: float) -> "PowerReading":
        """One that is the mean of anything up to ``averaged_s``: its middle may lie anywhere up to half of that back.

        Args:
            sensor: what it is taken for where it has to be one.
            averaged_s: the most that it may be a mean of.
            polled_s: how often it is read.
        """
        oldest_s = sensor.update_s + averaged_s / 2
        return cls(
            sensor=sensor,
            averaged_s=averaged_s,
            lag_s=oldest_s / 2,
            lag_spread_s=oldest_s / 2,
            polled_s=polled_s,
        )

    @property
    def oldest_s(self) -> float:
        """How far back the middle of a reading lies at the most."""
        return self.lag_s + self.lag_spread_s

    @property
    def as_polled(self) -> PowerSensor:
        """The sensor as it is seen: readings in between are lost."""
        return self.sensor.polled_every(self.polled_s)

    @property
    def weak(self) -> bool:
        """Whether it is read less often than it is new, so that what it misses is not the sensor's doing alone."""
        return self.as_polled.part_time and self.polled_s > self.sensor.update_s * (1 + 1e-6)


@dataclass(frozen=True, kw_only=True)
class PowerEnergy:
    """Joules of a window by readings of power: ``parts_j`` is what they leave open, and add up to the bound.

    ``weak`` says that they were taken too seldom to speak against another reading of the same card, ``proven`` that
    what they are of was found out on this card or has been published of it, ``is_average`` that they are the average
    that a card takes itself, over much longer than a refresh.
    """

    energy_j: float
    parts_j: Mapping[str, float]
    weak: bool = False
    proven: bool = True
    is_average: bool = False

    @property
    def bound_j(self) -> float:
        """All parts together."""
        return sum(self.parts_j.values())


def power_energy(trace: PowerTrace, reading: PowerReading, start_s: float, end_s: float) -> PowerEnergy | None:
    """The integral of readings over a window, each at the moment that it is of; None where there are too few.

    The parts of its bound are ``unseen`` or ``integration``, what happens between readings; ``lag``, readings that may
    be of earlier or later; ``averaging``, power that a mean carries over an edge of the window; and ``resolution``.

    Args:
        trace: what was read, from before the window until a lag after it.
        reading: what a reading is.
        start_s: start of the window, in seconds of the trace's clock.
        end_s: its end.
    """
    if end_s <= start_s or trace.was_lost_by(end_s):
        return None
    period_s = reading.as_polled.update_s
    # What is read until the end of the window is of before it: where nothing was read later, the last is held.
    held_from_s = min(end_s, max(trace.time_s, default=end_s) - reading.lag_s)
    longest_s = BRIDGED_PERIODS * period_s + reading.lag_s
    shifted = trace.earlier_by(reading.lag_s).held_to(end_s, longest_s, period_s)
    energy_j = integrate_power_j(shifted.time_s, shifted.power_w, start_s=start_s, end_s=end_s, period_s=period_s)
    if energy_j is None:
        return None
    between_j = integration_uncertainty_j(shifted.time_s, shifted.power_w, start_s=start_s, end_s=end_s) or 0.0
    parts_j = {
        "resolution": RESOLUTION_W * (end_s - start_s),
        "lag": _lag_j(shifted, reading, start_s, end_s, end_s - held_from_s),
        "averaging": _averaging_j(shifted, reading, start_s, end_s, energy_j / (end_s - start_s)),
    }
    if reading.as_polled.part_time:
        parts_j[UNSEEN] = max(between_j, unseen_j(shifted, reading.as_polled, start_s, end_s))
    else:
        parts_j["integration"] = between_j
    return PowerEnergy(energy_j=energy_j, parts_j=parts_j, weak=reading.weak)


def unseen_j(trace: PowerTrace, sensor: PowerSensor, start_s: float, end_s: float) -> float:
    """What the mean of the looks of a part-time sensor leaves open of a window: a bound as of 95 %.

    Looks that are drawn from a load without regard to it have a mean that is off by the root of their variance over
    their number, times the share of the time that they do not see. The variance is that from one reading to
    the next (half their mean squared step), for what changes slowly is seen well. A load in step with the looks
    is not drawn from without regard to it: that is :func:`~llenergymeasure.core.gpu.power_sensor.aliasing_of`'s.

    Args:
        trace: readings, as often as they were polled.
        sensor: how often the sensor looks, and for how long each time; maybe more often than it was polled.
        start_s: start of the window.
        end_s: its end.
    """
    usable = [(t, p) for t, p in zip(trace.time_s, trace.power_w, strict=True) if p is not None]
    steps_w = [b[1] - a[1] for a, b in pairwise(usable) if b[0] > start_s and a[0] < end_s]
    if not sensor.part_time or not steps_w:
        return 0.0
    variance_w2 = sum(step * step for step in steps_w) / (2 * len(steps_w))
    return 2 * math.sqrt(sensor.unseen_share * variance_w2 * sensor.update_s * (end_s - start_s))


def _lag_j(trace: PowerTrace, reading: PowerReading, start_s: float, end_s: float, held_s: float) -> float:
    """Readings that are all of ``d`` later carry ``d`` times the difference of power between both edges in or out."""
    near_s = reading.lag_spread_s + reading.as_polled.update_s
    first_w, last_w = (_range_w(trace, at_s, near_s) for at_s in (start_s, end_s))
    apart_w = max(first_w[1], last_w[1]) - min(first_w[0], last_w[0])
    held_w = _range_w(trace, end_s - held_s, near_s + reading.averaged_s / 2)
    return apart_w * reading.lag_spread_s + (held_w[1] - held_w[0]) * held_s


def _averaging_j(trace: PowerTrace, reading: PowerReading, start_s: float, end_s: float, mean_w: float) -> float:
    """What a mean of ``w`` carries over the edges: of a step right there an eighth of it times ``w``.

    What swings faster than readings are, or are means of, is in none of them, and an edge may fall on any part of it:
    of such a swing, taken to be that of a load that idles for half of its time, the same is left.
    """
    window_s = reading.averaged_s
    near_s = window_s / 2 + reading.as_polled.update_s / 2
    ranges_w = [_range_w(trace, at_s, near_s) for at_s in (start_s, end_s)]
    hidden_s = max(window_s, reading.as_polled.update_s)
    return sum((high_w - low_w) * window_s + _SWING_PER_MEAN * mean_w * hidden_s for low_w, high_w in ranges_w) / 8


def _range_w(trace: PowerTrace, at_s: float, near_s: float) -> tuple[float, float]:
    """The least and the most power near a moment, from the last reading before that to the first one after it."""
    usable = [(t, p) for t, p in zip(trace.time_s, trace.power_w, strict=True) if p is not None]
    before = [p for t, p in usable if t < at_s - near_s][-1:]
    after = [p for t, p in usable if t > at_s + near_s][:1]
    near = [p for t, p in usable if abs(t - at_s) <= near_s]
    powers = [*before, *near, *after]
    return min(powers, default=0.0), max(powers, default=0.0)
