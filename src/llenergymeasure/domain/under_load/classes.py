"""Energy of a request by its class, short or long, from how joules go with what was served in each part of the window.

What a part of the window took beyond idling with the model loaded is the sum over classes of the requests served in it
times what one of them takes; least squares give that, with Student's interval of what is left over. A request that
several parts served counts in each by the share of its tokens there. Nobody divides the energy of a part among its
requests. Where the classes never come apart from each other, or an interval reaches down to zero, it is unresolved.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.phases import Estimate
from llenergymeasure.domain.under_load.load_result import ClassEnergy, ClassesResult, SubWindow
from llenergymeasure.domain.under_load.traffic import Traffic
from llenergymeasure.domain.window import counts_between, touches

_Numbers = npt.NDArray[np.float64]
_NAMES = ("short", "long")
# Parts beyond those that two unknowns take.
_LEAST_FREEDOM = 3
# Where the numbers of short and long requests go together to this, in the cosine between them, nothing parts them.
_TOGETHER = 0.9999
_CONFIDENCE = 0.95


def classes_of(
    traffic: Traffic, parts: Sequence[SubWindow], idle_power_w: float | None, most_of_short: float | None = None
) -> ClassesResult | None:
    """Energy per request of the short and the long answers; None where no joules of parts are known.

    Args:
        traffic: the requests.
        parts: [n] parts of the window with their joules.
        idle_power_w: power of idling with the model loaded, of the same devices.
        most_of_short: most tokens of a short answer; None is the median of those that were served.
    """
    served = [r for r in traffic.requests if r.succeeded and r.output_tokens]
    if not parts or not served or any(part.part_energy_j is None for part in parts):
        return None
    if most_of_short is None:
        most_of_short = float(statistics.median(r.output_tokens for r in served))
    groups = [
        [r for r in served if r.output_tokens <= most_of_short],
        [r for r in served if r.output_tokens > most_of_short],
    ]
    counts = np.array([[_n_served(group, traffic, part) for group in groups] for part in parts])
    seconds = np.array([part.end_s - part.start_s for part in parts])
    joules = np.array([part.part_energy_j for part in parts], dtype=float)
    why = _why_not(counts, idle_power_w)
    estimates: list[Estimate | None] = [None, None]
    if why is None and idle_power_w is not None:
        estimates = [*_least_squares(counts, joules - idle_power_w * seconds)]
    return ClassesResult(
        n_most_tokens_of_short=most_of_short,
        n_sub_windows=len(parts),
        classes=tuple(
            _class(name, float(n), estimate, why)
            for name, n, estimate in zip(_NAMES, counts.sum(axis=0), estimates, strict=True)
        ),
    )


def _n_served(group: Sequence[RequestOutput], traffic: Traffic, part: SubWindow) -> float:
    """Requests served in a part: of each the share of its tokens that came in it."""
    start_s, end_s = traffic.start_s + part.start_s, traffic.start_s + part.end_s
    return sum(
        counts_between([r], start_s, end_s).output_tokens / r.output_tokens for r in group if touches(r, start_s, end_s)
    )


def _why_not(counts: _Numbers, idle_power_w: float | None) -> str | None:
    """Why parts with [n][classes] requests tell no energy of a class."""
    n_parts, n_classes = counts.shape
    if idle_power_w is None:
        return "the power of idling with the model loaded is not known"
    if n_parts < n_classes + _LEAST_FREEDOM:
        return f"{n_parts} parts of the window are too few; {n_classes + _LEAST_FREEDOM} are needed"
    if not counts.sum(axis=0).all():
        return "all answers are of one class"
    lengths = np.linalg.norm(counts, axis=0)
    if float(counts[:, 0] @ counts[:, 1]) >= _TOGETHER * float(lengths[0] * lengths[1]):
        return "short and long requests came in the same proportion in every part, so nothing parts them"
    return None


def _least_squares(counts: _Numbers, joules: _Numbers) -> list[Estimate]:
    """Joules of a request of each class with 95 % intervals, from [n][classes] requests and [n] joules."""
    import scipy.stats

    n_parts, n_classes = counts.shape
    inverse = np.linalg.inv(counts.T @ counts)
    values = inverse @ counts.T @ joules
    freedom = n_parts - n_classes
    variance = float(np.sum((joules - counts @ values) ** 2)) / freedom
    quantile = float(scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, freedom))
    halves = [quantile * math.sqrt(variance * float(inverse[i, i])) for i in range(n_classes)]
    return [
        Estimate(value=float(value), low=float(value) - half, high=float(value) + half)
        for value, half in zip(values, halves, strict=True)
    ]


def _class(name: str, n_requests: float, estimate: Estimate | None, why: str | None) -> ClassEnergy:
    if why is None and estimate is not None and estimate.unresolved:
        why = "its interval reaches down to zero"
    return ClassEnergy(
        name=name,
        n_requests=n_requests,
        status="resolved" if why is None else "unresolved",
        per_request_j=estimate,
        why_not=why,
    )
