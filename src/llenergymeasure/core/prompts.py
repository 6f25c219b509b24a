"""Prompts: the built-in set or a local file, in a seeded order."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from llenergymeasure.config.models import DatasetConfig, ExperimentConfig
from llenergymeasure.domain.inference import ChatMessage, Prompt
from llenergymeasure.exceptions import ConfigError

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class PromptSelection:
    """The prompts of an experiment, and what there is to say about them."""

    prompts: tuple[Prompt, ...]
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the prompts in their order, in hex: a file's name says nothing of its content."""
        rows = [[p.chat, [[m.role, m.content] for m in p.messages]] for p in self.prompts]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def select_prompts(config: ExperimentConfig) -> PromptSelection:
    """The first ``n`` prompts of the dataset in its order; all of them, with a warning, if there are fewer.

    Raises:
        ConfigError: the dataset cannot be read.
    """
    found = read_dataset(config.dataset)
    if config.dataset.order == "shuffled":
        random.Random(config.random_seed).shuffle(found)
    warnings: tuple[str, ...] = ()
    if len(found) < config.n:
        warnings = (
            f"dataset_too_small: {config.n} prompts are asked for, there are {len(found)}: all of them are run; "
            "lower n, or give a larger dataset",
        )
    chosen = found[: config.n]
    return PromptSelection(
        tuple(Prompt(index=i, messages=messages, chat=chat) for i, (messages, chat) in enumerate(chosen)),
        warnings,
    )


def read_dataset(dataset: DatasetConfig) -> list[tuple[tuple[ChatMessage, ...], bool]]:
    """All prompts of a dataset with whether the chat template applies, in the order of the file.

    Raises:
        ConfigError: the file is missing, of an unknown kind, or has a row that is no prompt.
    """
    if dataset.path is None:
        text = resources.files("llenergymeasure").joinpath("data", f"{dataset.name}.jsonl").read_text("utf-8")
        rows = _read_jsonl(text, f"built-in dataset {dataset.name}")
        return [(messages, dataset.chat is not False) for messages, _ in rows]
    text = _read_file(dataset.path)
    if dataset.path.suffix == ".txt":
        lines = [line.strip() for line in text.split("\n")]
        rows = [((ChatMessage("user", line),), False) for line in lines if line]
    else:
        rows = _read_jsonl(text, str(dataset.path))
    if not rows:
        raise ConfigError(f"dataset {dataset.path}: there are no prompts in this file")
    return [(messages, chat if dataset.chat is None else dataset.chat) for messages, chat in rows]


def _read_file(path: Path) -> str:
    if path.suffix not in (".jsonl", ".txt"):
        raise ConfigError(f"dataset {path}: unknown kind of file {path.suffix!r}; use .jsonl or .txt")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"dataset {path}: this is not text in UTF-8") from None
    except OSError as error:
        raise ConfigError(f"dataset {path}: cannot be read: {error.strerror or error}") from None


def _read_jsonl(text: str, name: str) -> list[tuple[tuple[ChatMessage, ...], bool]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(_parse_row(json.loads(line)))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ConfigError(
                f'dataset {name}:{number}: expected {{"prompt": "..."}} or '
                f'{{"messages": [{{"role": "...", "content": "..."}}]}}, found {line[:80]!r}'
            ) from None
    return rows


def _parse_row(row: Any) -> tuple[tuple[ChatMessage, ...], bool]:
    if "messages" in row:
        messages = tuple(ChatMessage(_text(m["role"]), _text(m["content"])) for m in row["messages"])
        if not messages:
            raise ValueError("no messages")
        return messages, True
    return (ChatMessage("user", _text(row["prompt"])),), False


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    return value


def in_groups(items: Sequence[_Item], size: int) -> list[tuple[_Item, ...]]:
    """Consecutive groups of ``size``; the last may be smaller."""
    return [tuple(items[i : i + size]) for i in range(0, len(items), size)]
