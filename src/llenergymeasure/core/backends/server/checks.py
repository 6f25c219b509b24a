"""What keeps an experiment from being run on a server, found before one is asked or started."""

import shutil
from collections.abc import Iterator

from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server.address import Address
from llenergymeasure.core.backends.server.body import beside_openai, section_of
from llenergymeasure.core.backends.server.dialects import DIALECTS, Dialect
from llenergymeasure.core.backends.server.questions import Questions
from llenergymeasure.exceptions import BackendError


def problems_of(config: ExperimentConfig) -> Iterator[str]:
    """What does not fit, one line each."""
    section = section_of(config)
    if config.lora is not None:
        yield "lora: a server is started with its adapters; name one with server.served_model"
    if config.dataset.random is not None and section.sends_text:
        yield "dataset.random: random token ids have no text; set server.api: completions and send: token_ids"
    if section.api == "completions" and section.sends_text and _is_chat(config):
        yield (
            "dataset.chat: a chat template writes these prompts, and /v1/completions has none for text; set "
            "server.api: chat, or dataset.chat: false"
        )
    if section.ca_file is not None and not section.ca_file.is_file():
        yield f"server.ca_file: there is no file {section.ca_file}"
    if section.kind is not None:
        yield from not_taken(config, DIALECTS[section.kind])
    if section.command is not None:
        yield from _command(section)
    else:
        yield from _running(section)


def not_taken(config: ExperimentConfig, dialect: Dialect) -> Iterator[str]:
    """What a kind of server cannot be told."""
    section = section_of(config)
    if not section.sends_text and not dialect.takes_ids:
        yield f"server.send: {dialect.name} takes no token ids; set server.send: text, or server.api: chat"
    for name, _ in beside_openai(config):
        if name not in dialect.decoder:
            yield (
                f"decoder.{name}: {dialect.name} has no field for it that is known here; name what it is with "
                "server.kind, or leave it out and give the server's own in passthrough_kwargs"
            )


def _is_chat(config: ExperimentConfig) -> bool:
    chat, name = config.dataset.chat, config.dataset.name
    return bool(chat) or (chat is None and name is not None)


def _command(section: ServerConfig) -> Iterator[str]:
    word = (section.command or [""])[0]
    if shutil.which(word) is None:
        yield f"server.command: there is no program {word}"
    if not Address.of(section.url).is_here():
        yield f"server.command starts a server on this machine, and server.url is elsewhere ({section.url})"
        return
    try:
        is_taken = Questions(section).answers()
    except BackendError as error:
        yield str(error)
        return
    if is_taken:
        yield f"server.command: somebody answers at {section.url} already; end that, or take another port"


def _running(section: ServerConfig) -> Iterator[str]:
    try:
        Address.of(section.url).found()
        problem = Questions(section).problem()
    except BackendError as error:
        yield str(error)
        return
    if problem is not None:
        yield (
            f"server.url: no server is ready at {section.url}: {problem}; start it, or have it started with "
            "server.command"
        )
