"""The ids that a prompt becomes, against the tokenizers library alone and a template written out by hand."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint, describe_source
from llenergymeasure.core.prompts.tokenise import tokenised
from llenergymeasure.domain.inference import ChatMessage, Prompt, Request

HELLO = (ChatMessage("user", "the quick brown fox"),)
TURNS = (ChatMessage("system", "a joule"), ChatMessage("user", "is a watt"))


def request_of(model: Path, prompt: Prompt, **fields: object) -> Request:
    config = ExperimentConfig.model_validate({"model": str(model), **fields})
    (request,) = tokenised(config, [prompt], Checkpoint(source=describe_source(str(model)))).requests
    return request


def ids_of(model: Path, text: str) -> tuple[int, ...]:
    return tuple(Tokenizer.from_file(str(model / "tokenizer.json")).encode(text).ids)


@pytest.mark.parametrize(
    ("messages", "chat", "text"),
    [
        (HELLO, True, "<s>user: the quick brown fox\nassistant:"),
        (HELLO, False, "the quick brown fox"),
        (TURNS, True, "<s>system: a joule\n<s>user: is a watt\nassistant:"),
        (TURNS, False, "a joule\n\nis a watt"),
        ((ChatMessage("user", ""),), True, "<s>user: \nassistant:"),
        ((ChatMessage("user", "naïve 東京 🙂"),), False, "naïve 東京 🙂"),
    ],
)
def test_a_chat_is_its_template_and_a_text_is_itself(
    tiny_llama: Path, messages: tuple[ChatMessage, ...], chat: bool, text: str
) -> None:
    request = request_of(tiny_llama, Prompt(index=0, messages=messages, chat=chat))
    assert request.token_ids == ids_of(tiny_llama, text)
    assert not request.truncated


def test_a_prompt_of_nothing_is_the_token_that_a_text_begins_with(tiny_llama: Path) -> None:
    request = request_of(tiny_llama, Prompt(index=0, messages=(ChatMessage("user", ""),)))
    assert request.token_ids == (0,)  # <s>


def test_what_is_too_long_keeps_the_end_of_a_chat_and_the_beginning_of_a_text(tiny_llama: Path) -> None:
    whole = ids_of(tiny_llama, "<s>user: the quick brown fox\nassistant:")
    chat = request_of(tiny_llama, Prompt(index=0, messages=HELLO, chat=True), max_input_tokens=5)
    assert (chat.token_ids, chat.truncated) == (whole[-5:], True)
    text = request_of(tiny_llama, Prompt(index=0, messages=HELLO), max_input_tokens=3)
    assert (text.token_ids, text.truncated) == (ids_of(tiny_llama, "the quick brown fox")[:3], True)
    exact = request_of(tiny_llama, Prompt(index=0, messages=HELLO, chat=True), max_input_tokens=len(whole))
    assert (exact.token_ids, exact.truncated) == (whole, False)
