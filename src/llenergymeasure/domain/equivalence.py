"""Whether two runs said the same: an optimisation that changes the answer should be seen to."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from llenergymeasure.domain.inference import RequestOutput

Answers = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first difference of one answer: ``position`` counts its tokens from 0, None is an answer that has ended."""

    index: int
    answer: int
    position: int
    first: int | None
    second: int | None


@dataclass(frozen=True, kw_only=True)
class OutputComparison:
    """The outputs of two runs of the same prompts.

    Of each answer the tokens before its first difference are equal: what follows one is another text.
    ``n_tokens`` counts, answer by answer, the longer of the two. ``n_left_out`` requests were not answered in both.
    Of ``n_inputs_by_length`` requests no more is known than that both read equally many tokens.
    """

    n_requests: int
    n_identical: int
    n_tokens: int
    n_equal_tokens: int
    differences: tuple[Difference, ...] = ()
    n_left_out: int = 0
    n_inputs_by_length: int = 0

    @property
    def identical(self) -> bool:
        """Whether every token of every request is the same."""
        return self.n_identical == self.n_requests

    @property
    def equal_token_share(self) -> float:
        """Equal tokens over all of them, 0 to 1; 1 for no tokens at all."""
        return self.n_equal_tokens / self.n_tokens if self.n_tokens else 1.0


def compare_outputs(first: Mapping[int, Answers], second: Mapping[int, Answers]) -> OutputComparison:
    """Compare two runs, request by request.

    Args:
        first: {index of the request: [answers][tokens]}.
        second: the same of the other run.

    Raises:
        ValueError: a request is in one of them only, or has more answers in one.
    """
    unpaired = sorted(set(first) ^ set(second))
    if unpaired:
        more = f" and {len(unpaired) - 1} more" if len(unpaired) > 1 else ""
        raise ValueError(f"request {unpaired[0]}{more} is in one of the runs only")
    differences: list[Difference] = []
    n_tokens = n_equal = 0
    for index in sorted(first):
        if len(first[index]) != len(second[index]):
            raise ValueError(
                f"request {index} has {len(first[index])} answers in one run, {len(second[index])} in the other"
            )
        for answer, (ours, theirs) in enumerate(zip(first[index], second[index], strict=True)):
            longest = max(len(ours), len(theirs))
            position = longest if ours == theirs else next(_differing(ours, theirs), longest)
            n_tokens += longest
            n_equal += position
            if position < longest:
                differences.append(
                    Difference(
                        index=index,
                        answer=answer,
                        position=position,
                        first=ours[position] if position < len(ours) else None,
                        second=theirs[position] if position < len(theirs) else None,
                    )
                )
    return OutputComparison(
        n_requests=len(first),
        n_identical=len(first) - len({d.index for d in differences}),
        n_tokens=n_tokens,
        n_equal_tokens=n_equal,
        differences=tuple(differences),
    )


def outputs_digest(requests: Sequence[RequestOutput]) -> str:
    """SHA-256, in hex, over the outputs of [n] requests by their index; equal for equal tokens, whatever the order."""
    return _digest_of_rows([(r.index, r.output_digest) for r in requests])


def inputs_digest(requests: Sequence[RequestOutput]) -> str | None:
    """The same over what [n] requests were given; None where an engine does not tell it of all of them."""
    rows = [(r.index, r.input_digest) for r in requests if r.input_digest is not None]
    return _digest_of_rows(rows) if len(rows) == len(requests) else None


def _digest_of_rows(rows: Sequence[tuple[int, str]]) -> str:
    return hashlib.sha256("\n".join(f"{index} {digest}" for index, digest in sorted(rows)).encode()).hexdigest()


def _differing(ours: Sequence[int], theirs: Sequence[int]) -> Iterator[int]:
    return (i for i, (a, b) in enumerate(zip_longest(ours, theirs)) if a != b)
