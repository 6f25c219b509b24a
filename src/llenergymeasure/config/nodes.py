"""One experiment over several nodes."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from llenergymeasure.config.base import ConfigModel, Integer, Number
from llenergymeasure.config.names.paths import PathText
from llenergymeasure.config.names.words import words_of


class NodesConfig(ConfigModel):
    """The nodes over which one model is spread, by the engine's own launcher: each measures its own devices.

    Not yet run on hardware.
    """

    n: Integer = Field(ge=2, le=4096, description="How many nodes: the one with the engine, and those that attend.")
    command: Annotated[list[PathText], Field(min_length=1)] | None = Field(
        default=None,
        description="What each other node runs of the engine while it is measured, as a list of words or one line, "
        "such as `ray start --address {first}:6379 --block`: {first} is the first node's name, {node} the number of "
        "this one, {n} how many there are. Null: they are started otherwise.",
    )
    wait_s: Number = Field(default=600.0, gt=0, description="How long the first node waits for the others to come.")

    @field_validator("command", mode="before", json_schema_input_type=str | list[str] | None)
    @classmethod
    def _words(cls, command: Any) -> Any:
        return words_of(command)
