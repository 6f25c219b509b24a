"""What a request says to the server."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server.dialects import Dialect
from llenergymeasure.domain.inference import ChatMessage, Request

# A seed that every server takes, the 32-bit ones too.
_MOST_SEED = 2**31 - 1
_BESIDE_OPENAI = ("top_k", "min_p", "repetition_penalty", "ignore_eos", "min_output_tokens")


def section_of(config: ExperimentConfig) -> ServerConfig:
    """The section, with its defaults when it was left out."""
    return config.server or ServerConfig()


class Bodies:
    """Bodies of the requests of an experiment."""

    def __init__(self, config: ExperimentConfig, dialect: Dialect, served_model: str) -> None:
        self._config, self._section = config, section_of(config)
        self._common: dict[str, Any] = {
            "model": served_model,
            "stream": True,
            "stream_options": {"include_usage": True, **dialect.stream_options},
            **dialect.always,
            **(drawn(config) if config.decoder.do_sample else {"temperature": 0.0, **dialect.greedy}),
            **{dialect.decoder[name]: value for name, value in beside_openai(config) if name in dialect.decoder},
            **config.passthrough_kwargs,
        }

    def of(self, request: Request, random_seed: int) -> dict[str, Any]:
        """The body of a request.

        Raises:
            ValueError: a text is to be sent of a prompt that a chat template writes.
        """
        body = {**self._common, "max_tokens": request.max_output_tokens, **self._prompt(request)}
        if self._config.decoder.do_sample:
            body["seed"] = seed_of(random_seed, request.index)
        return body

    def _prompt(self, request: Request) -> dict[str, Any]:
        if self._section.api == "chat":
            return {"messages": [_message(each) for each in request.messages]}
        if not self._section.sends_text:
            return {"prompt": list(request.token_ids)}
        if request.text is None:
            raise ValueError(
                "a chat template writes this prompt, and /v1/completions has none; set server.api: chat, or "
                "dataset.chat: false"
            )
        return {"prompt": request.text}


def beside_openai(config: ExperimentConfig) -> Iterator[tuple[str, Any]]:
    """The fields of ``decoder`` that are set and that OpenAI has no name for, with their values."""
    for name in _BESIDE_OPENAI:
        value = getattr(config.decoder, name)
        only_drawn = name in ("top_k", "min_p") and not config.decoder.do_sample
        if value is not None and value is not False and not only_drawn:
            yield name, value


def drawn(config: ExperimentConfig) -> dict[str, Any]:
    """How tokens are drawn, in OpenAI's words; what is null is left to the server."""
    chosen: Mapping[str, Any] = {"temperature": config.decoder.temperature, "top_p": config.decoder.top_p}
    return {name: value for name, value in chosen.items() if value is not None}


def seed_of(random_seed: int, index: int) -> int:
    """A request's own seed, of 31 bits."""
    digest = hashlib.sha256(f"{random_seed}/{index}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _MOST_SEED + 1


def _message(message: ChatMessage) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content, **dict(message.more)}
    if message.tool_calls:
        told["tool_calls"] = [dict(call) for call in message.tool_calls]
    return told
