"""How the fake server writes an answer, whole or as a fault wants it."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llenergymeasure.testing.fake_answers import FakeSettings, Fault, words_of

_REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests"}
_DEEP = 200_000
_HALF = b'data: {"id": "'


class Head:
    """What begins an answer."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def json(self, status: int, value: Any, **headers: str) -> bool:
        """A whole answer of JSON, or of text as it stands; the connection lasts."""
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        lines = "".join(f"{name.replace('_', '-')}: {said}\r\n" for name, said in headers.items())
        reason = _REASONS.get(status, "Status")
        self._writer.write(
            f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n".encode()
            + f"Content-Length: {len(body)}\r\n{lines}\r\n".encode()
            + body
        )
        await self._writer.drain()
        return True

    def stream(self) -> None:
        """The head of a stream of events."""
        self._writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
        )


@dataclass(frozen=True, kw_only=True)
class Telling:
    """An answer that is to be told: its ``number`` among all, ``tokens``, and what is wrong with it."""

    number: int
    request: dict[str, Any]
    is_chat: bool
    n_prompt: int
    tokens: Sequence[int]
    ended: bool
    fault: Fault | None
    settings: FakeSettings

    def is_fault(self, kind: str) -> bool:
        """Whether this is what is wrong."""
        return self.fault is not None and self.fault.kind == kind

    @property
    def answer_id(self) -> str:
        """The same in all chunks."""
        return f"cmpl-fake-{self.number}"

    def chunks(self) -> Iterator[dict[str, Any]]:
        """The chunks with tokens, in their order."""
        size, n_told = self.settings.n_tokens_per_chunk, 0
        if self.is_chat:
            yield self._chunk({"role": "assistant", "content": ""}, ())
        for place in range(0, len(self.tokens), size):
            new = list(self.tokens[place : place + size])
            n_told += len(new)
            is_last = n_told == len(self.tokens)
            reason = None if not is_last or self.is_fault("no_reason") else "stop" if self.ended else "length"
            chunk = self._chunk(words_of(new), new, reason)
            options = self.request.get("stream_options") or {}
            if options.get("continuous_usage_stats") and self.settings.tells_counts:
                falls = self.is_fault("out_of_order") and is_last
                chunk["usage"] = self._usage(n_told - (2 if falls else 0))
            yield chunk

    def whole_usage(self) -> dict[str, Any] | None:
        """The chunk that tells all tokens; None where it is not told."""
        options = self.request.get("stream_options") or {}
        if not options.get("include_usage") or self.is_fault("no_usage"):
            return None
        return {**self._shell(), "choices": [], "usage": self.told_usage()}

    def told_usage(self) -> dict[str, Any]:
        """What is told of all tokens."""
        wrong = self.fault.usage if self.fault is not None and self.fault.kind == "usage" else {}
        return {**self._usage(len(self.tokens)), **wrong}

    def whole(self) -> dict[str, Any]:
        """The answer as one object."""
        choice = self._choice(words_of(self.tokens), self.tokens, "stop" if self.ended else "length")
        if self.is_chat:
            choice["message"] = choice.pop("delta")
        return {**self._shell(), "choices": [choice], "usage": self.told_usage()}

    def _shell(self) -> dict[str, Any]:
        return {"id": self.answer_id, "object": "text_completion", "model": self.request.get("model")}

    def _usage(self, n_told: int) -> dict[str, Any]:
        usage: dict[str, Any] = {"prompt_tokens": self.n_prompt, "completion_tokens": n_told}
        if self.settings.n_cached is not None:
            usage["prompt_tokens_details"] = {"cached_tokens": min(self.settings.n_cached, self.n_prompt)}
        return usage

    def _chunk(self, said: Any, tokens: Sequence[int], reason: str | None = None) -> dict[str, Any]:
        choices = [self._choice(said, tokens, reason)]
        if self.is_fault("two_choices"):
            choices.append({**choices[0], "index": 1})
        return {**self._shell(), "choices": choices}

    def _choice(self, said: Any, tokens: Sequence[int], reason: str | None) -> dict[str, Any]:
        choice: dict[str, Any] = {"index": 0, "finish_reason": reason}
        choice |= {"delta": said if isinstance(said, dict) else {"content": said}} if self.is_chat else {"text": said}
        if self.request.get("return_token_ids") and self.settings.tells_ids:
            choice["token_ids"] = list(tokens)
        return choice


async def tell(telling: Telling, writer: asyncio.StreamWriter) -> bool:
    """Write the answer; whether the connection lasts."""
    await asyncio.sleep(telling.settings.ttft_s)
    fault = telling.fault
    done = None if fault is None else await _instead(fault, telling, writer)
    if done is not None:
        return done
    Head(writer).stream()
    for place, chunk in enumerate(telling.chunks()):
        if place:
            await asyncio.sleep(telling.settings.gap_s)
        if fault is not None and not await _before_chunk(fault, place, writer):
            return False
        await _event(writer, chunk)
    usage = telling.whole_usage()
    if usage is not None:
        await _event(writer, usage)
    if not telling.is_fault("no_done"):
        await _chunk(writer, b"data: [DONE]\n\n")
    if telling.is_fault("open_end"):
        await asyncio.Event().wait()
    await _chunk(writer, b"")
    return True


async def _instead(fault: Fault, telling: Telling, writer: asyncio.StreamWriter) -> bool | None:
    """What is written in place of an answer, and whether the connection lasts; None where there is one after all."""
    if fault.kind in ("close", "hang") and fault.n_chunks_before is None:
        if fault.kind == "hang":
            await asyncio.Event().wait()
        return False
    if fault.kind == "status":
        headers = {} if fault.retry_after is None else {"Retry_After": fault.retry_after}
        return await Head(writer).json(fault.status, fault.body, **headers)
    if fault.kind == "redirect":
        return await Head(writer).json(302, {}, Location=fault.location)
    if fault.kind == "empty":
        return await Head(writer).json(200, "")
    if fault.kind == "whole_body":
        return await Head(writer).json(200, telling.whole())
    if fault.kind == "garbage":
        writer.write(b"\x00\x01 this is no HTTP\r\n\r\n")
    elif fault.kind == "endless_head":
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-More: and more\r\n" * 100_000)
    else:
        return None
    await writer.drain()
    return False


async def _before_chunk(fault: Fault, place: int, writer: asyncio.StreamWriter) -> bool:
    """What is written before a chunk; whether the chunk comes at all."""
    if fault.kind in ("close", "hang") and place == fault.n_chunks_before:
        if fault.kind == "hang":
            await writer.drain()
            await asyncio.Event().wait()
        return False
    if fault.kind == "half_chunk" and place == (fault.n_chunks_before or 0):
        writer.write(f"{len(_HALF) + 100:x}\r\n".encode() + _HALF)
        await writer.drain()
        return False
    if fault.kind == "keep_alives":
        await _chunk(writer, b": ping\r\n\r\n" * fault.n)
    if fault.kind == "error_inside" and place == (fault.n_chunks_before or 0):
        await _event(writer, {"error": {"message": "the fake server ran out of patience", "code": 500}})
    if fault.kind == "foreign_id" and place == 1:
        await _event(writer, {"id": "cmpl-of-another", "choices": [{"index": 0, "text": " x", "finish_reason": None}]})
    if fault.kind == "long_line" and place == 1:
        await _chunk(writer, b"data: " + b"x" * fault.n)
        await _chunk(writer, b"\n\n")
    if fault.kind == "deep_json" and place == 1:
        await _chunk(writer, b"data: " + b"[" * _DEEP + b"\n\n")
    return True


async def _event(writer: asyncio.StreamWriter, value: Any) -> None:
    await _chunk(writer, b"data: " + json.dumps(value).encode() + b"\n\n")


async def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
    await writer.drain()
