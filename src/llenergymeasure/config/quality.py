"""Whether the quality of a model's output is looked at beside its energy, and by which text."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from llenergymeasure.config.base import ConfigModel, Integer


class QualityConfig(ConfigModel):
    """Perplexity of a text, worked out when everything is measured. ``true`` is shorthand for the built-in sample.

    The path of a text is shorthand for that text, false and null for none.
    """

    text: Path | None = Field(
        default=None, description="Text in UTF-8 whose tokens are scored; null is a built-in sample in English."
    )
    # As many as the built-in sample has for most vocabularies, and more: of two tokenizers both then score all of it.
    n_scored_tokens: Integer = Field(
        default=4096, ge=2, description="Tokens of the text to score; more than there are means all."
    )
    n_context_tokens: Integer = Field(
        default=512,
        ge=16,
        description="Tokens that the model is given at a time, half of them as context of the others; a model of a "
        "shorter context is given that.",
    )

    @staticmethod
    def from_shorthand(value: Any) -> Any:
        """The fields that true, false or a path stands for, None for none; any other value as it is."""
        if isinstance(value, bool):
            # Named, so that it takes the place of a text that was given further below.
            return {"text": None} if value else None
        return {"text": value} if isinstance(value, str | Path) else value


# With the type, not with the field of an experiment, so that defaults in the user's file are read alike.
QualityOrShorthand = Annotated[
    QualityConfig | None,
    BeforeValidator(QualityConfig.from_shorthand, json_schema_input_type=bool | str | QualityConfig | None),
]
