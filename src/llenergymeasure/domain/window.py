"""What of a run's requests belongs to the measured window."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llenergymeasure.domain.inference import RequestOutput


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """Requests at work at the two edges of a window that began or ended in the middle of a run."""

    n_at_start: int
    n_at_end: int


@dataclass(frozen=True, kw_only=True)
class WindowCounts:
    """Tokens read and produced in a window, and the requests that ended in it."""

    n_requests: int
    input_tokens: int
    output_tokens: int


def counts_of(requests: Sequence[RequestOutput]) -> WindowCounts:
    """Counts of a window in which [n] requests began and ended; one that failed gave the tokens it gave."""
    return WindowCounts(
        n_requests=sum(r.succeeded for r in requests),
        input_tokens=sum(r.input_tokens for r in requests),
        output_tokens=sum(r.output_tokens for r in requests),
    )


def counts_between(requests: Iterable[RequestOutput], start_s: float, end_s: float) -> WindowCounts:
    """Counts of a window that cuts through requests: each token belongs where its own time lies.

    A prompt is read by the time of the first token. Where parts of an answer came whose tokens nobody tells apart, they
    are spread evenly over the parts. A request whose engine tells no times at all belongs, as a whole, to the window in
    which it ended: nothing is made up for it.

    Args:
        requests: every request that was in flight in the window, those that were cut off too.
        start_s: its start, on the clock of the requests; what happens just then is before it.
        end_s: its end.
    """

    def inside(time_s: float | None) -> bool:
        return time_s is not None and start_s < time_s <= end_s

    n_requests = n_input = n_output = 0
    for request in requests:
        n_requests += inside(request.end_s) and request.succeeded
        times_s = request.token_times_s or request.chunk_times_s
        if not times_s:
            n_input += request.input_tokens * inside(request.end_s)
            n_output += request.output_tokens * inside(request.end_s)
            continue
        n_input += request.input_tokens * inside(times_s[0])
        n_output += _tokens_by(end_s, request) - _tokens_by(start_s, request)
    return WindowCounts(n_requests=n_requests, input_tokens=n_input, output_tokens=n_output)


def _tokens_by(moment_s: float, request: RequestOutput) -> int:
    """Output tokens of a request until a moment, so that those of windows side by side add up.

    Of parts whose tokens nobody tells apart each has as many as any other, in whole ones.
    """
    times_s, chunks_s = request.token_times_s, request.chunk_times_s
    if not times_s:
        return round(request.output_tokens * bisect_right(chunks_s, moment_s) / len(chunks_s))
    # Answers of a request are generated in step: at the time of the k-th token each that is so long has one.
    return sum(bisect_right(times_s, moment_s, hi=min(n, len(times_s))) for n in request.answer_lengths)


def touches(request: RequestOutput, start_s: float, end_s: float) -> bool:
    """Whether a request was in flight in the window, as far as its engine tells."""
    began_s, ended_s = request.sent_s, request.end_s
    return (began_s is None or began_s <= end_s) and (ended_s is None or ended_s > start_s)
