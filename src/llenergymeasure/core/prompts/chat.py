"""How conversations are written by a chat template, so that nothing of them is lost on the way.

Templates differ in what they take: a text or a list of parts as content, a system message or none. Which of these a
template takes is tried with words that stand in no template, once for each sequence of roles; so it does not depend on
what a prompt says, and the same prompt is the same text in every run.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llenergymeasure.core.prompts.template import TEMPLATE_DATE, Rendered, TemplateFailedError, TemplateRenderer
from llenergymeasure.domain.inference import ChatMessage, Prompt
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ConfigError

# In no template and in no prompt.
_MARK = "qzx{}jkv"
_NO_WORD = re.compile(r"[\W_]+")


class _LostError(TemplateFailedError):
    """A template has left out a text."""


@dataclass(frozen=True)
class _Way:
    """One way to give a conversation to a template: content as parts, and system messages as part of the user's."""

    parts: bool
    merged: bool

    def given(self, messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
        return [_as_given(m, parts=self.parts) for m in (without_system(messages) if self.merged else messages)]


@dataclass(frozen=True)
class _Tried:
    """The ways to give a conversation with such roles to a template, and what was wrong with others.

    One that loses a mark loses text, whatever short word is found in what is written. A template that refuses marks may
    look at what is said: it is asked again with that.
    """

    ways: tuple[_Way, ...]
    failures: tuple[TemplateFailedError, ...] = ()


_WAYS = tuple(_Way(parts, merged) for merged in (False, True) for parts in (False, True))


@dataclass
class ChatWriter:
    """Writes conversations with a template, and counts what there is to say about them."""

    renderer: TemplateRenderer
    _ways: dict[tuple[Any, ...], _Tried] = field(default_factory=dict)
    _counts: Counter[str] = field(default_factory=Counter)

    def text(self, prompt: Prompt) -> str:
        """What a model reads of a conversation.

        Raises:
            ConfigError: the template refuses it, fails, does not end, or leaves some of it out.
        """
        self._counts["prompts"] += 1
        tried = self._tried(prompt.messages)
        failures = list(tried.failures)
        for way in tried.ways:
            try:
                rendered = self._written(way, prompt.messages)
            except TemplateFailedError as error:
                failures.append(error)
                continue
            self._count(prompt.messages, way, rendered)
            return rendered.text
        told = next((error for error in failures if error.own_words), failures[0])
        raise ConfigError(
            f"{_place_of(prompt)}: the model's chat template cannot write it: {told}; change or remove the row, or set "
            "dataset.chat: false to give its text without the template"
        )

    def warnings(self) -> tuple[MeasurementWarning, ...]:
        """What was changed or fixed, for a reader of the figures."""
        n, found = self._counts["prompts"], []
        if merged := self._counts["merged"]:
            found.append(
                MeasurementWarning(
                    "system_merged",
                    f"the chat template takes no system message; in {merged} of {n} prompts it was put before the "
                    "first message of the user",
                )
            )
        if without := self._counts["without_calls"]:
            found.append(
                MeasurementWarning(
                    "tool_calls_left_out",
                    f"the chat template leaves out tool calls that stand in {without} of {n} prompts",
                    "use a model whose template writes them, or leave them out",
                )
            )
        if self._counts["clock"]:
            found.append(
                MeasurementWarning(
                    "template_date_fixed",
                    f"the chat template asks for the date, and was told {TEMPLATE_DATE:%Y-%m-%d} in every run",
                )
            )
        return tuple(found)

    def _tried(self, messages: Sequence[ChatMessage]) -> _Tried:
        shape = tuple((m.role, bool(m.content), bool(m.tool_calls)) for m in messages)
        if shape not in self._ways:
            self._ways[shape] = self._try(messages)
        return self._ways[shape]

    def _try(self, messages: Sequence[ChatMessage]) -> _Tried:
        marked = [replace(m, content=_MARK.format(i) if m.content else "") for i, m in enumerate(messages)]
        refused, lost = list[_Way](), list[TemplateFailedError]()
        for way in (way for way in _WAYS if not way.merged or messages[0].role == "system"):
            try:
                self._written(way, marked)
            except _LostError as error:
                lost.append(error)
            except TemplateFailedError:
                refused.append(way)
            else:
                return _Tried((way,))
        return _Tried(tuple(refused), tuple(lost))

    def _written(self, way: _Way, messages: Sequence[ChatMessage]) -> Rendered:
        rendered = self.renderer.render(way.given(messages))
        lost = next((i for i, m in enumerate(messages) if not _stands_in(m, rendered.text)), None)
        if lost is not None:
            raise _LostError(f"it leaves out the text of message {lost + 1} ({messages[lost].role})")
        return rendered

    def _count(self, messages: Sequence[ChatMessage], way: _Way, rendered: Rendered) -> None:
        self._counts["merged"] += way.merged
        self._counts["clock"] += rendered.read_clock
        self._counts["without_calls"] += any(name not in rendered.text for name in _called_names(messages))


def without_system(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The turns with the system messages at their beginning put before the first turn of the user.

    A blank line stands between them, as Gemma's own template does it.
    """
    n = next((i for i, m in enumerate(messages) if m.role != "system"), len(messages))
    system, rest = "\n\n".join(m.content for m in messages[:n]), list(messages[n:])
    first = next((i for i, m in enumerate(rest) if m.role == "user"), None)
    if first is None:
        return [ChatMessage("user", system), *rest]
    rest[first] = replace(rest[first], content=f"{system}\n\n{rest[first].content}")
    return rest


def _as_given(message: ChatMessage, *, parts: bool) -> dict[str, Any]:
    content = [{"type": "text", "text": message.content}] if parts and message.content else message.content
    given: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        given["tool_calls"] = [_readable(call) for call in message.tool_calls]
    return given | dict(message.more)


def _readable(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call whose arguments are an object, which templates take, and not OpenAI's text of one."""
    function = call.get("function")
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}


def _called_names(messages: Sequence[ChatMessage]) -> Iterator[str]:
    for call in (call for m in messages for call in m.tool_calls):
        function = call.get("function")
        # A call without a name is of no form that a template writes; its id is all there is to look for.
        yield str((function if isinstance(function, Mapping) else {}).get("name") or call.get("id") or "\0")


def _stands_in(message: ChatMessage, text: str) -> bool:
    """Whether a template has written a message; what an assistant thought before an answer may be left out."""
    said = message.content.strip()
    if said in text or json.dumps(said, ensure_ascii=False)[1:-1] in text:
        return True
    if message.role == "assistant":
        said = said.rpartition("</think>")[2].strip()
    # Templates may change white space and quotes.
    return _NO_WORD.sub("", said) in _NO_WORD.sub("", text)


def _place_of(prompt: Prompt) -> str:
    return f"prompt {prompt.index + 1}" if prompt.row is None else f"row {prompt.row} of the dataset"
