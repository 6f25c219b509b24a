"""Whether more comes than is served: what is in flight then grows through the window, which has no steady state.

The window is cut into ten equal parts, and a line is laid through the mean number of requests in flight in each. The
window is overloaded where the line rises at p < 0.01 (one-sided), and by what matters over the window: 5 % of the
requests that came, so that served is less than 95 % of what comes; and twice the root of what is in flight on average,
as much as independent users make it differ from one moment to another.
"""

import math
from itertools import pairwise

import numpy as np

from llenergymeasure.domain.under_load.load_result import OverloadResult
from llenergymeasure.domain.under_load.traffic import Traffic
from llenergymeasure.domain.warnings import MeasurementWarning

_PARTS = 10
_P_VALUE = 0.01
_SHARE_OF_ARRIVALS = 0.05
_ROOTS = 2.0
# Of fewer nothing can be said.
LEAST_ARRIVALS = 20


def overload_of(traffic: Traffic) -> OverloadResult | None:
    """Whether a window of an open loop is overloaded; None where too few requests came to tell."""
    n_arrived = traffic.n_arrived
    if n_arrived < LEAST_ARRIVALS:
        return None
    edges = np.linspace(traffic.start_s, traffic.end_s, _PARTS + 1)
    means = np.array([traffic.mean_between(*pair) for pair in pairwise(edges)])
    slope, p_value = _rising(means)
    growth = slope * _PARTS
    matters = max(_SHARE_OF_ARRIVALS * n_arrived, _ROOTS * math.sqrt(float(means.mean())))
    return OverloadResult(
        overloaded=p_value < _P_VALUE and growth >= matters,
        n_grown=growth,
        share_of_arrivals=growth / n_arrived,
        p_value=p_value,
    )


def _rising(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float]:
    """Slope of [n] values by the step, and how probable one so large is where there is none."""
    import scipy.stats

    n = values.size
    steps = np.arange(n) - (n - 1) / 2
    squares = float(np.sum(steps**2))
    slope = float(np.sum(steps * values)) / squares
    rest = values - values.mean() - slope * steps
    error = math.sqrt(float(np.sum(rest**2)) / (n - 2) / squares)
    if error <= 1e-12 * max(1.0, abs(slope)):
        # A straight line leaves no doubt, and a level one no slope.
        return slope, 0.0 if slope > 0 else 1.0
    return slope, float(scipy.stats.t.sf(slope / error, n - 2))


def about_overload(found: OverloadResult | None) -> list[MeasurementWarning]:
    """What to say of a window that has no steady state."""
    if found is None or not found.overloaded:
        return []
    return [
        MeasurementWarning(
            "overloaded",
            f"requests in flight grew by {found.n_grown:.3g} over the window, "
            f"{100 * found.share_of_arrivals:.3g} % of those that came, so there is no steady state and every figure "
            "depends on how long was measured",
            "lower load.rate, or read it as a point beyond what can be served",
        )
    ]
