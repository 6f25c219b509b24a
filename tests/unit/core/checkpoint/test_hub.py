"""A hub to which no way leads is not waited for; one that is slow, or out of order, is left to its libraries."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from llenergymeasure.core.checkpoint.hub import asked_if_it_answers, fetched_folder

pytestmark = pytest.mark.pytorch


class _OutOfOrder(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(503)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """A hub here, which the libraries are told of."""
    from huggingface_hub import constants

    server = HTTPServer(("127.0.0.1", 0), _OutOfOrder)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield server
    server.server_close()


def is_offline() -> bool:
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


def test_one_that_nobody_listens_at_is_not_waited_for(endpoint: HTTPServer) -> None:
    endpoint.server_close()
    with asked_if_it_answers("owner/name"):
        assert is_offline()
        with asked_if_it_answers("owner/name"):
            assert is_offline()
        assert is_offline()
    assert not is_offline()


def test_one_without_a_name_is_not_waited_for(endpoint: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with asked_if_it_answers("owner/name", None):
        assert is_offline()


def test_one_that_answers_with_an_error_is_there(endpoint: HTTPServer) -> None:
    thread = threading.Thread(target=endpoint.handle_request)
    thread.start()
    with asked_if_it_answers("owner/name"):
        assert not is_offline()
    thread.join()


def test_one_that_is_late_is_there(endpoint: HTTPServer) -> None:
    # It listens and never answers.
    with asked_if_it_answers("owner/name", patience_s=0.1):
        assert not is_offline()


def test_what_lies_here_needs_no_hub(endpoint: HTTPServer, tmp_path: Path) -> None:
    endpoint.server_close()
    with asked_if_it_answers(str(tmp_path), None):
        assert not is_offline()


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
def test_a_checkpoint_is_found_where_the_hubs_library_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    from huggingface_hub import constants

    commit, repository = "0123456789abcdef" * 2 + "01234567", tmp_path / "models--owner--name"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / weights).write_bytes(b"weights")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetched_folder("owner/name") == snapshot
    assert fetched_folder(str(tmp_path)) == tmp_path
