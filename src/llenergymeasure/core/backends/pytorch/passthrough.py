"""Keys of ``passthrough_kwargs`` that nobody would take."""

import difflib
from collections.abc import Sequence
from typing import Any

from llenergymeasure.config.engines.pytorch_left_out import HANDED_ON
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import known_names


def unknown_passthrough(config: ExperimentConfig, description: Any) -> list[str]:
    """A line for each key of ``passthrough_kwargs`` that neither transformers nor the model knows.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    rest = [name for name in config.passthrough_kwargs if name not in known_names() and name not in HANDED_ON]
    private = [
        f"passthrough_kwargs.{name}: a name with _ before it is the library's own affair; remove it"
        for name in rest
        if name.startswith("_")
    ]
    rest = [name for name in rest if not name.startswith("_")]
    if not rest:
        return private
    known = [*known_names(), *HANDED_ON, *(name for name in vars(description) if not name.startswith("_"))]
    return private + [
        f"passthrough_kwargs.{name}: neither generate, nor from_pretrained, nor the configuration of this model has "
        f"such a parameter{_like(name, known)}"
        for name in rest
        if name not in known
    ]


def _like(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else "; remove it, or check its spelling"
