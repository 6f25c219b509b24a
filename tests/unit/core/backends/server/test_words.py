"""What is known before a run: where a server is, what it is sent, and what it cannot be told."""

from typing import Any

import pytest
from pydantic import ValidationError

from llenergymeasure.config.engines import ServerConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.core.backends.server.address import Address
from llenergymeasure.core.backends.server.body import Bodies, seed_of
from llenergymeasure.core.backends.server.dialects import DIALECTS
from llenergymeasure.core.backends.server.gpus import gpus_of, pids_on
from llenergymeasure.core.instruments import build_instruments
from llenergymeasure.domain.inference import ChatMessage, Request
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ConfigError
from llenergymeasure.testing.gpus import FakeGpuDevice, FakeGpuDriver
from tests.unit.core.backends.server.conftest import config_of

# Of the block that is kept for documents (RFC 5737): nobody's machine.
FAR = "http://192.0.2.7:8000"
REQUEST = Request(index=3, token_ids=(5, 6, 7), max_output_tokens=9)


@pytest.mark.parametrize(
    ("url", "host", "port", "base", "named"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1", 8000, "", "127.0.0.1:8000"),
        ("http://localhost/v1", "localhost", 80, "", "localhost"),
        ("https://a.example/llm/v1/", "a.example", 443, "/llm", "a.example"),
        ("http://[::1]:81/v1", "::1", 81, "", "[::1]:81"),
        ("https://a.example:80", "a.example", 80, "", "a.example:80"),
    ],
)
def test_an_address_has_its_parts(url: str, host: str, port: int, base: str, named: str) -> None:
    found = Address.of(ServerConfig(url=url).url)
    assert (found.host, found.port, found.base, found.named) == (host, port, base, named)


@pytest.mark.parametrize(
    ("url", "is_here"),
    [("http://127.0.0.1", True), ("http://127.8.9.1", True), ("http://localhost:1", True), ("http://[::1]", True),
     (FAR, False), ("http://no-such-host.invalid", False)],
)  # fmt: skip
def test_this_machine_is_told_from_others(url: str, is_here: bool) -> None:
    assert Address.of(url).is_here() == is_here


@pytest.mark.parametrize(
    "url",
    ["localhost:8000", "ftp://a/", "http://", "http://a:99999", "http://a/?x=1", "http://someone@a/", "unix:///x"],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises((ValidationError, ConfigError)):
        ServerConfig(url=url)


def test_a_key_that_is_written_out_is_refused_and_not_repeated() -> None:
    for given in ({"api_key": "abc"}, {"headers": {"Authorization": "Bearer abc123456789"}}):
        with pytest.raises(ConfigError, match=r"looks like a secret that is written out|carries a password") as found:
            ServerConfig.model_validate(given)
        assert "abc" not in str(found.value)
    assert ServerConfig(api_key="${KEY}").api_key == "${KEY}"


@pytest.mark.parametrize(
    "headers", [{"a b": "c"}, {"Host": "x"}, {"content-length": "1"}, {"X": "a\r\nY: b"}, {"X": "a\nb"}]
)
def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ServerConfig(headers=headers)


def test_a_command_is_a_line_or_words() -> None:
    line = ServerConfig.model_validate({"command": "serve --name 'a b' --port 1"})
    assert line.command == ["serve", "--name", "a b", "--port", "1"]
    assert line == ServerConfig(command=["serve", "--name", "a b", "--port", "1"])
    with pytest.raises(ValidationError, match="this line is not whole"):
        ServerConfig.model_validate({"command": "serve 'a"})


def test_ids_are_sent_to_completions_only() -> None:
    with pytest.raises(ValidationError, match="a chat is sent as messages"):
        ServerConfig(api="chat", send="token_ids")
    engine = ServerBackend()
    assert not engine.takes_text(config_of(FAR))
    assert engine.takes_text(config_of(FAR, server={"send": "text"}))
    assert engine.takes_text(config_of(FAR, server={"api": "chat"}))


@pytest.mark.parametrize("name", ["stream", "prompt", "messages", "n", "max_tokens", "seed", "temperature", "model"])
def test_what_is_set_here_is_not_passed_through(name: str) -> None:
    with pytest.raises(ValidationError, match=r"may not be passed through|is set by the field"):
        config_of(FAR, passthrough_kwargs={name: 1})


def body(kind: Any, **fields: Any) -> dict[str, Any]:
    return Bodies(config_of(FAR, **fields), DIALECTS[kind], "served").of(REQUEST, 42)


def test_the_body_has_the_request_and_nothing_that_openai_does_not_know() -> None:
    assert body("openai") == {
        "model": "served", "stream": True, "stream_options": {"include_usage": True}, "temperature": 0.0,
        "max_tokens": 9, "prompt": [5, 6, 7],
    }  # fmt: skip


def test_each_kind_is_asked_for_counts_in_its_own_words() -> None:
    assert body("vllm")["return_token_ids"] is True
    assert body("sglang")["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    llamacpp = body("llamacpp", decoder={"repetition_penalty": 1.1, "ignore_eos": True})
    told = {"timings_per_token": True, "cache_prompt": False, "top_k": 1, "repeat_penalty": 1.1, "ignore_eos": True}
    assert told.items() <= llamacpp.items()
    assert body("llamacpp", passthrough_kwargs={"cache_prompt": True})["cache_prompt"] is True


def test_drawing_has_a_seed_for_each_request() -> None:
    decoder = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_output_tokens": 2}
    drawn = body("vllm", decoder=decoder)
    told = {"temperature": 0.7, "top_p": 0.9, "top_k": 5, "min_tokens": 2, "seed": seed_of(42, 3)}
    assert told.items() <= drawn.items()
    assert "seed" not in body("vllm")
    seeds = {seed_of(seed, index) for seed in range(20) for index in range(50)}
    assert len(seeds) == 1000
    assert all(0 < seed < 2**31 for seed in seeds)


def test_a_chat_has_messages_with_calls_of_tools() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = (ChatMessage("assistant", "", (call,)), ChatMessage("tool", "4", more=(("tool_call_id", "1"),)))
    config = config_of(FAR, server={"api": "chat"})
    found = Bodies(config, DIALECTS["openai"], "m").of(Request(index=0, messages=messages, max_output_tokens=1), 1)
    assert found["messages"] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
    ]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lora": {"path": "x"}}, "lora: a server is started with its adapters"),
        ({"server": {"send": "text"}, "dataset": "random"}, "dataset.random: random token ids have no text"),
        ({"server": {"send": "text"}}, "dataset.chat: a chat template writes these prompts"),
        ({"server": {"ca_file": "/no/such.pem"}}, "server.ca_file: there is no file /no/such.pem"),
        ({"server": {"kind": "ollama"}}, "server.send: Ollama takes no token ids"),
        ({"server": {"kind": "tgi", "api": "chat"}, "decoder": {"ignore_eos": True}}, "decoder.ignore_eos: TGI has no"),
        ({"server": {"command": "true", "url": FAR}}, "server.command starts a server on this machine, and server.url"),
        ({"server": {"command": "no-such-program"}}, "server.command: there is no program no-such-program"),
    ],
)
def test_what_does_not_fit_is_told_before_the_run(fields: dict[str, Any], words: str) -> None:
    # A command, so that nobody is asked whether they are there.
    server = {"command": "true", "url": "http://127.0.0.1:1", **fields.pop("server", {})}
    found = ServerBackend().problems(config_of(server.pop("url"), server=server, **fields))
    assert any(line.startswith(words) for line in found), found


def test_a_server_elsewhere_has_no_energy_and_that_is_said() -> None:
    config = config_of(FAR)
    engine = ServerBackend()
    reason = engine.elsewhere(config)
    assert reason == (
        "the server (192.0.2.7:8000) is not on this machine, whose sensors do not see it; run llem there to have joules"
    )
    assert engine.select_devices(config, ["GPU-1"]) == ()
    assert [warning.flag for warning in engine.cautions(config)] == ["server_elsewhere"]
    instruments = build_instruments(ExperimentPlan.of(config), elsewhere=reason)
    assert (instruments.energy, instruments.energy_absent_reason) == (None, reason)
    # Where none was asked for there is nothing to explain.
    silent = ExperimentConfig.model_validate({**config.model_dump(exclude_unset=True), "energy": {"backend": None}})
    assert "null" in str(build_instruments(ExperimentPlan.of(silent), elsewhere=reason).energy_absent_reason)


def test_a_server_of_ones_own_has_nothing_to_be_cautioned_of() -> None:
    here = "http://127.0.0.1:1"
    assert ServerBackend().cautions(config_of(here, server={"command": "true"})) == []
    assert [w.flag for w in ServerBackend().cautions(config_of(here))] == ["server_not_ours"]
    assert ServerBackend().select_devices(config_of(here), ["GPU-1"]) == ("GPU-1",)


def test_the_gpus_of_a_server_are_those_with_its_processes() -> None:
    uuids, none = ("A", "B"), frozenset[int]()
    before = {"A": none, "B": frozenset({9})}
    assert gpus_of(uuids, before, {"A": frozenset({70}), "B": frozenset({9})}, {70, 71}) == ("A",)
    assert gpus_of(uuids, before, {"A": frozenset({70}), "B": frozenset({9, 71})}, {70, 71}) == ("A", "B")
    # In a container: numbers of the host, of which 5000 came.
    assert gpus_of(uuids, before, {"A": none, "B": frozenset({9, 5000})}, {70}) == ("B",)
    assert gpus_of(uuids, before, {"A": none, "B": frozenset({9})}, {70}) == ()
    # A driver that does not say.
    assert gpus_of(uuids, before, {"A": None, "B": frozenset({9})}, {70}) == uuids
    assert gpus_of((), {}, {}, {70}) == ()


def test_processes_are_as_the_driver_tells() -> None:
    gpus = [FakeGpuDevice("A"), FakeGpuDevice("B", 1)]
    assert pids_on(["A"], FakeGpuDriver(*gpus)) == {"A": None}
    assert pids_on([]) == {}
