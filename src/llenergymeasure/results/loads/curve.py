"""What a curve over load says: where it bends, how far promises hold, and what one more request a second takes."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llenergymeasure.domain.phases import Estimate
from llenergymeasure.results.loads.points import LoadPoint, LoadSeries
from llenergymeasure.results.statistics import CONFIDENCE, t_quantile

_FEWEST_POINTS = 4
# So far from the straight line between its ends, both axes scaled to 1, a curve has to lie to have a knee.
_LEAST_BEND = 0.1
_FEWEST_FOR_A_LINE = 3


@dataclass(frozen=True, kw_only=True)
class Knee:
    """The load at which a curve bends most; None where it does not, and why."""

    asked: float | None
    why_none: str | None = None


@dataclass(frozen=True, kw_only=True)
class LoadCurve:
    """What follows from the points of a curve that had a steady state.

    ``highest_kept`` is the highest load up to which every point kept all promises. ``marginal_j`` is the mean power of
    one more request per second (W per request/s, which is J), ``at_no_load_w`` where that line meets no load;
    ``idle_power_w`` was measured with the model loaded and nothing asked. None is not known; ``why_no_marginal`` says
    why.
    """

    series: LoadSeries
    latency_knee: Knee
    energy_knee: Knee
    highest_kept: float | None
    marginal_j: Estimate | None
    at_no_load_w: Estimate | None
    why_no_marginal: str | None
    idle_power_w: float | None


def curve_of(series: LoadSeries) -> LoadCurve:
    """What the points of a curve say."""
    steady = [point for point in series.points if point.is_steady]
    marginal, at_no_load, why = _power_line(steady)
    idle_w = [run.idle_power_w for point in series.points for run in point.runs if run.idle_power_w is not None]
    return LoadCurve(
        series=series,
        latency_knee=_knee(steady, "e2e_p50_s", rising=True),
        energy_knee=_knee(steady, "energy_per_output_token_j", rising=False),
        highest_kept=_highest_kept(series.points),
        marginal_j=marginal,
        at_no_load_w=at_no_load,
        why_no_marginal=why,
        idle_power_w=statistics.fmean(idle_w) if idle_w else None,
    )


def _highest_kept(points: Sequence[LoadPoint]) -> float | None:
    """From the least load on, the last before one that broke a promise, or of which it is not known."""
    highest = None
    for point in points:
        if point.slo_met is not True:
            break
        highest = point.asked
    return highest


def _knee(points: Sequence[LoadPoint], figure: str, *, rising: bool) -> Knee:
    """Where a figure lies furthest below the straight line from its first to its last point (Satopaa et al. 2011).

    Args:
        points: those with a steady state, from the least load on.
        figure: the figure.
        rising: whether it rises with the load, slowly at first, or falls, slowly in the end.
    """
    means = [(point.asked, mean.value) for point in points if (mean := point.mean(figure)) is not None]
    if len(means) < _FEWEST_POINTS:
        return Knee(asked=None, why_none=f"{len(means)} steady points, and a bend takes {_FEWEST_POINTS}")
    asked, values = (np.array(each) for each in zip(*means, strict=True))
    span = float(values[-1] - values[0])
    if (span > 0) is not rising or span == 0:
        return Knee(asked=None, why_none=f"it does not {'rise' if rising else 'fall'} with the load")
    along = (asked - asked[0]) / (asked[-1] - asked[0])
    # Scaled, a rising curve goes from 0 to 1 and a falling one from 1 to 0.
    height = (values - values[0]) / span if rising else (values - values[-1]) / -span
    below = (along if rising else 1 - along) - height
    place = int(np.argmax(below))
    if below[place] < _LEAST_BEND:
        return Knee(asked=None, why_none="it is nearly a straight line")
    return Knee(asked=float(asked[place]))


def _power_line(points: Sequence[LoadPoint]) -> tuple[Estimate | None, Estimate | None, str | None]:
    """Mean power against requests per second that came: slope and beginning by least squares, or why there is none."""
    runs = [(run.arrived_per_second, run.power_w) for point in points for run in point.runs if run.power_w is not None]
    n_loads = sum(any(run.power_w is not None for run in point.runs) for point in points)
    if n_loads < _FEWEST_FOR_A_LINE:
        return None, None, f"{n_loads} steady points with a power, and a line takes {_FEWEST_FOR_A_LINE}"
    arrived, watts = (np.array(each, dtype=float) for each in zip(*runs, strict=True))
    n, middle = arrived.size, float(arrived.mean())
    squares = float(np.sum((arrived - middle) ** 2))
    if squares == 0:
        return None, None, "as many requests came at every point"
    slope = float(np.sum((arrived - middle) * watts)) / squares
    start = float(watts.mean()) - slope * middle
    variance = float(np.sum((watts - start - slope * arrived) ** 2)) / (n - 2)
    quantile = t_quantile(n - 2, (1 + CONFIDENCE) / 2)
    half = quantile * math.sqrt(variance / squares)
    half_of_start = quantile * math.sqrt(variance * (1 / n + middle**2 / squares))
    return (
        Estimate(value=slope, low=slope - half, high=slope + half),
        Estimate(value=start, low=start - half_of_start, high=start + half_of_start),
        None,
    )
