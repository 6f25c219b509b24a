"""What the sections of engines have in common that run a transformers checkpoint in a format of their own."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from llenergymeasure.config.base import Integer
from llenergymeasure.config.engines.section import EngineSection


class FromCheckpoint(EngineSection):
    """Fields of an engine that converts a checkpoint, once, and runs it in batches."""

    batch_size: Integer = Field(default=1, ge=1, description="Requests generated together in one batch.")
    revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of a hub model; null is its main branch."
    )
    model_path: Path | None = Field(
        default=None,
        description="Folder of a model in the engine's own format, made from `model`, which then only says what the "
        "tokens and the architecture are; null converts `model`, once, into the cache.",
    )

    # Not every machine computes bf16 natively, and what is converted is kept.
    default_precision: ClassVar[str] = "fp32"
    # Each answers a batch greedily or by sampling, a token at a time; beams and penalties are refused with reasons.
    lacks_decoder_fields: ClassVar[frozenset[str]] = frozenset(
        {
            "min_p",
            "repetition_penalty",
            "no_repeat_ngram_size",
            "num_beams",
            "length_penalty",
            "early_stopping",
            "num_return_sequences",
        }
    )
