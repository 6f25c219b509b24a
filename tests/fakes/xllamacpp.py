"""The module ``xllamacpp`` as a recorded shape: its parameters with their defaults, and a server that answers by rule.

The shape is that of version 2026.10.11549, read from its wheel; a test with the real package holds it against that.
Frames are as its server sent them, the fields left out that nobody reads.
"""

import contextlib
import enum
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RECORDED = Path(__file__).parents[1] / "golden" / "xllamacpp-2026.10.11549.json"
SYSTEM = "CPU : SSE3 = 1 | AVX2 = 1 | OPENMP = 1 | REPACK = 1 | "

# What to stream for the body of a request: events, or an error with its status.
Answer = Callable[[dict[str, Any]], list[dict[str, Any]]]


class Shaped:
    """An object with these attributes and no others, of the kinds that they have."""

    def __init__(self, shape: dict[str, Any], enumerations: dict[str, Any]) -> None:
        for name, value in shape.items():
            self.__dict__[name] = _default(value, enumerations)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"'xllamacpp.CommonParams' object has no attribute '{name}'")
        if not isinstance(value, type(self.__dict__[name])) and not isinstance(value, int | float):
            raise TypeError(f"Argument 'value' has incorrect type (got {type(value).__name__})")
        self.__dict__[name] = value


def _default(value: Any, enumerations: dict[str, Any]) -> Any:
    if not isinstance(value, dict):
        return list(value) if isinstance(value, list) else value
    if "member" in value:
        enumeration, _, member = value["member"].partition(".")
        return enumerations[enumeration][member] if enumeration in enumerations else 0
    if "n_cores" in value:
        return [False] * value["n_cores"]
    return Shaped(value["object"], enumerations) if "object" in value else {}


def fake_library(answer: Answer | None = None, *, system: str = SYSTEM) -> Any:
    """A module whose servers stream what ``answer`` gives, by default the tokens of the prompt, backwards.

    ``at_work`` holds what its slot says when it is asked, one after the other; it is at rest after that.
    """
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    enumerations = {name: enum.IntEnum(name, members) for name, members in recorded["enumerations"].items()}
    library = SimpleNamespace(
        CommonParams=lambda: Shaped(recorded["CommonParams"], enumerations),
        get_system_info=lambda: system,
        bodies=[],
        at_work=[],
        **enumerations,
    )
    library.Server = lambda params: FakeServer(params, answer or backwards, library)
    return library


def backwards(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The prompt's tokens from its end on, as many as were asked for."""
    prompt = body["prompt"]
    ids = [prompt[-1 - k % len(prompt)] for k in range(body["n_predict"])]
    return [*frames([[i] for i in ids]), last_frame(len(ids), len(prompt))]


def frames(steps: list[list[int]]) -> Iterator[dict[str, Any]]:
    """An event for each step that gave these tokens."""
    n_predicted = 0
    for ids in steps:
        n_predicted += len(ids)
        yield {"index": 0, "content": " the", "tokens": ids, "stop": False, "tokens_predicted": n_predicted}


def last_frame(n_predicted: int, n_read: int, **more: Any) -> dict[str, Any]:
    """The event that ends an answer."""
    counts = {"tokens_predicted": n_predicted, "tokens_evaluated": n_read}
    return (
        {"tokens": [], "stop": True, "stop_type": "limit", "truncated": False, "timings": {"cache_n": 0}}
        | counts
        | more
    )


class FakeServer:
    """Listens on the socket that its parameters name, until nobody holds it any more."""

    def __init__(self, params: Any, answer: Answer, library: Any) -> None:
        (path,) = params.hostnames
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen(64)
        threading.Thread(target=_serve, args=(self._listening, params, answer, library), daemon=True).start()

    def __del__(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def _serve(listening: socket.socket, params: Any, answer: Answer, library: Any) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            place, body = _asked(connection)
            if place == "/completion":
                library.bodies.append(body)
                connection.sendall(b"".join(_streamed(answer(body))))
            else:
                connection.sendall(_plain(200, _properties(params) if place == "/props" else _slots(library)))


def _asked(connection: socket.socket) -> tuple[str, dict[str, Any]]:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += connection.recv(65536)
    head, _, body = raw.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head.split(b" ")[1].decode(), json.loads(body or b"{}")


def _streamed(events: list[dict[str, Any]]) -> Iterator[bytes]:
    if "status" in events[0]:
        yield _plain(events[0]["status"], {"error": events[0]["error"]})
        return
    yield b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    for event in events:
        text = b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
        yield f"{len(text):x}\r\n".encode() + text + b"\r\n"
    yield b"0\r\n\r\n"


def _plain(status: int, content: Any) -> bytes:
    body = json.dumps(content).encode()
    return f"HTTP/1.1 {status} OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def _slots(library: Any) -> list[dict[str, Any]]:
    return [{"is_processing": library.at_work.pop(0) if library.at_work else False}]


def _properties(params: Any) -> dict[str, Any]:
    settings = {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "typical_p": 1.0, "samplers": ["top_k"]}
    more = {"repeat_penalty": 1.0, "repeat_last_n": 64, "mirostat": 0, "ignore_eos": False}
    return {"default_generation_settings": {"params": settings | more, "n_ctx": params.n_ctx // params.n_parallel}}
