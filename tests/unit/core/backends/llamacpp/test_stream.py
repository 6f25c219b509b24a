"""Answers of llama.cpp's server, however the bytes of them are cut."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.core.backends.llamacpp.stream import AnswerStream

# As b11549 sent it for a prompt of four tokens.
EVENTS = [
    {"index": 0, "content": " the", "tokens": [260], "stop": False, "id_slot": -1, "tokens_predicted": 1},
    {"index": 0, "content": "\U0001f600", "tokens": [218], "stop": False, "id_slot": -1, "tokens_predicted": 4},
    {
        "tokens": [],
        "stop": True,
        "stop_type": "limit",
        "tokens_predicted": 4,
        "tokens_evaluated": 4,
        "truncated": False,
    },
]
HEAD = b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def chunk(text: bytes) -> bytes:
    return f"{len(text):x}\r\n".encode() + text + b"\r\n"


def data(event: object) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


WHOLE = HEAD + chunk(data(EVENTS[0])) + chunk(b": ping\n\n") + chunk(data(EVENTS[1]) + data(EVENTS[2])) + chunk(b"")


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    stream = AnswerStream()
    found = [event for a, b in itertools.pairwise(edges) for event in stream.feed(WHOLE[a:b])]
    stream.end()
    assert found == EVENTS
    assert stream.problem is None


def test_an_error_has_the_servers_reason() -> None:
    body = json.dumps({"error": {"code": 400, "message": "request (400 tokens) exceeds the available context size"}})
    stream = AnswerStream()
    assert stream.feed(f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()) == []
    stream.end()
    assert stream.problem == "request (400 tokens) exceeds the available context size"


def test_an_error_without_a_reason_has_its_status() -> None:
    stream = AnswerStream()
    stream.feed(b"HTTP/1.1 503 Service Unavailable\r\n\r\n<html>")
    stream.end()
    assert stream.problem == "llama.cpp answered with status 503"


def test_an_error_in_the_middle_ends_the_answer() -> None:
    stream = AnswerStream()
    broken = chunk(data({"error": {"message": "Compute error."}}))
    assert stream.feed(HEAD + chunk(data(EVENTS[0])) + broken) == EVENTS[:1]
    assert stream.problem == "Compute error."
