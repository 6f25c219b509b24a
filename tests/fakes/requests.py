"""Rows of a result, for what looks at tokens alone."""

from collections.abc import Sequence

from llenergymeasure.domain.inference import RequestOutput, tokens_digest


def answered(index: int, answers: Sequence[tuple[int, ...]]) -> RequestOutput:
    """A request of one token that got these answers, token ids each; nobody looked at the clock."""
    return RequestOutput(
        index=index,
        input_tokens=1,
        output_tokens=sum(map(len, answers)),
        ttft_s=None,
        e2e_s=None,
        finish_reason="length",
        output_digest=tokens_digest(*answers),
        output_ids=tuple(answers),
    )
