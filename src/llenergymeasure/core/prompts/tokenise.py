"""From prompts to requests: templates, token ids, truncation and order, once and outside of every engine."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint
from llenergymeasure.core.checkpoint.tokenizer import Vocabulary, has_own_way, load_tokenizer, read_vocabulary
from llenergymeasure.core.prompts.chat import ChatWriter
from llenergymeasure.core.prompts.fitting import Room, check_fit, n_positions_of, room_of
from llenergymeasure.core.prompts.random import random_token_ids
from llenergymeasure.core.prompts.template import TemplateFailedError, TemplateRenderer
from llenergymeasure.domain.inference import Prompt, Request
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import PreFlightError, first_line


@dataclass(frozen=True, kw_only=True)
class PreparedRequests:
    """Requests in the order in which they are run, and to how many of them the chat template was applied, in words.

    ``warnings`` are for whoever reads the figures, ``cautions`` for whoever is about to run them; ``room`` is that of
    the model, where somebody looked.
    """

    requests: tuple[Request, ...]
    template_use: str | None = None
    warnings: tuple[MeasurementWarning, ...] = ()
    cautions: tuple[MeasurementWarning, ...] = ()
    room: Room = field(default_factory=Room)

    @property
    def n_truncated(self) -> int:
        """Requests whose prompt was longer than ``max_input_tokens``."""
        return sum(request.truncated for request in self.requests)


Prepare = Callable[[ExperimentConfig, Sequence[Prompt], Checkpoint], PreparedRequests]


def tokenised(config: ExperimentConfig, prompts: Sequence[Prompt], checkpoint: Checkpoint) -> PreparedRequests:
    """Requests of [n] prompts with the token ids that the checkpoint's own tokenizer and template make of them.

    Prompts are cut to ``max_input_tokens``: a chat keeps its end, a text its beginning. Random ones are drawn.

    Raises:
        ConfigError: a prompt cannot be written by the template, or has no room in the model with its answer.
        PreFlightError: what reads the tokenizer is not installed, its template is none, or it has other ids than the
            model.
        ExperimentError: there are no files of a tokenizer.
    """
    with TemplateRenderer() if any(prompt.chat for prompt in prompts) else nullcontext() as renderer:
        tokenizer = load_tokenizer(checkpoint)
        writer = None if renderer is None else chat_writer(tokenizer, renderer, config.model)
        making = _Making(config, tokenizer, checkpoint, writer)
        requests = [making.request(prompt) for prompt in prompts]
    room = room_of(checkpoint, max(map(n_positions_of, requests)))
    templated = sum(making.is_templated(prompt) for prompt in prompts)
    shares = {0: "applied to no prompt", len(prompts): "applied to every prompt"}
    return PreparedRequests(
        requests=in_running_order(requests, config.dataset.order),
        template_use=shares.get(templated, f"applied to {templated} of {len(prompts)} prompts"),
        warnings=() if writer is None else writer.warnings(),
        cautions=check_fit(requests, room, config.model),
        room=room,
    )


def chat_writer(tokenizer: Any, renderer: TemplateRenderer, model: str) -> ChatWriter | None:
    """What writes conversations for a tokenizer; None where it has no template, or writes them by code of its own.

    Raises:
        PreFlightError: its template is none, or does not end.
    """
    if not getattr(tokenizer, "chat_template", None) or has_own_way(tokenizer):
        return None
    try:
        renderer.compile(tokenizer.get_chat_template(), tokenizer.special_tokens_map)
    except (TemplateFailedError, ValueError) as error:
        raise PreFlightError(
            f"model {model!r}: its chat template cannot be used: {first_line(error)}; mend it, or set dataset.chat: "
            "false to give prompts without it"
        ) from None
    return ChatWriter(renderer)


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
    def __init__(
        self, config: ExperimentConfig, tokenizer: Any, checkpoint: Checkpoint, writer: ChatWriter | None
    ) -> None:
        self._config, self._tokenizer, self._checkpoint, self._writer = config, tokenizer, checkpoint, writer

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
            ids: list[int] = self._templated_ids(prompt)
        else:
            ids = self._tokenizer(prompt.text)["input_ids"]
        # Some tokenizers turn a prompt into nothing; a model has to be given something to continue.
        return ids or [self._vocabulary.first_token_id]

    def _templated_ids(self, prompt: Prompt) -> list[int]:
        # The template has written the special tokens.
        if self._writer is not None:
            return list(self._tokenizer(self._writer.text(prompt), add_special_tokens=False)["input_ids"])
        messages = [{"role": m.role, "content": m.content} for m in prompt.messages]
        found = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )
        return list(found["input_ids"])
