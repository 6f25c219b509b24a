"""Prefill and decode apart, from pairs of windows: one with a single token per answer, one with all of them.

No sensor sees where prefill ends within a batch, so decode is a difference of two windows and comes with an
interval; one that reaches down to zero says that the two could not be told apart.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llenergymeasure.domain.warnings import MeasurementWarning

LEAST_PAIRS = 3
_CONFIDENCE = 0.95
# A sensor that states no bound is off by up to one of its updates at either edge: a fifth of ten of them.
_FEWEST_UPDATES = 10
# Where more than this share of a figure is open because of its windows' bounds, the sensor does not resolve it.
_OPEN_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class PhaseWindow:
    """One window of a pair; tokens are those of all its requests. ``update_period_s`` is the slowest sensor's."""

    duration_sec: float
    energy_j: float | None
    uncertainty_j: float | None
    n_input_tokens: int
    n_output_tokens: int
    update_period_s: float | None = None
    warnings: tuple[MeasurementWarning, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PhaseReading:
    """What was measured of one window; ``uncertainty_j`` is the bound of its energy, None where the sensor has none.

    ``update_period_s`` is how often the slowest sensor behind it has something new; None where nobody says.
    """

    duration_sec: float
    energy_j: float | None
    uncertainty_j: float | None
    update_period_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class PhasePair:
    """The two windows that one difference is of: a single token per answer, and all of them."""

    prefill: PhaseReading
    full: PhaseReading


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its 95 % interval, in the unit of the field that holds it; None is no interval."""

    value: float
    low: float | None
    high: float | None

    @property
    def unresolved(self) -> bool:
        """Whether there may be nothing: the interval reaches down to zero, or there is none."""
        return self.low is None or self.low <= 0


@dataclass(frozen=True, kw_only=True)
class PhaseResult:
    """One phase over one window's requests. ``status`` is of its energy, or of its time where no energy is known.

    Unresolved is what may be nothing, what takes too few updates of a sensor that states no bound, and what the bounds
    of its windows leave half open. ``n_tokens`` are read in prefill, produced in decode.
    """

    status: Literal["resolved", "unresolved"]
    n_tokens: int
    duration_sec: Estimate
    energy_j: Estimate | None
    power_w: Estimate | None
    tokens_per_second: Estimate | None
    energy_per_token_j: Estimate | None


@dataclass(frozen=True, kw_only=True)
class PhasesResult:
    """Prefill and decode of the requests of one window, from ``n_pairs`` pairs, kept in the order they were run in."""

    n_pairs: int
    n_requests: int
    prefill: PhaseResult
    decode: PhaseResult
    pairs: tuple[PhasePair, ...] = ()


def phases_of(pairs: Sequence[tuple[PhaseWindow, PhaseWindow]], n_requests: int) -> PhasesResult:
    """Both phases from [n] pairs of a prefill window and a full one.

    The first token of an answer comes out of prefill, so decode has the full window's output tokens less
    those of the prefill window.

    Raises:
        ValueError: fewer than three pairs, or windows that did not run the same requests.
    """
    if len(pairs) < LEAST_PAIRS:
        raise ValueError(f"{len(pairs)} pairs of windows are too few; {LEAST_PAIRS} are needed")
    counts = {(p.n_input_tokens, f.n_input_tokens, p.n_output_tokens, f.n_output_tokens) for p, f in pairs}
    if len(counts) > 1 or any(p.n_input_tokens != f.n_input_tokens for p, f in pairs):
        raise ValueError("the windows did not run the same tokens, so their difference is no phase")
    n_input, _, n_first, n_output = next(iter(counts))
    prefill, full = [p for p, _ in pairs], [f for _, f in pairs]
    return PhasesResult(
        n_pairs=len(pairs),
        n_requests=n_requests,
        prefill=_phase(n_input, [p.duration_sec for p in prefill], [_energy(p) for p in prefill], _slowest_s(prefill)),
        decode=_phase(
            n_output - n_first,
            [f.duration_sec - p.duration_sec for p, f in pairs],
            [_difference(_energy(f), _energy(p)) for p, f in zip(prefill, full, strict=True)],
            _slowest_s([*prefill, *full]),
        ),
        pairs=tuple(PhasePair(prefill=_reading(p), full=_reading(f)) for p, f in pairs),
    )


def _reading(window: PhaseWindow) -> PhaseReading:
    return PhaseReading(
        duration_sec=window.duration_sec,
        energy_j=window.energy_j,
        uncertainty_j=window.uncertainty_j,
        update_period_s=window.update_period_s,
    )


def _slowest_s(windows: Sequence[PhaseWindow]) -> float | None:
    """The longest update of the sensors of windows; None where no bound is missing, or no period known."""
    return max(
        (w.update_period_s for w in windows if w.uncertainty_j is None and w.update_period_s is not None), default=None
    )


_Joules = tuple[float, float | None] | None


def _energy(window: PhaseWindow) -> _Joules:
    """Joules with their bound; None where no energy is known."""
    return None if window.energy_j is None else (window.energy_j, window.uncertainty_j)


def _difference(full: _Joules, prefill: _Joules) -> _Joules:
    """Both windows may be off to whatever side, and a sensor does not say that its errors do not know of each other."""
    if full is None or prefill is None:
        return None
    return full[0] - prefill[0], None if full[1] is None or prefill[1] is None else full[1] + prefill[1]


def _phase(n_tokens: int, seconds: Sequence[float], joules: Sequence[_Joules], slowest_s: float | None) -> PhaseResult:
    duration = mean_with_interval(seconds)
    known = [j for j in joules if j is not None]
    energy = power = per_token = None
    is_seen = True
    if len(known) == len(joules):
        bounds_j = [bound or 0.0 for _, bound in known]
        energy = mean_with_interval([j for j, _ in known], bounds_j)
        is_seen = statistics.fmean(bounds_j) <= _OPEN_SHARE * abs(energy.value)
        is_seen = is_seen and (slowest_s is None or duration.value >= _FEWEST_UPDATES * slowest_s)
        # A time that was nothing or less in one pair has no power, however sure its mean is.
        if not duration.unresolved and min(seconds) > 0:
            power = mean_with_interval(
                [j / s for (j, _), s in zip(known, seconds, strict=True)],
                [(bound or 0.0) / s for (_, bound), s in zip(known, seconds, strict=True)],
            )
        if n_tokens:
            per_token = _scaled(energy, 1 / n_tokens)
    decisive = duration if energy is None else energy
    return PhaseResult(
        status="resolved" if is_seen and not decisive.unresolved else "unresolved",
        n_tokens=n_tokens,
        duration_sec=duration,
        energy_j=energy,
        power_w=power,
        tokens_per_second=None if duration.unresolved or not n_tokens else _rate(n_tokens, duration),
        energy_per_token_j=per_token,
    )


def mean_with_interval(values: Sequence[float], bounds: Sequence[float] = ()) -> Estimate:
    """Mean of [n] values with its 95 % t interval, widened by what each value's own bound leaves open.

    A bound is of what a sensor may be off by each time to the same side, such as what it never looks at: the mean of
    bounds is added in full, for more values make nothing of it go away. What differs from one reading to the next is
    in the scatter. As sensors do not part the two, all of a bound counts as of the first kind.
    """
    import scipy.stats

    mean = statistics.fmean(values)
    n = len(values)
    if n < LEAST_PAIRS:
        return Estimate(value=mean, low=None, high=None)
    half = float(scipy.stats.t.ppf((1 + _CONFIDENCE) / 2, n - 1)) * statistics.stdev(values) / math.sqrt(n)
    half += statistics.fmean(bounds) if bounds else 0.0
    return Estimate(value=mean, low=mean - half, high=mean + half)


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    """The same in another unit; ``factor`` is positive."""
    low, high = (None if edge is None else edge * factor for edge in (estimate.low, estimate.high))
    return Estimate(value=estimate.value * factor, low=low, high=high)


def _rate(n_tokens: int, duration: Estimate) -> Estimate:
    """Tokens per second of a time that is surely above zero."""
    low = None if duration.high is None else n_tokens / duration.high
    high = None if duration.low is None else n_tokens / duration.low
    return Estimate(value=n_tokens / duration.value, low=low, high=high)
