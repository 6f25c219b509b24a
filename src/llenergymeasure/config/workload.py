"""What is run: prompts, and what is put on top of the model."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from llenergymeasure.config.base import ConfigModel, Flag

BUILT_IN_DATASETS = ("mixed",)


class DatasetConfig(ConfigModel):
    """The prompts. A plain string is shorthand: the name of a built-in set, or a path."""

    name: str | None = Field(
        default=None,
        examples=list(BUILT_IN_DATASETS),
        description="Built-in set; 'mixed' when no path is given either.",
    )
    path: Path | None = Field(
        default=None, description="Local file: .jsonl (key 'prompt' or 'messages') or .txt (one prompt per line)."
    )
    order: Literal["shuffled", "as_is"] = Field(
        default="shuffled", description="Order before the first n are taken; 'shuffled' is seeded with random_seed."
    )
    chat: Flag | None = Field(
        default=None,
        description="Wrap prompts in the model's chat template; null does so for the built-in set and for JSONL "
        "rows with 'messages'.",
    )

    @model_validator(mode="before")
    @classmethod
    def _built_in_unless_said(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("name") is None and data.get("path") is None:
            return {**data, "name": BUILT_IN_DATASETS[0]}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.name is not None and self.path is not None:
            raise ValueError("give either name (a built-in set) or path (a local file), not both")
        if self.name is not None and self.name not in BUILT_IN_DATASETS:
            raise ValueError(
                f"no built-in dataset is called {self.name!r}; there is: {', '.join(BUILT_IN_DATASETS)}; "
                "a file is given by its path, such as ./prompts.jsonl"
            )
        return self

    @classmethod
    def from_shorthand(cls, text: str) -> dict[str, str]:
        """The full form of a string: a path if it looks like one, else a name."""
        looks_like_path = "/" in text or "\\" in text or bool(Path(text).suffix)
        return {"path": text} if looks_like_path else {"name": text}


class LoRAConfig(ConfigModel):
    """A LoRA adapter on top of the model (needs the extra ``lora``)."""

    path: str = Field(min_length=1, description="Adapter directory or hub id.")
    merge: Flag = Field(default=True, description="Fold the adapter into the weights before measuring.")
