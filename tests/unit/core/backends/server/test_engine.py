"""The engine passes the suite for engines on a fake server, and says what is true of one."""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.domain.inference import ChatMessage, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from llenergymeasure.testing.fake_answers import Fault
from llenergymeasure.testing.fake_server import FakeServer, FakeSettings
from tests.unit.core.backends.server.conftest import config_of, ran, requests_of

PROMPTS = [[5 + (7 * i + 3 * k) % 300 for k in range(2 + i)] for i in range(8)]
NOT_ASKED = ("a_request_that_fails_alone_is_a_row", "log_probs_are_the_models_own")


def by_hand(ids: Sequence[int], index: int, limit: int) -> list[int]:
    """What the fake server answers, greedily: 295 ids from 5 on, and an end token 2 after two of some."""
    said = [5 + (3 * sum(ids) + 11 * len(ids) + 17 * place) % 295 for place in range(limit)]
    return [*said[:2], 2] if sum(ids) % 7 == 0 and limit >= 3 else said


@pytest.mark.parametrize("owned_by", ["vllm", "llamacpp"])
@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check: Callable[[EngineCase], None], owned_by: str) -> None:
    # llama.cpp tells no ids and no counts of chunks in this fake, so that times are those of chunks.
    settings = FakeSettings(owned_by=owned_by, n_slots=4, gap_s=0.002, n_context=64)
    ending = next(i for i, ids in enumerate(PROMPTS) if sum(ids) % 7 == 0)
    with FakeServer(settings) as server:
        case = EngineCase(
            engine=ServerBackend(),
            config=config_of(server.url, max_output_tokens=6),
            prompts=PROMPTS,
            answer_to=by_hand,
            sampling=config_of(server.url, max_output_tokens=6, decoder={"do_sample": True, "temperature": 1.0}),
            ending=ending,
            too_long=[5] * 100,
            clock=time.monotonic,
        )
        try:
            check(case)
        except NotApplicable:
            # It tells nobody how probable tokens are, and a request fails alone where a fault says so.
            if check.__name__ not in NOT_ASKED:
                raise


def test_a_prompt_that_is_too_long_is_told_in_the_servers_words() -> None:
    with FakeServer(FakeSettings(n_context=8)) as server:
        rows, _ = ran(config_of(server.url))
    assert {row.error_kind for row in rows} == {"status"}
    assert "status 400; it says: this model has room for 8 tokens, not 3 + 6" in str(rows[0].error)


@pytest.mark.parametrize(
    ("settings", "n_times", "n_chunks", "has_ids"),
    [
        ({}, 6, 0, True),
        ({"tells_ids": False}, 6, 0, False),
        ({"tells_ids": False, "tells_counts": False}, 0, 6, False),
        ({"tells_ids": False, "tells_counts": False, "n_tokens_per_chunk": 2}, 0, 3, False),
        ({"tells_ids": False, "n_tokens_per_chunk": 4}, 6, 0, False),
    ],
)
def test_times_are_those_of_tokens_where_they_are_told(
    settings: Mapping[str, Any], n_times: int, n_chunks: int, has_ids: bool
) -> None:
    with FakeServer(FakeSettings(**settings)) as server:
        rows, flags = ran(config_of(server.url))
    for row in rows:
        assert (row.output_tokens, len(row.token_times_s), len(row.chunk_times_s)) == (6, n_times, n_chunks)
        assert bool(row.output_ids) == has_ids
        assert row.counted_by == ("tokens" if has_ids else "usage")
        assert row.first_s is not None
        assert row.end_s == (row.token_times_s or row.chunk_times_s)[-1]
    # Three chunks for six tokens are groups, six are not.
    assert flags == (["tokens_in_groups"] if n_chunks == 3 else [])


@pytest.mark.parametrize("settings", [{}, {"tells_ids": False}, {"tells_ids": False, "tells_counts": False}])
def test_what_is_cancelled_is_told_with_what_was_there(settings: Mapping[str, Any]) -> None:
    done, ends_s = list[RequestOutput](), time.monotonic() + 0.4
    load = replace(Load.all_at_once(), cancelled=lambda: time.monotonic() > ends_s)
    with (
        FakeServer(FakeSettings(gap_s=0.05, **settings)) as server,
        ServerBackend().load(ExperimentPlan.of(config_of(server.url))) as model,
    ):
        model.run(requests_of(2, 1000), load, done.append)
    assert {row.finish_reason for row in done} == {"cancelled"}
    # A token each 50 ms, for 400 ms less what it takes to begin; more are not known.
    assert all(2 <= row.output_tokens <= 9 for row in done)
    assert all(len(row.token_times_s or row.chunk_times_s) == row.output_tokens for row in done)


def test_chunks_are_apart_by_the_servers_own_time() -> None:
    with FakeServer(FakeSettings(ttft_s=0.05, gap_s=0.03)) as server:
        (row,), _ = ran(config_of(server.url), requests_of(1, 4))
    assert row.ttft_s is not None
    assert row.ttft_s >= 0.05
    gaps_s = [b - a for a, b in zip(row.token_times_s, row.token_times_s[1:], strict=False)]
    assert all(gap_s >= 0.02 for gap_s in gaps_s)
    assert row.token_times_s[-1] - row.token_times_s[0] >= 0.085


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_prompt_that_no_socket_takes_at_once_is_sent_whole(
    is_tls: bool, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    file, tls = certificate
    request = Request(index=0, token_ids=(123_456,) * 1_000_000, max_output_tokens=4)
    with FakeServer(FakeSettings(n_context=2_000_000), tls=tls if is_tls else None) as server:
        (row,), _ = ran(config_of(server.url, server={"ca_file": str(file)}), [request])
    assert (row.error, row.input_tokens, row.output_tokens) == (None, 1_000_000, 4)
    assert len(server.asked[0].body["prompt"]) == 1_000_000


def test_cached_tokens_are_told_apart() -> None:
    with FakeServer(FakeSettings(n_cached=2)) as server:
        rows, flags = ran(config_of(server.url))
    assert [row.cached_tokens for row in rows] == [2, 2, 2]
    assert flags == ["prompt_cache_used"]


def test_connections_are_kept_and_one_that_idled_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llenergymeasure.core.backends.server.connections.MOST_IDLE_S", 0.05)
    opened = 0

    class Counting(FakeServer):
        async def _connected(self, reader: Any, writer: Any) -> None:
            nonlocal opened
            opened += 1
            await super()._connected(reader, writer)

    with Counting() as server:
        with ServerBackend().load(ExperimentPlan.of(config_of(server.url))) as model:
            before, done = opened, list[RequestOutput]()
            model.run(requests_of(), Load.at_most(1), done.append)
            assert opened - before == 1
            time.sleep(0.1)
            model.run(requests_of(), Load.at_most(1), done.append)
            assert opened - before == 2
        assert all(row.succeeded for row in done)


def test_text_is_sent_and_chats_are_sent_as_messages() -> None:
    text = Request(index=0, text="Say a", max_output_tokens=4)
    chat = Request(
        index=1, messages=(ChatMessage("system", "Be brief"), ChatMessage("user", "Ho")), max_output_tokens=4
    )
    with FakeServer() as server:
        (row,), _ = ran(config_of(server.url, server={"send": "text"}), [text])
        assert (row.input_tokens, row.output_tokens) == (5, 4)
        (row,), _ = ran(config_of(server.url, server={"api": "chat"}), [chat])
        assert (row.input_tokens, row.output_tokens) == (10, 4)
        (refused,), _ = ran(config_of(server.url, server={"send": "text"}), [chat])
    assert refused.error_kind == "engine"
    assert "a chat template writes this prompt" in str(refused.error)
    first, second = server.asked
    assert (first.place, first.body["prompt"]) == ("/v1/completions", "Say a")
    assert second.place == "/v1/chat/completions"
    assert second.body["messages"] == [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Ho"}]


def test_a_text_is_counted_by_its_tokenizer_where_the_server_tells_no_usage(tiny_tokenizer_folder: str) -> None:
    settings = FakeSettings(
        faults={"*": Fault(kind="no_usage")}, tells_counts=False, tells_ids=False, model_ids=(tiny_tokenizer_folder,)
    )
    with FakeServer(settings) as server:
        config = config_of(server.url, model=tiny_tokenizer_folder, server={"send": "text"}, dataset={"chat": False})
        (row,), flags = ran(config, [Request(index=0, text="w5 w6", max_output_tokens=4)])
    # The tokenizer of words has one for each.
    assert (row.input_tokens, row.output_tokens, row.counted_by) == (2, 4, "retokenised")
    assert flags == ["tokens_retokenised"]


def test_the_model_is_the_servers_only_one_or_has_to_be_named() -> None:
    with FakeServer(FakeSettings(model_ids=("one",))) as server:
        ran(config_of(server.url))
        assert {each.body["model"] for each in server.asked} == {"one"}
    with FakeServer(FakeSettings(model_ids=("one", "m"))) as server:
        ran(config_of(server.url))
        assert {each.body["model"] for each in server.asked} == {"m"}
    with FakeServer(FakeSettings(model_ids=("one", "two"))) as server:
        with pytest.raises(BackendError, match=r"2 models \(one, two\); name one with server.served_model"):
            ran(config_of(server.url))
        ran(config_of(server.url, server={"served_model": "two"}))
        assert {each.body["model"] for each in server.asked} == {"two"}


def test_a_server_without_health_is_asked_for_its_models() -> None:
    with FakeServer(FakeSettings(has_health=False)) as server:
        assert ServerBackend().problems(config_of(server.url)) == []
        assert [each.place for each in server.seen] == ["/health", "/v1/models"]


def test_what_a_kind_does_not_take_is_told() -> None:
    with FakeServer(FakeSettings(owned_by="library")) as server:
        with pytest.raises(BackendError, match=r"server\.send: Ollama takes no token ids"):
            ran(config_of(server.url))
        config = config_of(server.url, server={"kind": "openai"}, decoder={"ignore_eos": True})
        (problem,) = ServerBackend().problems(config)
        assert problem.startswith("decoder.ignore_eos: a server that says no more than OpenAI's has no field for it")


def test_of_a_name_that_only_the_server_knows_flops_and_weights_are_not_known() -> None:
    with FakeServer() as server, ServerBackend().load(ExperimentPlan.of(config_of(
        server.url, server={"send": "text"}
    ))) as model:  # fmt: skip
        from llenergymeasure.domain.inference import InferenceOutput

        with pytest.raises(BackendError, match="model 'm' is no checkpoint here"):
            model.flops(InferenceOutput(requests=()))
        assert [w.flag for w in model.identity().warnings] == ["weights_digest_unavailable"]
        described = model.describe()
    assert (described.engine, described.engine_version, described.devices) == ("server", "0.fake", ())
    assert (described.parameters or {})["server"] == "vLLM"


def test_requests_are_sent_when_they_are_due_and_not_when_answers_end() -> None:
    due_s = [0.05 * i for i in range(3)]
    with FakeServer(FakeSettings(ttft_s=0.3, n_slots=1)) as server:
        rows, _ = ran(config_of(server.url), requests_of(), Load.at_due_times(due_s))
    assert all(row.due_s is not None and row.sent_s is not None and row.sent_s - row.due_s < 0.04 for row in rows)
    # The second one waits in the server for the first.
    assert rows[1].ttft_s is not None
    assert rows[1].ttft_s > 0.5
