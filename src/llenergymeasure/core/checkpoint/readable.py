"""A model's transformers configuration, or why there is none that could be measured."""

from collections.abc import Callable
from typing import Any

from llenergymeasure.core.checkpoint.architecture import built_without_weights
from llenergymeasure.core.checkpoint.description import too_small
from llenergymeasure.core.checkpoint.quiet import quietly
from llenergymeasure.core.checkpoint.source import is_gguf
from llenergymeasure.core.checkpoint.task import encoder_decoder, not_causal, runs_own_code
from llenergymeasure.exceptions import BackendError, contained, first_line


def described(name: str, problem: str | None, read: Callable[[], Any]) -> tuple[Any | None, list[str]]:
    """A model's transformers configuration, or why there is none.

    Args:
        name: the model, for the message.
        problem: why it cannot be had, where that is known.
        read: reads its configuration, and may raise what it will.
    """
    if problem is not None:
        return None, [problem]
    try:
        with contained(), quietly():
            description = read()
            problems = [f"model {name!r}: {line}" for line in too_small(description)]
    except BackendError as error:
        return None, [str(error)]
    except Exception as error:  # noqa: BLE001 - a model's own code, the hub and the parser raise what they will
        what = "its header, which is cut off or damaged," if is_gguf(name) else "its config.json"
        return None, [f"model {name!r}: {what} cannot be read: {first_line(error)}"]
    return (None, problems) if problems else (description, [])


def not_to_be_measured(name: str, description: Any, *, trusted: bool) -> list[str]:
    """Why a model is of no use here whatever its weights: it writes no text, or cannot be built at all.

    Args:
        name: the model, for the message.
        description: its transformers configuration.
        trusted: whether its own code may be run, which then says what it is.
    """
    other = not_causal(description, trust_remote_code=trusted)
    if other is not None:
        return [f"model {name!r} cannot be measured: {other}"]
    if runs_own_code(description, trust_remote_code=trusted):
        return []
    try:
        with contained(), quietly():
            model = built_without_weights(description)
    except Exception as error:  # noqa: BLE001 - each architecture checks its sizes in its own way, or not at all
        return [f"model {name!r}: no model can be built as its config.json says: {first_line(error)}"]
    if getattr(model.config, "is_encoder_decoder", False) is True:
        return [f"model {name!r} cannot be measured: {encoder_decoder(description)}"]
    return []
