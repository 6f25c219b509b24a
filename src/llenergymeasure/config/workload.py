"""What is run: prompts, and what is put on top of the model."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from llenergymeasure.config.base import ConfigModel, Flag, conflict, refused
from llenergymeasure.config.in_memory import PromptsInMemory, taken_from
from llenergymeasure.config.names.paths import PathText
from llenergymeasure.config.random_prompts import RandomPromptsConfig

BUILT_IN_DATASETS = ("mixed",)
# Where prompts can come from, of which a dataset has one; and what is said of one source and means nothing of another.
DATASET_SOURCES = ("name", "path", "hub", "random", "in_memory")
OF_ONE_SOURCE = ("split", "subset", "revision", "column")


class DatasetConfig(ConfigModel):
    """The prompts. A text is shorthand: the name of a built-in set, ``random``, or a path; a list, in Python, too."""

    name: str | None = Field(
        default=None,
        examples=list(BUILT_IN_DATASETS),
        description="Built-in set; 'mixed' when there is no path, hub or random either.",
    )
    path: Path | None = Field(
        default=None,
        description="Local file: .jsonl, .ndjson, .json, .csv, .tsv or .parquet with a prompt in each row, or .txt "
        "with one per line; all but .parquet may be packed (.jsonl.gz).",
    )
    hub: PathText | None = Field(
        default=None,
        min_length=1,
        description="Id of a dataset on the Hugging Face hub, or a local folder that its library reads; needs the "
        "extra 'datasets'.",
    )
    random: RandomPromptsConfig | None = Field(
        default=None, description="Random token ids with exact numbers of tokens in and out."
    )
    in_memory: PromptsInMemory | None = Field(
        default=None,
        description="Prompts from a list, in Python only: texts, or what a line of a .jsonl file has. Kept are their "
        "number and digest here, and a file of them beside the results.",
    )
    split: str = Field(
        default="train", min_length=1, description="Split of the hub dataset, such as test or test[:100]."
    )
    subset: str | None = Field(
        default=None, min_length=1, description="Configuration of the hub dataset; null is its only one."
    )
    revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of the hub dataset; null is the newest."
    )
    column: str | None = Field(
        default=None,
        min_length=1,
        description="Column or key that holds the prompt, a text or a list of {role, content}; null takes 'messages', "
        "else 'prompt', else 'conversations' (ShareGPT).",
    )
    order: Literal["shuffled", "as_is", "grouped"] = Field(
        default="shuffled",
        description="'shuffled' takes the first n of an order seeded with random_seed, 'as_is' the first n as they "
        "stand; 'grouped' takes those of 'shuffled' and runs the longest first, so that batches hold like lengths.",
    )
    chat: Flag | None = Field(
        default=None,
        description="Wrap prompts in the model's chat template; null does so for the built-in set and for rows that "
        "are lists of messages.",
    )

    needs: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "split": ("hub",),
        "subset": ("hub",),
        "revision": ("hub",),
        "column": ("path", "hub", "in_memory"),
        "chat": ("name", "path", "hub", "in_memory"),
    }

    @model_validator(mode="wrap")
    @classmethod
    def _lists_taken(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        # Before anybody looks for secrets: what prompts say is nobody's setting.
        return handler(taken_from(data) if isinstance(data, Mapping) else data)

    @model_validator(mode="before")
    @classmethod
    def _built_in_unless_said(cls, data: Any) -> Any:
        if isinstance(data, dict) and all(data.get(source) is None for source in DATASET_SOURCES):
            return {**data, "name": BUILT_IN_DATASETS[0]}
        return data

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [source for source in DATASET_SOURCES if getattr(self, source) is not None]
        if self.in_memory is not None and self.in_memory.problem is not None:
            raise conflict(self.in_memory.problem, "in_memory")
        if len(given) > 1:
            raise refused(
                f"give either name (a built-in set), path (a local file), hub (a dataset of the Hugging Face hub), "
                f"random (random tokens) or in_memory (a list, in Python), not {' and '.join(given)}"
            )
        if self.name is not None and self.name not in BUILT_IN_DATASETS:
            raise refused(
                f"no built-in dataset is called {self.name!r}; there is: {', '.join(BUILT_IN_DATASETS)}; "
                "a file is given by its path, such as ./prompts.jsonl, a dataset of the Hugging Face hub as "
                "dataset: {hub: its id}"
            )
        if self.column is not None and self.path is not None and _has_lines_only(self.path):
            raise conflict(f"column cannot go with path: {self.path}, which has lines only; remove it", "column")
        return self

    @classmethod
    def from_shorthand(cls, text: str) -> dict[str, Any]:
        """The full form of a string: ``random``, or a path if it looks like one, else a name."""
        if text == "random":
            return {"random": {}}
        looks_like_path = "/" in text or "\\" in text or bool(Path(text).suffix)
        return {"path": text} if looks_like_path else {"name": text}

    def dormant_beside(self, asleep: Collection[str]) -> dict[str, str]:
        """As for any section; and random prompts, drawn one by one, have no other order than that."""
        found = super().dormant_beside(asleep)
        if self.random is not None and self.order == "as_is":
            found["order"] = "it needs name or path or hub or in_memory"
        return found


def _has_lines_only(path: Path) -> bool:
    return path.name.lower().endswith((".txt", ".txt.gz"))


class LoRAConfig(ConfigModel):
    """A LoRA adapter on top of the model (needs the extra ``lora``)."""

    path: PathText = Field(min_length=1, description="Adapter directory or hub id.")
    merge: Flag = Field(default=True, description="Fold the adapter into the weights before measuring.")
