"""Engine sections of an experiment: what only one engine understands.

In a section ``None`` leaves the choice to the engine's own default.
"""

from typing import Literal

from pydantic import Field

from llenergymeasure.config.base import ConfigModel, Integer


class PyTorchConfig(ConfigModel):
    """Settings of the PyTorch engine (transformers)."""

    batch_size: Integer = Field(default=1, ge=1, description="Requests generated together in one batch.")
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"] | None = (
        Field(default=None, description="Attention kernel; null lets transformers choose.")
    )
    device_map: str | dict[str, int | str] | None = Field(
        default=None,
        description="Placement of the layers as accelerate reads it ('auto', 'cpu', a mapping); null is the "
        "first CUDA device where there is one, else the CPU.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Run Python code that comes with the model. Off unless you trust its authors."
    )
