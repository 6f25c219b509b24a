"""What of a run's requests belongs to the measured window."""

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
        ended = inside(request.end_s) and request.succeeded
        n_requests += ended
        times_s = request.token_times_s
        if not times_s and request.chunk_times_s:
            chunks_s = request.chunk_times_s
            n_input += request.input_tokens * inside(chunks_s[0])
            before, by_end = (sum(chunk_s <= edge_s for chunk_s in chunks_s) for edge_s in (start_s, end_s))
            n_output += _by(by_end, request) - _by(before, request)
            continue
        if not times_s:
            n_input += request.input_tokens * inside(request.end_s)
            n_output += request.output_tokens * inside(request.end_s)
            continue
        n_input += request.input_tokens * inside(times_s[0])
        # Answers of a request are generated in step: at the time of the k-th token each that is so long has one.
        n_output += sum(inside(time_s) for length in request.answer_lengths for time_s in times_s[:length])
    return WindowCounts(n_requests=n_requests, input_tokens=n_input, output_tokens=n_output)


def _by(n_chunks: int, request: RequestOutput) -> int:
    """Whole tokens in the first chunks of an answer, where all are alike; those of windows side by side add up."""
    return round(request.output_tokens * n_chunks / len(request.chunk_times_s))


def touches(request: RequestOutput, start_s: float, end_s: float) -> bool:
    """Whether a request was in flight in the window, as far as its engine tells."""
    began_s, ended_s = request.sent_s, request.end_s
    return (began_s is None or began_s <= end_s) and (ended_s is None or ended_s > start_s)
