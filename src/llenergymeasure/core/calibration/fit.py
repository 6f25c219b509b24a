"""Properties of readings from what they showed while a load was switched on and off at known times.

While the load is on a card draws about one power, and while it is off another. A reading that is the mean of some
stretch of time is then a straight line over the share of that stretch in which the load was on. Every length of the
stretch, and every distance of it from the moment at which the reading appears, is tried, and the one that leaves least
of the readings unexplained is taken.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llenergymeasure.core.gpu.changes import Change
from llenergymeasure.domain.energy.calibration import CounterFeed, ReadingProperties

Floats = npt.NDArray[np.float64]

# Of what is tried: stretches from half a millisecond to two seconds, in steps of 8 %, and distances up to a second.
LONGEST_WINDOW_S, LONGEST_LAG_S = 2.0, 1.0
_WINDOWS_S = np.geomspace(0.0005, LONGEST_WINDOW_S, 109)
_WINDOW_STEP = 1.08
_LAG_STEP_S = 0.01
_FINER = 40
# Gaps between changes are whole multiples of one period to within this share of it ...
_OFF_BEAT = 0.15
# ... in as many of them; otherwise there is no rhythm, and a reading is new whenever power is.
_ON_BEAT_SHARE = 0.8
# Fewer changes than this say nothing.
_FEWEST = 30
# An explanation that leaves more of the variance than this is none.
MOST_UNEXPLAINED = 0.3
# Of two explanations the better one must leave less than this part of what the other leaves.
_CLEARLY = 0.5
# Windows that differ by less than this share are the same.
_SAME = 0.1
_BY_PLAINNESS: tuple[CounterFeed, ...] = ("everything", "power", "average")
# What stamps, rounding and a load that is not quite on or off leave of the variance in any case.
_NOISE = 0.005


class Span(NamedTuple):
    """A stretch of time in which the load was on, in seconds."""

    start_s: float
    end_s: float


def period_s(times_s: Sequence[float]) -> float | None:
    """The period of which the gaps between [n] moments are whole multiples, in seconds; None where there is none."""
    if len(times_s) < _FEWEST:
        return None
    gaps = np.diff(np.array(times_s))
    shortest = float(np.quantile(gaps, 0.2))
    near = gaps[np.abs(gaps - shortest) <= shortest / 4]
    period = float(np.median(near))
    # What a period is off adds up over many of them: it is found anew over ever longer distances.
    for longest in (10.0, 100.0, 1000.0):
        counted = np.rint(gaps / period)
        steady = (counted >= 1) & (np.abs(gaps - counted * period) <= _OFF_BEAT * period)
        if steady.mean() < _ON_BEAT_SHARE:
            return None
        numbers = np.concatenate([[0.0], np.cumsum(np.rint(gaps / period))])
        inside = numbers <= longest
        if inside.sum() >= _FEWEST:
            period = float(np.polyfit(numbers[inside], np.array(times_s)[inside], 1)[0])
    return period


def reading_properties(field: str, found: Sequence[Change], spans: Sequence[Span]) -> ReadingProperties | None:
    """What a reading of power is.

    Args:
        field: its name.
        found: [n] moments at which it was new, with the value in watts.
        spans: when the load was on.

    Returns:
        None where it has no rhythm, or no mean over a stretch of time explains it.
    """
    update_s = period_s([change.time_s for change in found])
    if update_s is None:
        return None
    times = np.array([change.time_s for change in found])
    values = np.array([change.new for change in found])
    on_s = _OnTime(spans)
    lags = np.arange(0.0, LONGEST_LAG_S, _LAG_STEP_S)
    window_s, lag_s, left = _least(_WINDOWS_S, lags, times, values, on_s)
    for _ in range(2):
        windows = window_s * np.geomspace(1 / _WINDOW_STEP, _WINDOW_STEP, _FINER)
        lags = lag_s + np.linspace(-_LAG_STEP_S, _LAG_STEP_S, _FINER)
        window_s, lag_s, left = _least(windows, lags[lags >= 0], times, values, on_s)
    if left > MOST_UNEXPLAINED:
        return None
    return ReadingProperties(
        field=field, update_s=update_s, window_s=window_s, lag_s=lag_s, unexplained=left, n_readings=len(found)
    )


def counter_feed(
    ticks: Sequence[Change], powers: Mapping[CounterFeed, Sequence[Change]], spans: Sequence[Span]
) -> dict[CounterFeed, float]:
    """How much of the steps of an energy counter each explanation leaves, as a share of their variance, 0 to 1.

    Args:
        ticks: [n] moments at which the counter was new, with the value in joules.
        powers: of each reading that may feed it, when it was new.
        spans: when the load was on.
    """
    if len(ticks) < _FEWEST:
        return {}
    times = np.array([tick.time_s for tick in ticks])
    lengths = np.diff(times)
    watts = np.diff(np.array([tick.new for tick in ticks])) / lengths
    tick_s = float(np.median(lengths))
    # A reading that is added up at a tick may have been shown from shortly before it on, or longer.
    lags = np.arange(-tick_s, 2 * tick_s, tick_s / _FINER)
    on_s = _OnTime(spans)
    left: dict[CounterFeed, float] = {
        "everything": min(
            _unexplained((on_s.until(times[1:] - lag) - on_s.until(times[:-1] - lag)) / lengths, watts) for lag in lags
        )
    }
    for name, found in powers.items():
        if len(found) >= _FEWEST:
            left[name] = min(_unexplained(_held_mean(found, times - lag), watts) for lag in lags)
    return left


def told_feed(
    left: Mapping[CounterFeed, float], power: ReadingProperties | None, average: ReadingProperties | None = None
) -> CounterFeed | None:
    """The explanation of ``counter_feed`` that holds; None where none does, or two do that are not the same."""
    same = {"power", "average"} if _alike(power, average) else set()
    if power is not None and power.sees_all:
        # Readings that leave out no time are as good as all of the time.
        same |= {"everything", "power"}
    good = {name: share for name, share in left.items() if share <= MOST_UNEXPLAINED}
    if not good:
        return None
    best, *others = sorted(good, key=lambda name: good[name])
    rivals = {name for name in others if max(good[best], _NOISE) > _CLEARLY * good[name]}
    if rivals and not {best, *rivals} <= same:
        return None
    return next(name for name in _BY_PLAINNESS if name in (same if best in same else {best}))


def _alike(one: ReadingProperties | None, other: ReadingProperties | None) -> bool:
    return one is not None and other is not None and abs(one.window_s - other.window_s) <= _SAME * one.window_s


class _OnTime:
    """How long the load has been on."""

    def __init__(self, spans: Sequence[Span]) -> None:
        edges = [edge for span in spans for edge in span]
        on = np.array([(span.end_s - span.start_s, 0.0) for span in spans]).ravel()
        self._edges = np.array(edges)
        self._sums = np.concatenate([[0.0], np.cumsum(on)[:-1]]) if edges else np.array([])

    def until(self, times_s: Floats) -> Floats:
        """Seconds of it up to [n] moments."""
        sums: Floats = np.interp(times_s, self._edges, self._sums)
        return sums


def _least(
    windows_s: Floats, lags_s: Floats, times_s: Floats, values: Floats, on_s: _OnTime
) -> tuple[float, float, float]:
    """Window and lag that leave least of the values unexplained, and how much they leave."""
    best = (float(windows_s[0]), 0.0, 1.0)
    for lag_s in lags_s:
        until = on_s.until(times_s - lag_s)
        for window_s in windows_s:
            left = _unexplained((until - on_s.until(times_s - lag_s - window_s)) / window_s, values)
            if left < best[2]:
                best = (float(window_s), float(lag_s), left)
    return best


def _unexplained(shares: Floats, values: Floats) -> float:
    """The part of the variance of [n] values that no straight line over [n] shares explains."""
    x, y = shares - shares.mean(), values - values.mean()
    spread, whole = float(x @ x), float(y @ y)
    if spread <= 0 or whole <= 0:
        return 1.0
    return max(0.0, 1.0 - float(x @ y) ** 2 / (spread * whole))


def _held_mean(found: Sequence[Change], edges_s: Floats) -> Floats:
    """Means between [n + 1] edges of a reading that holds its value until the next one."""
    times = np.array([change.time_s for change in found])
    values = np.array([change.new for change in found])
    sums = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(times))])
    last = np.clip(np.searchsorted(times, edges_s, side="right") - 1, 0, len(times) - 1)
    until = sums[last] + values[last] * (edges_s - times[last])
    means: Floats = np.diff(until) / np.diff(edges_s)
    return means
