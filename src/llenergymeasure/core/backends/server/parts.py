"""What the parts of an answer say, which is believed only where it can be."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llenergymeasure.domain.inference import ErrorKind

# Where a chat's part may have text: what is thought, too, is generated.
_TEXTS = ("content", "reasoning_content", "reasoning")


class FailedError(Exception):
    """Why a request has no answer that counts."""

    def __init__(self, kind: ErrorKind, why: str) -> None:
        super().__init__(why)
        self.kind = kind


@dataclass
class Usage:
    """What the server has told of tokens; the last word counts."""

    n_read: int | None = None
    n_said: int | None = None
    n_cached: int | None = None

    def take(self, told: Mapping[str, Any]) -> None:
        """Note what it tells now.

        Raises:
            FailedError: that is no count, or one that has fallen.
        """
        n_read, n_said = _count(told, "prompt_tokens"), _count(told, "completion_tokens")
        if n_said is not None and self.n_said is not None and n_said < self.n_said:
            raise FailedError(
                "unreadable", f"the server counted {self.n_said} tokens and then {n_said}: its answer is out of order"
            )
        self.n_read = self.n_read if n_read is None else n_read
        self.n_said = self.n_said if n_said is None else n_said
        details = told.get("prompt_tokens_details")
        cached = _count(details, "cached_tokens") if isinstance(details, dict) else None
        self.n_cached = self.n_cached if cached is None else cached


def said_in(event: Any) -> str | None:
    """What an error of a server says, however it writes it; None where that is nothing."""
    if not isinstance(event, dict):
        return None
    error = event.get("error")
    inner = error if isinstance(error, dict) else event
    found = next((inner[name] for name in ("message", "detail", "text") if inner.get(name)), error)
    return None if found is None else str(found)[:300]


def _count(told: Mapping[str, Any], name: str) -> int | None:
    """A number of tokens; None where it is not told.

    Raises:
        FailedError: it is no number of anything.
    """
    value = told.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FailedError("unreadable", f"the server tells {value!r:.40} {name}")
    return value


def choices_in(event: Mapping[str, Any]) -> list[Any]:
    """The choices of an event.

    Raises:
        FailedError: these are no list.
    """
    value = event.get("choices")
    if value is None:
        return []
    if not isinstance(value, list):
        raise FailedError("unreadable", "a part of the answer has choices that are no list")
    return value


def text_of(choice: Mapping[str, Any]) -> str:
    """What is new of an answer as text; of calls of tools their names and arguments."""
    if isinstance(choice.get("text"), str):
        return str(choice["text"])
    part = choice.get("delta", choice.get("message"))
    if not isinstance(part, dict):
        return ""
    said = "".join(part[name] for name in _TEXTS if isinstance(part.get(name), str))
    calls = part.get("tool_calls")
    return said + (json.dumps(calls) if calls else "")


def digest_of_text(text: str) -> str:
    """Of an answer whose tokens are not known; no digest of tokens is like it."""
    return hashlib.sha256(f"text:{text}".encode("utf-8", "surrogatepass")).hexdigest()
