"""Requests and records of loads whose every figure can be worked out by hand."""

from collections.abc import Sequence
from typing import Any

from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.under_load.traffic import Traffic


def request(due_s: float | None, sent_s: float, end_s: float | None, **more: Any) -> RequestOutput:
    """A request of one prompt token and, unless something else is said, two output tokens that nobody timed."""
    given: dict[str, Any] = {
        "index": 0, "input_tokens": 1, "output_tokens": 2, "finish_reason": "stop", "output_digest": "",
        "due_s": due_s, "sent_s": sent_s, "end_s": end_s,
    }  # fmt: skip
    return RequestOutput(**given | more)


def failed(due_s: float, end_s: float | None, **more: Any) -> RequestOutput:
    """A request that failed without a token."""
    return request(due_s, due_s, end_s, finish_reason="error", error="no", output_tokens=0, **more)


def traffic(requests: Sequence[RequestOutput], start_s: float = 100.0, end_s: float = 110.0) -> Traffic:
    """A window of ten seconds."""
    return Traffic(requests, start_s, end_s)
