"""The prompts of an experiment: read or drawn, in a seeded order, n of them."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from typing import Any

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.core.load.traces import prompts_of, read_trace
from llenergymeasure.core.prompts.choice import Choice, ChosenRows, chosen_of
from llenergymeasure.core.prompts.files import jsonl_rows, read_file
from llenergymeasure.core.prompts.hub import read_hub
from llenergymeasure.core.prompts.in_memory import read_in_memory
from llenergymeasure.core.prompts.random import draw_prompts
from llenergymeasure.core.prompts.rows import PromptRow
from llenergymeasure.domain.inference import ChatMessage, Prompt
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
        return [prompt.chat, [_turn(m) for m in prompt.messages]]


def _turn(message: ChatMessage) -> list[Any]:
    beside = [*([list(message.tool_calls)] if message.tool_calls else []), *map(list, message.more)]
    return [message.role, message.content, *beside]


def select_prompts(config: ExperimentConfig) -> PromptSelection:
    """The first ``n`` prompts of the dataset in its order; all of them, with a warning, if there are fewer.

    Raises:
        ConfigError: the dataset cannot be read.
        PreFlightError: the library that reads it is not installed, or the hub cannot be reached.
    """
    of_a_trace = _of_a_trace(config)
    if of_a_trace is not None:
        return of_a_trace
    if config.dataset.random is not None:
        return PromptSelection(tuple(draw_prompts(config)), random_seed=config.random_seed)
    chosen = read_dataset(config.dataset, Choice(config.n, None if order_is_kept(config) else config.random_seed))
    return PromptSelection(
        tuple(
            Prompt(index=i, row=place + 1, messages=messages, chat=chat)
            for i, ((messages, chat), place) in enumerate(zip(chosen.rows, chosen.places, strict=True))
        ),
        too_few(config.n, chosen.n_found),
    )


def _of_a_trace(config: ExperimentConfig) -> PromptSelection | None:
    """Prompts of the lengths that a trace of arrivals has; None where there is no trace, or it has none.

    Raises:
        ConfigError: it cannot be read.
    """
    if config.load is None or config.load.trace is None:
        return None
    arrivals = read_trace(config.load.trace, config.load.trace_speed, config.load.n, config.load.duration_s)
    prompts, n_cut = prompts_of(arrivals, config.max_input_tokens, config.max_output_tokens)
    warnings = []
    if n_cut:
        told = f"{n_cut} of {len(prompts)} requests of the trace are longer than max_input_tokens or max_output_tokens"
        warnings.append(MeasurementWarning("trace_lengths_cut", f"{told}, and are cut", "raise these"))
    if prompts and not config.decoder.ignore_eos:
        told = "answers may end before they are as long as in the trace"
        warnings.append(MeasurementWarning("trace_answers_may_end", told, "set decoder.ignore_eos: true"))
    return PromptSelection(prompts, tuple(warnings), config.random_seed) if prompts else None


def order_is_kept(config: ExperimentConfig) -> bool:
    """Whether prompts are taken as they stand, and not in an order that ``random_seed`` draws."""
    return config.dataset.order == "as_is"


def too_few(n_asked: int, n_found: int) -> tuple[MeasurementWarning, ...]:
    """A warning where a dataset has fewer prompts than are asked for."""
    if n_found >= n_asked:
        return ()
    told = f"{n_asked} prompts are asked for, there are {n_found}: all of them are run"
    return (MeasurementWarning("dataset_too_small", told, "lower n, or give a larger dataset"),)


def read_dataset(dataset: DatasetConfig, choice: Choice | None = None) -> ChosenRows:
    """The chosen prompts of a dataset, None being all, with whether the chat template applies; none of a random one.

    Raises:
        ConfigError: it is missing, of an unknown kind, or has a row that is no prompt.
        PreFlightError: the library that reads it is not installed, or the hub cannot be reached.
    """
    if dataset.random is not None:
        return ChosenRows([], [], 0)
    if dataset.hub is not None:
        chosen = read_hub(dataset, choice)
    elif dataset.in_memory is not None:
        chosen = read_in_memory(dataset.in_memory, dataset.column, choice or Choice())
    elif dataset.path is not None:
        chosen = read_file(dataset.path, dataset.column, choice)
    else:
        chosen = chosen_of(
            partial(_built_in_rows, str(dataset.name)), choice or Choice(), f"built-in dataset {dataset.name}"
        )
    if dataset.chat is None:
        return chosen
    return replace(chosen, rows=[(messages, dataset.chat) for messages, _ in chosen.rows])


def _built_in_rows(name: str) -> Iterator[PromptRow]:
    data = resources.files("llenergymeasure").joinpath("data", f"{name}.jsonl")
    with data.open(encoding="utf-8") as file:
        yield from ((messages, True) for messages, _ in jsonl_rows(file, None, f"built-in dataset {name}"))
