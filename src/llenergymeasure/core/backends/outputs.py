"""What engines tell of a request that has ended, where they know its tokens one by one."""

import time
from collections.abc import Sequence

from llenergymeasure.domain.inference import FinishReason, Request, RequestOutput, tokens_digest

# Stands in a digest for a token that was not told; no vocabulary has it.
UNTOLD = -1


def answered(
    request: Request,
    ids: Sequence[int],
    times_s: Sequence[float],
    finish_reason: FinishReason,
    *,
    sent_s: float,
    due_s: float | None = None,
    end_s: float | None = None,
) -> RequestOutput:
    """A request and its one answer.

    Args:
        request: as the engine was given it, with token ids.
        ids: [n] tokens up to and with the end token, ``UNTOLD`` where it is not known which.
        times_s: [n] when each was there, in monotonic seconds.
        finish_reason: why there are no more.
        sent_s: when the engine was given it.
        due_s: when the load wanted it to begin.
        end_s: when it ended, where that is not with its last token; None then, and now where there is no token.
    """
    ids, times_s = tuple(ids), tuple(times_s)
    if end_s is None:
        end_s = times_s[-1] if times_s else time.monotonic()
    return RequestOutput(
        index=request.index,
        input_tokens=len(request.token_ids),
        output_tokens=len(ids),
        finish_reason=finish_reason,
        output_digest=tokens_digest(ids),
        input_digest=tokens_digest(request.token_ids),
        due_s=due_s,
        sent_s=sent_s,
        first_token_s=times_s[0] if times_s else None,
        token_times_s=times_s,
        end_s=end_s,
        # Tokens that nobody knows are no answer.
        output_ids=() if UNTOLD in ids else (ids,),
    )


def failed(
    request: Request, why: str, *, sent_s: float, due_s: float | None = None, end_s: float | None = None
) -> RequestOutput:
    """A request that has no answer.

    Args:
        request: as the engine was given it.
        why: in a sentence.
        sent_s: when the engine was given it.
        due_s: when the load wanted it to begin.
        end_s: when it failed; None is now.
    """
    return RequestOutput(
        index=request.index,
        input_tokens=len(request.token_ids),
        output_tokens=0,
        finish_reason="error",
        output_digest="",
        input_digest=tokens_digest(request.token_ids),
        due_s=due_s,
        sent_s=sent_s,
        end_s=time.monotonic() if end_s is None else end_s,
        error=why,
    )
