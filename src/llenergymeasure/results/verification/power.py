"""Joules of a window from readings of power: rule 4 of how a joule is obtained, said once more.

A reading is the mean of some time before the moment it was read at. It is taken for the power of the middle of that
time; between two readings power goes in a straight line, and the window is cut out of that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from llenergymeasure.results.verification.readings import DeviceReadings, Numbers, Series

# Cards and meters give whole milliwatts.
_RESOLUTION_W = 0.001
# A failed read is bridged over so many periods.
_BRIDGED = 3
# A load that idles half of its time at a fifth of its power swings by so much of its mean.
SWING = 4 / 3
_FEWEST = 2
_FEWEST_TILES = 4


@dataclass(frozen=True)
class Derived:
    """Joules, and by its reasons what they leave open.

    Of a counter, ``sharp`` says that the ticks at both edges were timed, and ``ticks_j`` is the energy of those ticks,
    by which nobody can be off who has not dated them so well.
    """

    energy_j: float
    parts_j: Mapping[str, float]
    sharp: bool = True
    ticks_j: float = 0.0

    @property
    def bound_j(self) -> float:
        """All reasons together."""
        return sum(self.parts_j.values())


def trapezoid_j(time_s: Numbers, power_w: Numbers, start_s: float, end_s: float, period_s: float) -> float | None:
    """The area under straight lines between readings from one moment to another; None where a gap is too long."""
    if time_s.size < _FEWEST:
        return None
    inside = time_s[(time_s > start_s) & (time_s < end_s)]
    first = time_s[time_s <= start_s][-1:] if (time_s <= start_s).any() else np.array([start_s])
    last = time_s[time_s >= end_s][:1] if (time_s >= end_s).any() else np.array([end_s])
    steps = np.diff(np.concatenate([first, inside, last]))
    if steps.size and steps.max() > _BRIDGED * period_s * (1 + 1e-6):
        return None
    moments = np.concatenate([[start_s], inside, [end_s]])
    heights = np.interp(moments, time_s, power_w)
    return float(np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(moments)))


def power_joules(readings: DeviceReadings) -> Derived | None:
    """Joules of a GPU by its power; None where readings are too few."""
    start_s, end_s, believed = readings.start_s, readings.end_s, readings.believed_power
    lag_s, spread_s = readings.fact("power_lag_s"), readings.fact("power_lag_spread_s")
    averaged_s, window_s = readings.fact("power_averaged_s"), readings.fact("power_window_s")
    period_s = max(readings.fact("power_update_s"), readings.fact("power_polled_s"))
    if len(believed) < _FEWEST:
        return None
    time_s, power_w = believed.time_s - lag_s, believed.value
    lacking_s = end_s - float(time_s[-1])
    if 0 < lacking_s <= _BRIDGED * period_s + lag_s:
        # Nothing was read later: the last reading is held, as one of each period.
        held = time_s[-1] + lacking_s * np.arange(1, int(np.ceil(lacking_s / period_s)) + 1) / np.ceil(
            lacking_s / period_s
        )
        time_s, power_w = np.concatenate([time_s, held]), np.concatenate([power_w, np.full(held.size, power_w[-1])])
    spacing_s = max(period_s, float(np.median(np.diff(readings.power.time_s))))
    energy_j = trapezoid_j(time_s, power_w, start_s, end_s, spacing_s)
    if energy_j is None:
        return None
    held_s = max(0.0, lacking_s)
    parts = {
        "resolution": _RESOLUTION_W * (end_s - start_s),
        "lag": _lag_j(time_s, power_w, (start_s, end_s), spread_s, period_s, held_s, averaged_s),
        "averaging": _averaging_j(time_s, power_w, (start_s, end_s), averaged_s, period_s, energy_j),
    }
    between_j = _steps_j(time_s, power_w, start_s, end_s)
    if window_s < period_s:
        parts["unseen"] = max(between_j, unseen_j(time_s, power_w, (start_s, end_s), window_s, period_s))
    else:
        parts["integration"] = between_j
    return Derived(energy_j, parts)


def _steps_j(time_s: Numbers, power_w: Numbers, start_s: float, end_s: float) -> float:
    """A step somewhere between two readings is off by half of it times their distance; such errors add as squares."""
    from_s, to_s = np.maximum(time_s[:-1], start_s), np.minimum(time_s[1:], end_s)
    areas = np.abs(np.diff(power_w)) * (to_s - from_s) / 2
    return float(2 * np.sqrt(np.sum(np.square(areas[to_s > from_s]))))


def unseen_j(time_s: Numbers, power_w: Numbers, span_s: tuple[float, float], window_s: float, update_s: float) -> float:
    """What looks of ``window_s`` in every ``update_s`` leave open of a span, as of 95 %.

    Their mean is off by the root of their variance over their number, times the share of the time that none sees; the
    variance is half the mean square of the steps from one to the next.
    """
    touching = (time_s[1:] > span_s[0]) & (time_s[:-1] < span_s[1])
    steps = np.diff(power_w)[touching]
    if not steps.size or window_s >= update_s:
        return 0.0
    variance = float(np.mean(np.square(steps))) / 2
    return float(2 * np.sqrt((1 - window_s / update_s) * variance * update_s * (span_s[1] - span_s[0])))


def _near(time_s: Numbers, power_w: Numbers, at_s: float, near_s: float) -> tuple[float, float]:
    """Least and most power from the last reading before a neighbourhood to the first one after it."""
    low = max(int(np.searchsorted(time_s, at_s - near_s, side="left")) - 1, 0)
    high = int(np.searchsorted(time_s, at_s + near_s, side="right")) + 1
    there = power_w[low:high]
    return (float(there.min()), float(there.max())) if there.size else (0.0, 0.0)


def _lag_j(
    time_s: Numbers, power_w: Numbers, edges_s: tuple[float, float], spread_s: float, period_s: float, held_s: float,
    averaged_s: float,
) -> float:  # fmt: skip
    """Readings that are all of earlier or later carry the difference of both edges' power in or out."""
    near_s = spread_s + period_s
    ranges = [_near(time_s, power_w, at_s, near_s) for at_s in edges_s]
    apart_w = max(high for _, high in ranges) - min(low for low, _ in ranges)
    held = _near(time_s, power_w, edges_s[1] - held_s, near_s + averaged_s / 2)
    return apart_w * spread_s + (held[1] - held[0]) * held_s


def _averaging_j(
    time_s: Numbers, power_w: Numbers, edges_s: tuple[float, float], averaged_s: float, period_s: float, energy_j: float
) -> float:
    """What means carry over the edges: an eighth of a step there times their length, and of what they hide."""
    mean_w, near_s = energy_j / (edges_s[1] - edges_s[0]), averaged_s / 2 + period_s / 2
    hidden_j = SWING * mean_w * max(averaged_s, period_s)
    ranges = [_near(time_s, power_w, at_s, near_s) for at_s in edges_s]
    return sum((high - low) * averaged_s + hidden_j for low, high in ranges) / 8


def average_joules(readings: DeviceReadings) -> Derived | None:
    """Joules by the average that a card takes itself, whose readings tile the window; None where it has none."""
    series: Series = readings.average.known
    if "average_window_s" not in readings.facts or not len(series):
        return None
    length_s, update_s = readings.facts["average_window_s"], readings.facts["average_update_s"]
    moments = series.time_s - readings.facts["average_lag_s"] - update_s / 2
    n = int(readings.seconds // length_s)
    rest_s = readings.seconds - n * length_s
    ends = readings.start_s + length_s * np.arange(1, n + 1)
    if n < _FEWEST_TILES or moments[0] > ends[0] or moments[-1] + update_s / 2 < ends[-1] + rest_s:
        return None
    one, other = (np.interp(at_s, moments, series.value) for at_s in (ends, ends + rest_s))
    forwards_j = length_s * float(one.sum()) + rest_s * float(other[-1])
    backwards_j = length_s * float(other.sum()) + rest_s * float(one[0])
    energy_j = (forwards_j + backwards_j) / 2
    moved_w = max(abs(float(other[-1] - one[-1])), abs(float(one[0] - other[0])))
    after = np.clip(np.searchsorted(moments, np.concatenate([ends, ends + rest_s])), 1, moments.size - 1)
    steps_w = np.abs(series.value[after] - series.value[after - 1])
    bound_j = (
        abs(forwards_j - backwards_j) / 2
        + moved_w * length_s / 2
        + SWING * energy_j / readings.seconds / 2 * rest_s
        + length_s * float(np.sqrt(np.sum(np.square(steps_w)))) / np.sqrt(2)
        + _RESOLUTION_W * readings.seconds
    )
    return Derived(energy_j, {"averaging": float(bound_j)})
