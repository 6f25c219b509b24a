"""Prompts of random tokens: how long they and their answers are."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from llenergymeasure.config.base import ConfigModel, Integer, Number, conflict
from llenergymeasure.config.decoder import DecoderConfig


class LengthConfig(ConfigModel):
    """A number of tokens, the same for every request or drawn for each. A plain integer is shorthand for fixed."""

    distribution: Literal["fixed", "uniform", "lognormal"] = Field(
        default="fixed", description="One length for all requests, or one drawn for each, seeded with random_seed."
    )
    value: Integer | None = Field(
        default=None, ge=1, description="The fixed length in tokens; null is the limit (max_input_tokens or "
        "max_output_tokens). A plain integer in place of the section is this."
    )  # fmt: skip
    low: Integer | None = Field(
        default=None, ge=1, description="Shortest length that is drawn, itself included; null is 1."
    )
    high: Integer | None = Field(
        default=None, ge=1, description="Longest length that is drawn, itself included; null is the limit."
    )
    median: Number | None = Field(
        default=None, ge=1, description="Median of the lognormal lengths; draws beyond low and high become these."
    )
    sigma: Number | None = Field(
        default=None, gt=0, le=10, description="Standard deviation of the lognormal lengths' natural logarithm."
    )

    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "value": ("distribution=fixed",),
        "low": ("distribution=uniform|lognormal",),
        "high": ("distribution=uniform|lognormal",),
        "median": ("distribution=lognormal",),
        "sigma": ("distribution=lognormal",),
    }

    @model_validator(mode="after")
    def _a_distribution(self) -> Self:
        if self.distribution == "fixed":
            return self
        low, high = self.low or 1, math.inf if self.high is None else self.high
        if low > high:
            raise conflict(f"{self.high} is below low: {self.low}; turn them round", "high")
        if self.distribution == "lognormal":
            if self.median is None or self.sigma is None:
                raise conflict("lognormal needs median and sigma; give both", "distribution")
            if not low <= self.median <= high:
                raise conflict(
                    f"{self.median:g} lies beyond low and high, so that most lengths would be one of these; "
                    "put it between them",
                    "median",
                )
        return self

    def span(self, limit: int) -> tuple[int, int]:
        """Shortest and longest possible length under a limit of tokens."""
        if self.distribution == "fixed":
            return self.value or limit, self.value or limit
        return self.low or 1, self.high or limit

    @property
    def least_limit(self) -> int:
        """The lowest limit that lets the lengths be what is asked for."""
        if self.distribution == "fixed":
            return self.value or 1
        return self.high or max(self.low or 1, math.ceil(self.median or 1))


class RandomPromptsConfig(ConfigModel):
    """Prompts of random token ids with answers of exact length."""

    input_tokens: LengthConfig = Field(default=LengthConfig(), description="Tokens of a prompt.")
    output_tokens: LengthConfig = Field(default=LengthConfig(), description="New tokens of an answer.")

    @field_validator("input_tokens", "output_tokens", mode="before", json_schema_input_type=int | LengthConfig | None)
    @classmethod
    def _length_shorthand(cls, value: Any) -> Any:
        full = full_length(value)
        if not isinstance(full, Mapping | LengthConfig):
            raise ValueError("give a number of tokens, such as 128, or a distribution with its fields")
        return full

    def decoder_for(self, decoder: DecoderConfig, limit: int) -> DecoderConfig:
        """The decoder that gives answers of these lengths, under a limit of tokens: one that ignores end tokens.

        Raises:
            PydanticCustomError: it was told to do what exact lengths do not allow.
        """
        shortest, longest = self.output_tokens.span(limit)
        if decoder.num_beams > 1 and shortest != longest:
            raise conflict(
                "num_beams cannot go with answers of different lengths (dataset.random.output_tokens), because the "
                "beams of a batch end together; fix that length, or set num_beams: 1",
                "num_beams",
            )
        if decoder.ignore_eos:
            return decoder
        if "ignore_eos" in decoder.model_fields_set:
            raise conflict(
                "false cannot go with dataset.random, whose answers have exact lengths; remove it, or set it to true",
                "ignore_eos",
            )
        implied = decoder.model_copy(update={"ignore_eos": True})
        # What follows from the dataset was not said: with another dataset it does not hold.
        implied.model_fields_set.discard("ignore_eos")
        return implied


def full_length(length: Any) -> Any:
    """The full form of a length that is a plain integer or null (the limit); anything else as it is."""
    if length is None:
        return {"distribution": "fixed"}
    if isinstance(length, int) and not isinstance(length, bool):
        return {"distribution": "fixed", "value": length}
    return length
