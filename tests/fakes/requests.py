"""Rows of a result, for what looks at tokens alone."""

from collections.abc import Sequence

from llenergymeasure.domain.inference import RequestOutput, tokens_digest


def answered(
    index: int, answers: Sequence[tuple[int, ...]], *, n_input: int = 1, given: Sequence[int] | None = None
) -> RequestOutput:
    """A request that got these answers, token ids each, to what it was given; nobody looked at the clock.

    An engine that does not tell what it gave has only the number of its tokens.
    """
    return RequestOutput(
        index=index,
        input_tokens=n_input if given is None else len(given),
        output_tokens=sum(map(len, answers)),
        finish_reason="length",
        output_digest=tokens_digest(*answers),
        input_digest=None if given is None else tokens_digest(given),
        output_ids=tuple(answers),
    )
