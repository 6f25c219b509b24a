"""Each way in which a server can fail ends in a row with a kind and a clear word, and the next request is served."""

import logging
import resource
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.core.backends.server.connections import Connection, UnreachableError
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from llenergymeasure.testing.fake_answers import Fault
from llenergymeasure.testing.fake_server import FakeServer, FakeSettings
from tests.fakes.ports import free_port
from tests.unit.core.backends.server.conftest import config_of, ran, requests_of, with_fault

# More than a line may have.
TOO_LONG = 11 * 2**20


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(kind="close"), "closed", "the server closed the connection before an answer"),
        (Fault(kind="close", n_chunks_before=0), "closed", "the server closed the connection before an answer"),
        (Fault(kind="close", n_chunks_before=2), "closed", "closed the connection after 2 parts of the answer"),
        (Fault(kind="half_chunk", n_chunks_before=2), "closed", "after 2 parts of the answer"),
        (Fault(kind="garbage"), "unreadable", "what the server sends cannot be read: this is no HTTP"),
        (Fault(kind="endless_head"), "unreadable", "its head has more than 65536 bytes"),
        (Fault(kind="long_line", n=TOO_LONG), "unreadable", "a line of more than 10485760 bytes"),
        (Fault(kind="long_line", n=9 * 2**20), "unreadable", "a part of the answer is no JSON"),
        (Fault(kind="deep_json"), "unreadable", "a part of the answer is no JSON"),
        (Fault(kind="error_inside", n_chunks_before=2), "server", "gave up: the fake server ran out of patience"),
        (Fault(kind="foreign_id"), "unreadable", "a part of another answer is in this one"),
        (Fault(kind="out_of_order"), "unreadable", "counted 5 tokens and then 4: its answer is out of order"),
        (Fault(kind="two_choices"), "unreadable", "the server sends several answers, and one was asked for"),
        (Fault(kind="no_reason"), "unreadable", "the answer ended without a reason"),
        (Fault(kind="empty"), "unreadable", "the answer has status 200, and neither events nor JSON in it"),
        (Fault(kind="usage", usage={"completion_tokens": -1}), "unreadable", "the server tells -1 completion_tokens"),
        (Fault(kind="usage", usage={"completion_tokens": "6"}), "unreadable", "the server tells '6' completion_tokens"),
        (Fault(kind="usage", usage={"completion_tokens": 7}), "unreadable", "counted 7 tokens, and at most 6 were"),
        (Fault(kind="usage", usage={"prompt_tokens": -3}), "unreadable", "the server tells -3 prompt_tokens"),
        (Fault(kind="status", status=503), "refused", "with status 503 (not now); it says: the fake server was told"),
        (Fault(kind="status", status=429), "refused", "refused it with status 429 (too many requests); it says"),
        (Fault(kind="status", status=429, retry_after="7"), "refused", "and to come back after 7 s"),
        (Fault(kind="status", status=503, retry_after="9"), "refused", "(not now), and to come back after 9 s"),
        (Fault(kind="status", status=500, body="boom"), "status", "answered with status 500; it says: boom"),
        (Fault(kind="status", status=400, body='{"message": "no such model"}'), "status", "it says: no such model"),
        (Fault(kind="redirect", location="http://elsewhere.invalid/v1"), "status", "to http://elsewhere.invalid/v1)"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "kind", None),
)  # fmt: skip
def test_it_is_a_row_with_its_kind(fault: Fault, kind: str, words: str) -> None:
    rows, _ = with_fault(fault)
    assert [row.finish_reason for row in rows] == ["length", "error", "length"]
    assert rows[1].error_kind == kind
    assert words in str(rows[1].error)
    assert rows[1].output_tokens == 0
    assert [rows[i].output_tokens for i in (0, 2)] == [6, 6]


@pytest.mark.parametrize("after", [None, 0, 2])
def test_a_server_that_hangs_is_given_up_when_it_was_silent_for_long(after: int | None) -> None:
    began_s = time.monotonic()
    rows, _ = with_fault(Fault(kind="hang", n_chunks_before=after), server={"silence_timeout_s": 0.3})
    assert rows[1].error_kind == "timeout"
    assert rows[1].error == "nothing came for 0.3 s (server.silence_timeout_s)"
    assert time.monotonic() - began_s < 5
    assert rows[2].succeeded


def test_one_that_is_never_silent_is_given_up_when_its_time_is_over() -> None:
    settings = {"gap_s": 0.05}
    rows, _ = with_fault(
        Fault(kind="keep_alives"), settings=settings, server={"timeout_s": 0.2, "silence_timeout_s": 0.15}
    )
    assert {row.error for row in rows} == {"it had not ended after 0.2 s (server.timeout_s)"}
    assert {row.error_kind for row in rows} == {"timeout"}


def test_keep_alives_are_no_tokens() -> None:
    rows, flags = with_fault(Fault(kind="keep_alives", n=5))
    assert [row.output_tokens for row in rows] == [6, 6, 6]
    assert all(row.succeeded for row in rows)
    assert flags == []


def test_without_usage_ids_are_counted() -> None:
    rows, flags = with_fault(Fault(kind="no_usage"), settings={"tells_counts": False})
    assert [(row.output_tokens, row.counted_by) for row in rows] == [(6, "tokens")] * 3
    assert flags == []


def test_without_usage_ids_and_a_tokenizer_nobody_can_count() -> None:
    settings = {"tells_counts": False, "tells_ids": False}
    rows, _ = with_fault(Fault(kind="no_usage"), settings=settings)
    assert rows[1].error_kind == "unreadable"
    assert rows[1].error == (
        "the server tells no usage, and without the tokenizer of `model` nobody can count the tokens"
    )


def test_fewer_tokens_than_chunks_is_said_and_usage_counts() -> None:
    settings: dict[str, Any] = {"tells_counts": False, "tells_ids": False}
    rows, flags = with_fault(Fault(kind="usage", usage={"completion_tokens": 2}), settings=settings)
    assert (rows[1].finish_reason, rows[1].error_kind) == ("error", "server")
    # A length that was not reached says that there was no room.
    assert "there was no room for more after 2 of 6 tokens" in str(rows[1].error)
    with FakeServer(
        FakeSettings(faults={"*": Fault(kind="usage", usage={"completion_tokens": 2})}, **settings)
    ) as server:
        # 5 + 6 + 10 is a multiple of seven: this answer ends by itself after three tokens.
        request = Request(index=0, token_ids=(5, 6, 10), max_output_tokens=6)
        rows, flags = ran(config_of(server.url), [request])
    assert (rows[0].finish_reason, rows[0].output_tokens, rows[0].counted_by) == ("stop", 2, "usage")
    assert flags == ["usage_contradicts"]


def test_another_count_of_the_prompt_is_said() -> None:
    rows, flags = with_fault(Fault(kind="usage", usage={"prompt_tokens": 4}))
    assert [row.input_tokens for row in rows] == [3, 4, 3]
    assert rows[1].input_digest is None
    assert flags == ["prompt_tokens_differ"]


def test_an_answer_that_is_no_stream_counts_as_one_chunk() -> None:
    rows, _ = with_fault(Fault(kind="whole_body"))
    assert (rows[1].output_tokens, rows[1].finish_reason, rows[1].counted_by) == (6, "length", "tokens")
    assert len(set(rows[1].token_times_s)) == 1


def test_an_answer_may_end_without_its_last_word() -> None:
    rows, _ = with_fault(Fault(kind="no_done"))
    assert rows[1].succeeded


def test_the_end_of_the_body_is_not_waited_for_long() -> None:
    rows, _ = with_fault(Fault(kind="open_end"))
    assert all(row.succeeded for row in rows)
    assert rows[1].e2e_s is not None
    assert rows[1].e2e_s < 0.4


def test_nobody_there_is_a_row_for_each(certificate: tuple[Path, ssl.SSLContext]) -> None:
    with FakeServer() as server:
        config = config_of(server.url)
        done = list[RequestOutput]()
        with ServerBackend().load(ExperimentPlan.of(config)) as model:
            server.__exit__()
            model.run(requests_of(), Load.all_at_once(), done.append)
    assert {row.error_kind for row in done} == {"unreachable"}
    assert {row.error for row in done} == {"the server cannot be reached: Connection refused"}


def test_nobody_there_at_all_is_told_before_the_run() -> None:
    config = config_of(f"http://127.0.0.1:{free_port()}")
    (problem,) = ServerBackend().problems(config)
    assert problem.startswith("server.url: no server is ready at http://127.0.0.1:")
    assert problem.endswith("start it, or have it started with server.command")
    with pytest.raises(BackendError, match="no server is ready at"):
        ran(config)


def test_tls_is_spoken_and_a_certificate_must_be_trusted(certificate: tuple[Path, ssl.SSLContext]) -> None:
    file, tls = certificate
    with FakeServer(tls=tls) as server:
        rows, _ = ran(config_of(server.url, server={"ca_file": str(file)}), load=Load.all_at_once())
        assert [row.output_tokens for row in rows] == [6, 6, 6]
        unverified, _ = ran(config_of(server.url, server={"verify_tls": False}))
        assert all(row.succeeded for row in unverified)
        (problem,) = ServerBackend().problems(config_of(server.url))
        assert "its certificate is not trusted (self-signed certificate)" in problem
        plain = server.url.replace("https", "http")
        assert "no server is ready at" in ServerBackend().problems(config_of(plain))[0]


def test_tls_that_fails_later_is_a_row(certificate: tuple[Path, ssl.SSLContext]) -> None:
    _, tls = certificate
    with FakeServer(tls=tls) as server:
        connection = Connection((2, ("127.0.0.1", server.port)), ssl.create_default_context(), "127.0.0.1")
        connection.send(b"x")
        with pytest.raises(UnreachableError, match="its certificate is not trusted"):
            _until_it_ends(connection)
        connection.close()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connection = Connection((2, listening.getsockname()), ssl.create_default_context(), "127.0.0.1")
        connection.send(b"x")
        peer, _ = listening.accept()
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with pytest.raises(UnreachableError, match="TLS fails"):
            _until_it_ends(connection)
        connection.close()
        peer.close()


def _until_it_ends(connection: Any) -> None:
    for _ in range(1000):
        connection.go_on()
        time.sleep(0.005)


def test_more_connections_than_a_process_may_have_are_rows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    requests = [Request(index=i, token_ids=(5, 6, 8), max_output_tokens=2) for i in range(80)]
    port, done = free_port(), list[RequestOutput]()
    # In a process of its own, which has not this limit.
    command = [sys.executable, "-m", "llenergymeasure.testing.fake_server", "--port", str(port)]
    config = config_of(f"http://127.0.0.1:{port}", server={"command": command})
    with ServerBackend().load(ExperimentPlan.of(config)) as model:
        in_use = len(list(Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 40, hard))
        try:
            model.run(requests, Load.all_at_once(), done.append)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(done) == 80
    failed = [row for row in done if not row.succeeded]
    assert 0 < len(failed) < 80
    assert {row.error_kind for row in failed} == {"unreachable"}
    assert "ulimit -n" in str(failed[0].error)


def test_a_key_arrives_and_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    key = "a-key-that-nobody-may-see"
    monkeypatch.setenv("A_KEY_OF_OURS", key)
    said = Fault(kind="status", status=401, body=f'{{"error": "the key {key} is wrong"}}')
    to_key = Fault(kind="redirect", location=f"http://elsewhere.invalid/?k={key}")
    named = config_of("http://127.0.0.1:1", server={"api_key": "${A_KEY_OF_OURS}"})
    assert key not in repr(named)
    with FakeServer(FakeSettings(faults={"0": said, "1": to_key})) as server, caplog.at_level(logging.DEBUG):
        named = config_of(server.url, server={"api_key": "${A_KEY_OF_OURS}", "headers": {"X-Team": "a"}})
        done = list[RequestOutput]()
        with ServerBackend().load(ExperimentPlan.of(in_use(named))) as model:
            model.run(requests_of(), Load.at_most(1), done.append)
            told = f"{model.describe()} {model.warnings()} {model.identity()} {done}"
    assert [each.headers.get("authorization") for each in server.asked] == [f"Bearer {key}"] * 3
    assert {each.headers.get("x-team") for each in server.asked} == {"a"}
    assert [row.succeeded for row in done] == [False, False, True]
    assert key not in told
    assert "${A_KEY_OF_OURS}" in str(done[0].error)
    assert key not in caplog.text


def test_proxies_of_the_environment_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeServer() as server:
        rows, _ = ran(config_of(server.url))
    assert all(row.succeeded for row in rows)
