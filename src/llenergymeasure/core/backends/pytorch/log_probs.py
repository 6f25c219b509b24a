"""How probable a transformers model finds the tokens of a text."""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

# Scores that are held in float32 at a time, beside those that the model gave in its own format: 64 MiB.
_SCORES_AT_A_TIME = 2**24


def log_probs(model: Any, token_ids: Sequence[int], scores_at_a_time: int = _SCORES_AT_A_TIME) -> list[float]:
    """Natural logarithms of the probability of each of [n] tokens but the first, given those before it.

    One pass over all of them, without a cache, as no token is read twice; in float32 whatever the model computes in.

    Args:
        model: in evaluation mode, as ``generate`` runs it.
        token_ids: [n] of one text, without padding.
        scores_at_a_time: most of them in float32, in rows of the whole vocabulary.
    """
    import torch

    with torch.inference_mode(), _uncompiled():
        ids = torch.tensor([list(token_ids)], device=model.device)
        # Those of virtual tokens, which an adapter may put before the text, are no part of it.
        scores = model(**_arguments(model, ids)).logits[0, -ids.shape[1] :][:-1]
        targets = ids[0, 1:].to(scores.device)
        if len(scores) != len(targets):
            raise ValueError(f"the model gave scores after {len(scores) + 1} of {ids.shape[1]} tokens")
        n_rows = max(1, scores_at_a_time // scores.shape[-1])
        found: list[float] = []
        for begin in range(0, len(targets), n_rows):
            rows = scores[begin : begin + n_rows].float().log_softmax(-1)
            found += rows.gather(-1, targets[begin : begin + n_rows, None])[:, 0].tolist()
    return found


def _arguments(model: Any, ids: Any) -> dict[str, Any]:
    """What the model is called with; recurrent ones and code of others need not know of masks and caches."""
    import torch

    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    understood = inspect.signature(plain.forward).parameters
    beside = {"attention_mask": torch.ones_like(ids), "use_cache": False, "return_dict": True}
    return {"input_ids": ids, **{name: value for name, value in beside.items() if name in understood}}


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    """Without compiling graphs for shapes that are run a few times: they would take minutes."""
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield
