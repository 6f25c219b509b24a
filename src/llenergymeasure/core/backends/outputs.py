"""What engines tell of a request that has ended, where they know its tokens one by one."""

import time
from collections.abc import Sequence
from itertools import zip_longest

from llenergymeasure.domain.inference import ErrorKind, FinishReason, Request, RequestOutput, tokens_digest

# Stands in a digest for a token that was not told; no vocabulary has it.
UNTOLD = -1


def answered(
    request: Request,
    answers: Sequence[Sequence[int]],
    times_s: Sequence[Sequence[float]],
    finish_reason: FinishReason,
    *,
    sent_s: float,
    due_s: float | None = None,
    end_s: float | None = None,
) -> RequestOutput:
    """A request and its answers.

    Args:
        request: as the engine was given it, with token ids.
        answers: [answers][tokens] up to and with the end token, ``UNTOLD`` where it is not known which.
        times_s: [answers][tokens] when each was there, in monotonic seconds; a token of the request is there when the
            last of its answers that get so far has as many.
        finish_reason: why there are no more.
        sent_s: when the engine was given it.
        due_s: when the load wanted it to begin.
        end_s: when it ended, where that is not with its last token; None then, and now where there is no token.
    """
    told = tuple(map(tuple, answers)) or ((),)
    steps_s = tuple(max(time_s for time_s in step if time_s is not None) for step in zip_longest(*times_s))
    if end_s is None:
        end_s = steps_s[-1] if steps_s else time.monotonic()
    return RequestOutput(
        index=request.index,
        input_tokens=len(request.token_ids),
        output_tokens=sum(map(len, told)),
        finish_reason=finish_reason,
        output_digest=tokens_digest(*told),
        input_digest=tokens_digest(request.token_ids),
        due_s=due_s,
        sent_s=sent_s,
        first_token_s=steps_s[0] if steps_s else None,
        token_times_s=steps_s,
        end_s=end_s,
        # Tokens that nobody knows are no answer.
        output_ids=() if any(UNTOLD in ids for ids in told) else told,
    )


def failed(
    request: Request,
    why: str,
    *,
    sent_s: float,
    due_s: float | None = None,
    end_s: float | None = None,
    kind: ErrorKind | None = None,
) -> RequestOutput:
    """A request that has no answer.

    Args:
        request: as the engine was given it.
        why: in a sentence.
        sent_s: when the engine was given it.
        due_s: when the load wanted it to begin.
        end_s: when it failed; None is now.
        kind: of the failure; None where the engine has no kinds.
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
        error_kind=kind,
    )
