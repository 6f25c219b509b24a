"""Which requests were at work where a window began or ended."""

from llenergymeasure.domain.inference import RequestOutput


def never_began(output: RequestOutput) -> bool:
    """Whether an engine tells of a request, when the load was cancelled, that it had only waited for."""
    return output.finish_reason == "cancelled" and output.sent_s is None and not output.output_tokens


def in_flight_at(output: RequestOutput, time_s: float) -> bool:
    """Whether a request was at work at an edge, in monotonic seconds."""
    began = output.sent_s is None or output.sent_s < time_s
    # One that was cancelled may have been told just at the edge.
    return began and (output.end_s is None or output.end_s > time_s or output.finish_reason == "cancelled")
