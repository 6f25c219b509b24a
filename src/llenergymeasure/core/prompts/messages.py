"""Conversations as people keep them, as turns of ours: OpenAI's messages, with parts and tool calls, and ShareGPT's."""

import json
from collections.abc import Mapping
from typing import Any

from llenergymeasure.domain.inference import ChatMessage

# The most characters of one prompt: a conversation is of no more than all of its row.
MOST_CHARACTERS = 2**24

# Who speaks in a conversation of ShareGPT's form ("from"), as roles.
_SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
}
_MORE_KEYS = ("name", "tool_call_id")


class NotAPromptError(ValueError):
    """A value is no prompt, for a reason that its form does not show."""


def conversation_of(value: Any) -> tuple[ChatMessage, ...]:
    """The turns in a list of messages.

    Args:
        value: a list of ``{role, content}``, whose content is a text, a list of text parts, or null beside
            ``tool_calls``; or of ``{from, value}``, which is ShareGPT's form.

    Raises:
        NotAPromptError: it has what cannot be run, such as a picture.
        TypeError, KeyError: it is no such list.
        ValueError: it has half of a character.
    """
    if not isinstance(value, list) or not value:
        raise TypeError("neither a text nor a list of messages")
    return tuple(_sharegpt_turn(m) if _is_sharegpt(m) else _turn(m) for m in value)


def text_of(value: Any) -> str:
    """A text that is a prompt or a part of one.

    Raises:
        TypeError: it is empty, or none.
        NotAPromptError: it is too long.
        ValueError: it has half of a character.
    """
    if not isinstance(value, str) or not value:
        raise TypeError("not a text")
    if len(value) > MOST_CHARACTERS:
        raise NotAPromptError(f"it has {len(value):,} characters, and at most {MOST_CHARACTERS:,} are read")
    value.encode()  # half of a character is no text either
    return value


def _is_sharegpt(message: Any) -> bool:
    return isinstance(message, Mapping) and "role" not in message and "from" in message


def _sharegpt_turn(message: Mapping[str, Any]) -> ChatMessage:
    speaker = text_of(message["from"])
    if speaker not in _SHAREGPT_ROLES:
        raise NotAPromptError(f"{speaker!r:.40} is nobody who speaks in ShareGPT's form: {', '.join(_SHAREGPT_ROLES)}")
    return ChatMessage(_SHAREGPT_ROLES[speaker], text_of(message["value"]))


def _turn(message: Any) -> ChatMessage:
    role, content, calls = text_of(message["role"]), message["content"], message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise TypeError("tool_calls are no list of objects")
    json.dumps(calls)  # a TypeError for a date or bytes, which a table may hold
    more = tuple((key, text_of(message[key])) for key in _MORE_KEYS if message.get(key))
    # A turn that only calls tools says nothing.
    text = "" if calls and not content else _content(content)
    return ChatMessage(role, text, tuple(calls), more)


def _content(content: Any) -> str:
    """A text, or the texts of its parts with a line break between them, as vLLM's server joins them."""
    if not isinstance(content, list) or not content:
        return text_of(content)
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if isinstance(kind, str) and kind != "text":
            raise NotAPromptError(f"a part of type {kind!r:.40} cannot be run, only text; leave it out")
    return text_of("\n".join(text_of(part["text"]) for part in content))
