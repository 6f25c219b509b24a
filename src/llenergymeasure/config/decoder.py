"""How the next token is chosen, in words that every engine shares."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from llenergymeasure.config.base import ConfigModel, Flag, Integer, Number

# What a preset fills in; a field that is given wins over it.
DECODER_PRESETS: dict[str, dict[str, Any]] = {
    "deterministic": {"do_sample": False},
    "factual": {"do_sample": True, "temperature": 0.3, "top_p": 0.9, "top_k": 40},
    "standard": {"do_sample": True, "temperature": 0.7, "top_p": 0.95, "top_k": 50},
    "creative": {"do_sample": True, "temperature": 1.1, "top_p": 0.98, "top_k": 0},
}


class DecoderConfig(ConfigModel):
    """How the next token is chosen: greedy unless ``do_sample`` is true or ``num_beams`` above 1."""

    preset: Literal["deterministic", "factual", "standard", "creative"] | None = Field(
        default=None, description="Fills in the fields below that are not given."
    )
    do_sample: Flag = Field(default=False, description="Sample from the distribution instead of taking its maximum.")
    temperature: Number | None = Field(
        default=None, gt=0, description="Softmax temperature when sampling; null is the model's own default."
    )
    top_k: Integer | None = Field(
        default=None,
        ge=0,
        description="Keep the k likeliest tokens when sampling, 0 for all; null is the model's default.",
    )
    top_p: Number | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Keep the smallest set of this probability when sampling; null as above.",
    )
    min_p: Number | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Keep tokens at least this likely, relative to the likeliest, when sampling; null as above.",
    )
    repetition_penalty: Number | None = Field(
        default=None,
        gt=0,
        description="Divide the scores of repeated tokens by this; null is the model's own default.",
    )
    no_repeat_ngram_size: Integer | None = Field(
        default=None, ge=1, description="Let no run of this many tokens occur twice; null is the model's own default."
    )
    min_output_tokens: Integer | None = Field(
        default=None, ge=1, description="Allow no end token before this many new tokens; null sets no minimum."
    )
    num_beams: Integer = Field(
        default=1, ge=1, description="Beams of a beam search, each of which costs a sequence; 1 is no search."
    )
    length_penalty: Number | None = Field(
        default=None,
        description="Exponent of the length that a beam's score is divided by; null is the model's own default.",
    )
    early_stopping: Flag | Literal["never"] | None = Field(
        default=None,
        description="End a beam search when num_beams candidates are complete (true), when a better one is unlikely "
        "(false), or when none is possible ('never'); null is the model's own default.",
    )

    num_return_sequences: Integer = Field(
        default=1,
        ge=1,
        description="Answers to each request, each of which costs a sequence; more than 1 needs do_sample or as many "
        "beams.",
    )
    ignore_eos: Flag = Field(
        default=False, description="Go on past the end token, so that every answer has its full length."
    )

    one_is_off: ClassVar[frozenset[str]] = frozenset({"num_beams", "num_return_sequences"})
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "temperature": ("do_sample",),
        "top_k": ("do_sample",),
        "top_p": ("do_sample",),
        "min_p": ("do_sample",),
        "length_penalty": ("num_beams",),
        "early_stopping": ("num_beams",),
    }

    @field_validator("num_return_sequences")
    @classmethod
    def _as_many_as_are_found(cls, n_answers: int, info: ValidationInfo) -> int:
        n_beams = info.data.get("num_beams", n_answers)
        if n_answers > n_beams and not (n_beams == 1 and info.data.get("do_sample", True)):
            raise ValueError(
                f"num_return_sequences {n_answers} is more than decoder.num_beams: {n_beams} gives; raise num_beams, "
                "or sample (do_sample: true) with num_beams: 1"
            )
        return n_answers

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, data: Any) -> Any:
        preset = data.get("preset") if isinstance(data, dict) else None
        filled_in = DECODER_PRESETS.get(preset, {}) if isinstance(preset, str) else {}
        return {**filled_in, **data} if filled_in else data
