"""From prompts to requests: templates, token ids, truncation and order, once and outside of every engine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.checkpoint.tokenizer import Vocabulary, load_tokenizer, read_vocabulary
from llenergymeasure.core.prompts.random import random_token_ids
from llenergymeasure.domain.inference import Prompt, Request


@dataclass(frozen=True, kw_only=True)
class PreparedRequests:
    """Requests in the order in which they are run, and to how many of them the chat template was applied, in words."""

    requests: tuple[Request, ...]
    template_use: str | None = None

    @property
    def n_truncated(self) -> int:
        """Requests whose prompt was longer than ``max_input_tokens``."""
        return sum(request.truncated for request in self.requests)


Prepare = Callable[[ExperimentConfig, Sequence[Prompt], Checkpoint], PreparedRequests]


def tokenised(config: ExperimentConfig, prompts: Sequence[Prompt], checkpoint: Checkpoint) -> PreparedRequests:
    """Requests of [n] prompts with the token ids that the checkpoint's own tokenizer and template make of them.

    Prompts are cut to ``max_input_tokens``: a chat keeps its end, a text its beginning. Random ones are drawn.
    """
    tokenizer = load_tokenizer(checkpoint)
    making = _Making(config, tokenizer, checkpoint)
    templated = sum(making.is_templated(prompt) for prompt in prompts)
    shares = {0: "applied to no prompt", len(prompts): "applied to every prompt"}
    return PreparedRequests(
        requests=in_running_order([making.request(prompt) for prompt in prompts], config.dataset.order),
        template_use=shares.get(templated, f"applied to {templated} of {len(prompts)} prompts"),
    )


def as_text(config: ExperimentConfig, prompts: Sequence[Prompt]) -> PreparedRequests:
    """Requests of [n] prompts for an engine that tokenises itself; none of them has token ids.

    Each says to how many tokens the engine is to cut it. In ``grouped`` order the longest text is first.

    Raises:
        ValueError: the prompts are random token ids, which no text stands for.
    """
    if any(prompt.n_random_tokens is not None for prompt in prompts):
        raise ValueError("dataset.random: this engine tokenises itself, and random token ids have no text")
    requests = [
        Request(
            index=prompt.index,
            messages=prompt.messages,
            text=None if prompt.chat else prompt.text,
            max_output_tokens=prompt.output_tokens or config.max_output_tokens,
            max_input_tokens=config.max_input_tokens,
        )
        for prompt in prompts
    ]
    n_characters = {prompt.index: len(prompt.text) for prompt in prompts}
    ordered = in_running_order(requests, config.dataset.order, lambda request: n_characters[request.index])
    return PreparedRequests(requests=ordered)


def _n_tokens(request: Request) -> int:
    return len(request.token_ids)


def in_running_order(
    requests: Sequence[Request], order: str, length_of: Callable[[Request], int] = _n_tokens
) -> tuple[Request, ...]:
    """Requests in the order in which an engine is to run them, for ``dataset.order``, by the length of their prompts.

    ``grouped`` puts the longest first, and of equally long ones those with the longest answer to come: batches then
    hold like lengths and little padding, and where memory is too small the first batch shows it.
    """
    if order != "grouped":
        return tuple(requests)
    return tuple(sorted(requests, key=lambda r: (-length_of(r), -r.max_output_tokens, r.index)))


class _Making:
    def __init__(self, config: ExperimentConfig, tokenizer: Any, checkpoint: Checkpoint) -> None:
        self._config, self._tokenizer, self._checkpoint = config, tokenizer, checkpoint

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        # Read only where it is needed: of some formats that takes seconds.
        return read_vocabulary(self._checkpoint, self._tokenizer)

    def request(self, prompt: Prompt) -> Request:
        ids = self._ids(prompt)
        most = self._config.max_input_tokens if prompt.n_random_tokens is None else len(ids)
        return Request(
            index=prompt.index,
            token_ids=tuple(ids[-most:] if prompt.chat else ids[:most]),
            messages=prompt.messages,
            max_output_tokens=prompt.output_tokens or self._config.max_output_tokens,
            truncated=len(ids) > most,
        )

    def is_templated(self, prompt: Prompt) -> bool:
        return prompt.chat and bool(getattr(self._tokenizer, "chat_template", None))

    def _ids(self, prompt: Prompt) -> Sequence[int]:
        if prompt.n_random_tokens is not None:
            words, seed = self._vocabulary, self._config.random_seed
            return random_token_ids(prompt.n_random_tokens, words.n_ids, words.special_token_ids, seed, prompt.index)
        if self.is_templated(prompt):
            ids: list[int] = self._tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in prompt.messages],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
            )["input_ids"]
        else:
            ids = self._tokenizer(prompt.text)["input_ids"]
        # Some tokenizers turn a prompt into nothing; a model has to be given something to continue.
        return ids or [self._vocabulary.first_token_id]
