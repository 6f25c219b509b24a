"""What was promised to those who send requests, held against what each of them got.

A request is good where it succeeded and met every promise. It counts where it ended, and its tokens where their own
times lie, as everywhere: so where all are good, joules per good token are joules per token.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llenergymeasure.domain.inference import RequestOutput, times_per_token_s
from llenergymeasure.domain.metrics import VALUES_NEEDED
from llenergymeasure.domain.under_load.load_result import PromisedLatency, PromisesResult
from llenergymeasure.domain.under_load.traffic import Traffic
from llenergymeasure.domain.window import counts_between

_Latency = Literal["ttft", "tpot", "e2e"]
_KINDS: tuple[_Latency, ...] = ("ttft", "tpot", "e2e")
_PERCENTILE = 0.95


def promises_of(traffic: Traffic, slo: Mapping[str, Any] | None, energy_j: float | None) -> PromisesResult | None:
    """What of the promises was kept; None where nothing was promised.

    Args:
        traffic: the requests.
        slo: the section ``slo`` of the configuration.
        energy_j: joules of the window, None where they are not known.
    """
    limits = {kind: float(s) for kind in _KINDS if (s := (slo or {}).get(f"{kind}_p95_s")) is not None}
    if not limits:
        return None
    ended = traffic.ended
    promised = tuple(_promised(kind, limit_s, ended) for kind, limit_s in limits.items())
    verdicts = [each.met for each in promised]
    n_good = sum(_is_good(r, limits) for r in ended)
    good = [r for r in traffic.requests if _is_good(r, limits)]
    n_tokens = counts_between(good, traffic.start_s, traffic.end_s).output_tokens
    return PromisesResult(
        promised=promised,
        # One that was broken is enough, whatever is not known of the others.
        met=False if False in verdicts else None if None in verdicts else True,
        n_ended=len(ended),
        n_good=n_good,
        good_share=n_good / len(ended) if ended else None,
        n_good_output_tokens=n_tokens,
        good_requests_per_second=n_good / traffic.seconds,
        good_tokens_per_second=n_tokens / traffic.seconds,
        joules_per_good_token=None if energy_j is None or not n_tokens else energy_j / n_tokens,
    )


def _latency_s(request: RequestOutput, kind: _Latency) -> float | None:
    """Of several answers the slowest one's; None for a single token, which has no time after the first."""
    if kind == "tpot":
        return max(times_per_token_s(request), default=None)
    return request.ttft_s if kind == "ttft" else request.e2e_s


def _is_good(request: RequestOutput, limits: Mapping[_Latency, float]) -> bool:
    return request.succeeded and all(_keeps(request, kind, limit_s) for kind, limit_s in limits.items())


def _keeps(request: RequestOutput, kind: _Latency, limit_s: float) -> bool:
    """Whether a request that succeeded met a promise; one that nobody timed did not, and a single token has no TPOT."""
    found_s = _latency_s(request, kind)
    if found_s is None:
        return kind == "tpot" and request.output_tokens <= 1
    return found_s <= limit_s


def _promised(kind: _Latency, limit_s: float, ended: Sequence[RequestOutput]) -> PromisedLatency:
    """The percentile over all that ended, of which one that failed is later than any limit."""
    values = [math.inf if not r.succeeded else _latency_s(r, kind) for r in ended]
    known = [s for s in values if s is not None]
    p95_s = _percentile_s(known)
    met = None if len(known) < VALUES_NEEDED["p95"] else p95_s <= limit_s
    return PromisedLatency(latency=kind, limit_s=limit_s, p95_s=p95_s if math.isfinite(p95_s) else None, met=met)


def _percentile_s(values: Sequence[float]) -> float:
    """By linear interpolation between finite values; infinite where it lies above the last of them, or of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.inf
    place = _PERCENTILE * (len(ordered) - 1)
    below = math.floor(place)
    low, share = ordered[below], place - below
    return low if share == 0 else low + (ordered[below + 1] - low) * share
