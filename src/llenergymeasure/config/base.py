"""The base of all configuration models."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Strict

# YAML says what is a number: neither true nor "5" is one.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]


class ConfigModel(BaseModel):
    """Frozen, no unknown keys, no NaN or infinity, documented field by field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        populate_by_name=True,
    )
