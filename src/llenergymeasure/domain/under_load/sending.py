"""How late our own sending was: an open loop is one only where requests leave when they are due."""

from bisect import bisect_right
from collections.abc import Sequence

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.metrics import Distribution
from llenergymeasure.domain.under_load.load_result import SendingResult
from llenergymeasure.domain.under_load.traffic import Traffic
from llenergymeasure.domain.warnings import MeasurementWarning

MOST_OF_THE_GAP = 0.01


def sending_of(traffic: Traffic, n_most_in_flight: int | None) -> SendingResult | None:
    """Lateness of the requests that were due in the window and sent; None where none has a time of its own.

    Args:
        traffic: the requests.
        n_most_in_flight: how many the engine takes at a time: one that was due when there were as many waited for it,
            and not for us. None where it takes them all.
    """
    due = [r for r in traffic.requests if traffic.holds(r.due_s) and r.sent_s is not None]
    late_s = [
        max(0.0, r.sent_s - r.due_s)
        for r, n_sent in zip(due, _n_sent_when_due(traffic.requests, due), strict=True)
        if r.due_s is not None and r.sent_s is not None and (n_most_in_flight is None or n_sent < n_most_in_flight)
    ]
    found = Distribution.of(late_s)
    n_arrived = traffic.n_arrived
    if found is None or not n_arrived:
        return None
    gap_s = traffic.seconds / n_arrived
    return SendingResult(late_s=found, late_max_s=max(late_s), share_of_gap=found.mean / gap_s)


def _n_sent_when_due(requests: Sequence[RequestOutput], due: Sequence[RequestOutput]) -> list[int]:
    """For each of [n] requests how many the engine had when it was due."""
    sent = sorted(r.sent_s for r in requests if r.sent_s is not None)
    ended = sorted(r.end_s for r in requests if r.sent_s is not None and r.end_s is not None)
    return [bisect_right(sent, r.due_s) - bisect_right(ended, r.due_s) for r in due if r.due_s is not None]


def about_sending(found: SendingResult | None) -> list[MeasurementWarning]:
    """What to say where requests left later than the load wanted."""
    if found is None or found.share_of_gap <= MOST_OF_THE_GAP:
        return []
    return [
        MeasurementWarning(
            "sending_late",
            f"requests were sent {1e3 * found.late_s.mean:.3g} ms after they were due on average, "
            f"{100 * found.share_of_gap:.3g} % of the mean time between them; {1e3 * found.late_max_s:.3g} ms at most",
            "keep processors free for llem, or lower load.rate",
        )
    ]
