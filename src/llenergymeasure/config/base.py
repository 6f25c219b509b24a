"""The base of all configuration models."""

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """Frozen, no unknown keys, no NaN or infinity, documented field by field."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=False,
        populate_by_name=True,
    )
