"""The prompts of an experiment: read or drawn, in a seeded order, n of them."""

import hashlib
import json
import random
from dataclasses import dataclass
from importlib import resources
from typing import Any

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.prompts.files import read_file, read_jsonl
from llenergymeasure.core.prompts.hub import read_hub
from llenergymeasure.core.prompts.random import draw_prompts
from llenergymeasure.core.prompts.rows import PromptRow
from llenergymeasure.domain.inference import Prompt
from llenergymeasure.domain.warnings import MeasurementWarning


@dataclass(frozen=True)
class PromptSelection:
    """The prompts of an experiment, and what there is to say about them.

    ``random_seed`` is that of random prompts, whose ids are drawn from it.
    """

    prompts: tuple[Prompt, ...]
    warnings: tuple[MeasurementWarning, ...] = ()
    random_seed: int | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the prompts in their order, in hex: a file's name says nothing of its content.

        Of random prompts it is that of seed and lengths: the ids are each vocabulary's own.
        """
        return hashlib.sha256(json.dumps([self._row(p) for p in self.prompts]).encode()).hexdigest()

    def _row(self, prompt: Prompt) -> list[Any]:
        if prompt.n_random_tokens is not None:
            return ["random", self.random_seed, prompt.n_random_tokens, prompt.output_tokens]
        return [prompt.chat, [[m.role, m.content] for m in prompt.messages]]


def select_prompts(config: ExperimentConfig) -> PromptSelection:
    """The first ``n`` prompts of the dataset in its order; all of them, with a warning, if there are fewer.

    Raises:
        ConfigError: the dataset cannot be read.
        PreFlightError: the library that reads it is not installed, or the hub cannot be reached.
    """
    if config.dataset.random is not None:
        return PromptSelection(tuple(draw_prompts(config)), random_seed=config.random_seed)
    found = read_dataset(config.dataset)
    if config.dataset.order != "as_is":
        random.Random(config.random_seed).shuffle(found)
    chosen = found[: config.n]
    return PromptSelection(
        tuple(Prompt(index=i, messages=messages, chat=chat) for i, (messages, chat) in enumerate(chosen)),
        too_few(config.n, len(found)),
    )


def too_few(n_asked: int, n_found: int) -> tuple[MeasurementWarning, ...]:
    """A warning where a dataset has fewer prompts than are asked for."""
    if n_found >= n_asked:
        return ()
    told = f"{n_asked} prompts are asked for, there are {n_found}: all of them are run"
    return (MeasurementWarning("dataset_too_small", told, "lower n, or give a larger dataset"),)


def read_dataset(dataset: DatasetConfig) -> list[PromptRow]:
    """All prompts of a dataset with whether the chat template applies, in its order; none of a random one.

    Raises:
        ConfigError: it is missing, of an unknown kind, or has a row that is no prompt.
        PreFlightError: the library that reads it is not installed, or the hub cannot be reached.
    """
    if dataset.random is not None:
        return []
    if dataset.hub is not None:
        rows = read_hub(dataset)
    elif dataset.path is not None:
        rows = read_file(dataset.path, dataset.column)
    else:
        with (
            resources.files("llenergymeasure").joinpath("data", f"{dataset.name}.jsonl").open(encoding="utf-8") as file
        ):
            texts = read_jsonl(file, None, f"built-in dataset {dataset.name}")
        rows = [(messages, True) for messages, _ in texts]
    return rows if dataset.chat is None else [(messages, dataset.chat) for messages, _ in rows]
