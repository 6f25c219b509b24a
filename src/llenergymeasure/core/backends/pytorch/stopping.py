"""Ends rows of a batch at lengths of their own."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def row_ends(limits: Sequence[int], n_answers: int, prompt_width: int, device: "torch.device") -> "list[RowEnds]":
    """What ends the rows of a batch, as stopping criteria of ``generate``; nothing where its own limit does.

    Args:
        limits: [n requests] most new tokens of each.
        n_answers: rows of each request.
        prompt_width: tokens of the padded prompt.
        device: where the rows lie.
    """
    return [] if len(set(limits)) == 1 else [RowEnds(limits, n_answers, prompt_width, device)]


class RowEnds:
    """Says of each row whether it has as many tokens as it may have.

    A finished row stays in the batch, as one that met its end token does, until the last has finished. What
    it is given meanwhile is cut off afterwards.
    """

    def __init__(self, limits: Sequence[int], n_answers: int, prompt_width: int, device: "torch.device") -> None:
        import torch

        self._ends = torch.tensor(limits, device=device).repeat_interleave(n_answers) + prompt_width

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - the library's signature
        """[rows] booleans."""
        return self._ends <= input_ids.shape[1]
