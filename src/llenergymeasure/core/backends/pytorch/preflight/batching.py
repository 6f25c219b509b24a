"""Architectures whose answers depend on what else is in the batch, since transformers cannot hide padding from them.

Held by ``tests/integration/pytorch/test_batching.py``, which generates with every architecture of transformers that can
be built small, alone and beside a longer prompt.
"""

from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.domain.warnings import MeasurementWarning

# Recurrent states that read the padding in front of a shorter prompt.
READ_PADDING = frozenset({"rwkv", "recurrent_gemma", "minimax", "xlstm"})
# Its cells mix the states of a batch even where all prompts are of one length.
MIXES_ROWS = frozenset({"rwkv"})
# Positions that are counted from the beginning of the padding.
COUNT_PADDING = frozenset(
    {
        "bart", "bigbird_pegasus", "blenderbot", "blenderbot-small", "git", "marian", "mbart", "mvp", "pegasus",
        "plbart", "prophetnet", "reformer", "roformer", "trocr", "whisper", "xlnet",
    }
)  # fmt: skip
_WHY = "the {kind} architecture reads the padding in front of shorter prompts into its state"
_WHY_POSITIONS = "the {kind} architecture counts positions from the padding in front of shorter prompts"
_WHY_ROWS = "the {kind} architecture's state of one prompt depends on those beside it"


def batching_cautions(config: ExperimentConfig, description: Any) -> list[MeasurementWarning]:
    """A warning where the prompts of a batch get other answers than each would get alone.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
    """
    kind = str(getattr(description.get_text_config(), "model_type", ""))
    n_together = min(section_of(config).batch_size, config.n)
    if n_together == 1:
        return []
    if kind in MIXES_ROWS:
        why = _WHY_ROWS
    elif kind in READ_PADDING | COUNT_PADDING and not _of_one_length(config):
        why = _WHY if kind in READ_PADDING else _WHY_POSITIONS
    else:
        return []
    return [
        MeasurementWarning(
            "batch_changes_tokens",
            f"{why.format(kind=kind)}, so with pytorch.batch_size: {section_of(config).batch_size} requests get other "
            "tokens than alone",
            "set pytorch.batch_size: 1, or say so wherever the figures are cited",
        )
    ]


def _of_one_length(config: ExperimentConfig) -> bool:
    """Whether all prompts have as many tokens, so that nothing is padded."""
    drawn = config.dataset.random
    if drawn is None:
        return False
    shortest, longest = drawn.input_tokens.span(config.max_input_tokens)
    return shortest == longest
