"""Streams of events, however they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.core.backends.server.events import EventStream, TooLongError
from llenergymeasure.core.backends.server.response import Response, UnreadableError

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
PAYLOADS = st.lists(
    st.binary(min_size=1, max_size=40).filter(lambda data: not {10, 13, 0} & {*data} and not data.startswith(b" ")),
    max_size=8,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The same bytes in parts."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(PAYLOADS, st.lists(st.integers(0, 10_000), max_size=6), st.sampled_from([b"\n", b"\r\n"]), st.booleans())
def test_each_event_is_given_once_whatever_the_cuts(
    payloads: list[bytes], places: list[int], end: bytes, talks: bool
) -> None:
    comment = b": ping" + end + end if talks else b""
    raw = b"".join(comment + b"event: x" + end + b"data: " + payload + end + end for payload in payloads)
    stream = EventStream()
    found = [event for part in cut(raw, places) for event in stream.feed(part)]
    assert found == payloads
    assert stream.end() == []


@given(PAYLOADS, st.lists(st.integers(0, 10_000), max_size=6), st.integers(1, 30))
def test_chunks_of_http_and_events_need_not_agree(payloads: list[bytes], places: list[int], size: int) -> None:
    raw = b"".join(b"data: " + payload + b"\n\n" for payload in payloads) + b"data: [DONE]\n\n"
    parts = [raw[i : i + size] for i in range(0, len(raw), size)]
    sent = HEAD + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    response = Response()
    found = [event for part in cut(sent, places) for event in response.feed(part)]
    assert found == [*payloads, b"[DONE]"]
    assert (response.status, response.is_whole, response.keeps) == (200, True, True)


@given(st.binary(max_size=300), st.lists(st.integers(0, 10_000), max_size=4))
def test_anything_else_is_unreadable_or_incomplete_and_never_a_traceback(data: bytes, places: list[int]) -> None:
    response = Response(most_line_bytes=100)
    try:
        for part in cut(data, places):
            response.feed(part)
        response.close()
    except UnreadableError:
        pass


def test_data_of_several_lines_is_one_event() -> None:
    assert EventStream().feed(b"data: a\ndata:b\nid: 7\n\n") == [b"a\nb"]


def test_an_event_whose_last_line_has_no_end_is_given_when_nothing_more_comes() -> None:
    stream = EventStream()
    assert stream.feed(b"data: a\n\ndata: b") == [b"a"]
    assert stream.end() == [b"b"]


@pytest.mark.parametrize(
    "parts", [[b"data: " + b"x" * 20], [b"x" * 8, b"x" * 8], [b"x" * 20 + b"\n"], [b"\n" + b"x" * 20]]
)
def test_a_line_has_a_limit(parts: list[bytes]) -> None:
    stream = EventStream(most_line_bytes=10)
    *earlier, last = parts
    for part in earlier:
        stream.feed(part)
    with pytest.raises(TooLongError, match="a line of more than 10 bytes"):
        stream.feed(last)


def test_of_a_body_that_says_what_is_wrong_a_part_is_kept() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 500 Oh\r\nContent-Length: 100000\r\n\r\n")
    assert response.feed(b"x" * 100_000) == []
    assert (response.status, len(response.said), response.is_whole) == (500, 65536, True)


def test_an_answer_without_a_length_ends_when_the_server_closes() -> None:
    response = Response()
    assert response.feed(b"HTTP/1.0 200 OK\r\n\r\ndata: a\n\ndata: b") == [b"a"]
    assert not response.is_whole
    assert response.close() == [b"b"]
    assert (response.is_whole, response.keeps) == (True, False)


def test_one_with_a_length_may_not() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ndata: a\n\n")
    assert response.close() == []
    assert not response.is_whole


def test_what_comes_before_the_answer_is_not_the_answer() -> None:
    response = Response()
    assert response.feed(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n") == []
    assert response.status is None
    assert response.feed(HEAD + b"9\r\ndata: a\n\n\r\n0\r\n\r\n") == [b"a"]
    assert response.is_whole


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"Content-Encoding: gzip\r\n", r"it is packed \(gzip\), which was not asked for"),
        (b"X: " + b"y" * 70_000 + b"\r\n", "its head has more than 65536 bytes"),
    ],
)
def test_heads_that_nobody_asked_for(head: bytes, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        Response().feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n"[: 2 if len(head) < 100 else 0])


def test_another_protocol_is_no_answer() -> None:
    with pytest.raises(UnreadableError, match="it goes on in another protocol than HTTP"):
        Response().feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nfoo")


def test_what_comes_behind_an_answer_belongs_to_nobody() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ndata: %b\n\n"
    response = Response()
    assert response.feed(answer % b"a" + answer % b"b") == [b"a"]
    assert (response.is_whole, response.keeps) == (True, False)
    again = Response()
    again.feed(answer % b"a")
    assert again.keeps
    assert again.feed(b"rubbish") == []
    assert not again.keeps


def test_a_connection_that_the_server_will_close_is_not_kept() -> None:
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 11\r\n\r\ndata: {}\n\n\n")
    assert (response.is_whole, response.keeps) == (True, False)
