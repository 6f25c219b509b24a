"""Whether requests fit their model: ids that it has, and positions where it has a table of them."""

import importlib.util
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.core.checkpoint.architecture import position_rows, skeleton
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.checkpoint.tokenizer import read_description
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ConfigError, PreFlightError, contained

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Room:
    """What a model has room for: token ids, and tokens of a prompt with its answer; None where it is not told.

    ``is_table`` says that the positions are rows of a table, and that one more is an error and no matter of quality.
    """

    n_ids: int | None = None
    n_positions: int | None = None
    is_table: bool = False


def room_of(checkpoint: Checkpoint, most_tokens: int) -> Room:
    """The room of a checkpoint for requests of at most ``most_tokens`` tokens, by its description.

    Only where these are more than the model was made for is the model itself looked at, without its weights.
    """
    try:
        with contained():
            description = read_description(checkpoint)
            text = description.get_text_config()
    except Exception as error:  # noqa: BLE001 - the library raises what it will; whoever loads the model tells it better
        _log.debug("the description of %s cannot be read: %s", checkpoint.source.location, error)
        return Room()
    n_ids, n_positions = _count(text, "vocab_size"), _count(text, "max_position_embeddings")
    if n_positions is None or most_tokens <= n_positions:
        return Room(n_ids, n_positions)
    n_rows = _rows_of_the_table(description, checkpoint)
    return Room(n_ids, n_positions if n_rows is None else n_rows, is_table=n_rows is not None)


def check_fit(requests: Sequence[Request], room: Room, model: str) -> tuple[MeasurementWarning, ...]:
    """Refuse [n] requests that the model would fail on, and say of which it was not made for.

    Args:
        requests: with token ids.
        room: that of the model.
        model: its name, for an error.

    Raises:
        PreFlightError: an id is beyond the model's.
        ConfigError: a prompt with its answer is longer than the table of positions.
    """
    highest = max((max(r.token_ids) for r in requests if r.token_ids), default=0)
    if room.n_ids is not None and highest >= room.n_ids:
        raise PreFlightError(
            f"model {model!r}: its tokenizer gives token id {highest}, and the model has ids up to {room.n_ids - 1} "
            "(vocab_size in config.json); take tokenizer and weights from the same place"
        )
    longest = max(requests, key=n_positions_of)
    if room.n_positions is None or n_positions_of(longest) <= room.n_positions:
        return ()
    told = (
        f"a prompt of {len(longest.token_ids)} tokens with an answer of up to {longest.max_output_tokens} needs "
        f"{n_positions_of(longest)} positions, and the model"
    )
    if room.is_table:
        raise ConfigError(
            f"{told} {model!r} has {room.n_positions}: lower max_input_tokens or max_output_tokens, together to at "
            f"most {room.n_positions + 1}"
        )
    return (_beyond_context(f"{told} was made for {room.n_positions}"),)


def beyond_context(outputs: Sequence[RequestOutput], room: Room) -> tuple[MeasurementWarning, ...]:
    """Say of which of [n] requests that were run the model was not made for, by the answers that they had.

    Args:
        outputs: of any engine.
        room: that of the model.
    """
    longest = max(outputs, key=_n_positions_read, default=None)
    if room.n_positions is None or longest is None or _n_positions_read(longest) <= room.n_positions:
        return ()
    told = (
        f"a prompt of {longest.input_tokens} tokens with an answer of {max(longest.answer_lengths)} took "
        f"{_n_positions_read(longest)} positions, and the model was made for {room.n_positions}"
    )
    return (_beyond_context(told),)


def n_positions_of(request: Request) -> int:
    """Positions that a request needs at most."""
    return _n_positions(len(request.token_ids), request.max_output_tokens)


def _n_positions_read(output: RequestOutput) -> int:
    return _n_positions(output.input_tokens, max(output.answer_lengths))


def _n_positions(n_input: int, n_output: int) -> int:
    # What a model reads: the last token is given out and never read.
    return n_input + n_output - 1


def _beyond_context(told: str) -> MeasurementWarning:
    return MeasurementWarning("beyond_context", told, "lower max_input_tokens or max_output_tokens")


def _count(config: Any, name: str) -> int | None:
    value = getattr(config, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _rows_of_the_table(description: Any, checkpoint: Checkpoint) -> int | None:
    """Positions of a model that looks them up in a table; None where it works them out, or nobody can tell."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        with contained():
            model = skeleton(description, trust_remote_code=checkpoint.trust_remote_code)
            return None if model is None else min(position_rows(model), default=None)
    except Exception as error:  # noqa: BLE001 - an architecture raises what it will
        _log.debug("the positions of %s are not known: %s", checkpoint.source.location, error)
        return None
