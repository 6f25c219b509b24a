"""vLLM's own server, started and asked over HTTP: its ids are those of transformers, its times those of tokens."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.core.backends.server.model import ServerModel
from llenergymeasure.domain.inference import ChatMessage, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from tests.fakes.ports import free_port
from tests.integration.engines.conftest import PROMPTS, by_hand

pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("default")]

pytest.importorskip("vllm")
pytest.importorskip("httptools")

N_TOKENS = 6


@pytest.fixture(scope="module")
def loaded(ending_llama: tuple[Path, int, int]) -> Iterator[tuple[ServerModel, frozenset[int]]]:
    """A server of the tiny model, and its processes."""
    port = free_port()
    command = [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(ending_llama[0]), "--port",
        str(port), "--dtype", "float32", "--enforce-eager", "--max-model-len", "128", "--no-enable-prefix-caching",
        "--served-model-name", "tiny",
    ]  # fmt: skip
    config = ExperimentConfig.model_validate({
        "model": str(ending_llama[0]), "backend": "server", "precision": "fp32", "decoder": {"ignore_eos": True},
        "max_output_tokens": N_TOKENS, "server": {"url": f"http://127.0.0.1:{port}", "command": command},
    })  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}.items():
            patched.setenv(name, value)
        with ServerBackend().load(ExperimentPlan.of(config)) as model:
            assert model._ready.own is not None
            pids = model._ready.own.pids
            yield model, pids
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
        assert os.getpid() not in pids


def run(model: ServerModel, requests: list[Request], load: Load) -> list[RequestOutput]:
    done = list[RequestOutput]()
    model.run(requests, load, done.append)
    return sorted(done, key=lambda output: output.index)


@pytest.mark.parametrize("load", [Load.all_at_once(), Load.at_most(2), Load.at_due_times([0.02 * i for i in range(8)])])
def test_tokens_are_those_of_transformers_each_with_its_time(
    loaded: tuple[ServerModel, frozenset[int]], ending_llama: tuple[Path, int, int], load: Load
) -> None:
    model, _ = loaded
    requests = [Request(index=i, token_ids=tuple(ids), max_output_tokens=N_TOKENS) for i, ids in enumerate(PROMPTS)]
    for row in run(model, requests, load):
        assert row.error is None
        assert row.output_ids == (tuple(by_hand(ending_llama[0], tuple(PROMPTS[row.index]), N_TOKENS, -1)),)
        assert (row.counted_by, row.finish_reason) == ("tokens", "length")
        assert (row.input_tokens, len(row.token_times_s)) == (len(PROMPTS[row.index]), N_TOKENS)
    assert model.warnings() == []


def test_what_it_is_is_told(loaded: tuple[ServerModel, frozenset[int]]) -> None:
    model, pids = loaded
    described = model.describe()
    parameters: dict[str, Any] = described.parameters or {}
    assert (parameters["server"], parameters["served_model"], parameters["n_context"]) == ("vLLM", "tiny", 128)
    assert described.engine_version
    assert described.devices == ()
    # The keeper, the server, and the process of its engine.
    assert len(pids) >= 3
    assert model.peak_memory_mb() is not None
    assert model.identity().weights_digest is not None


def test_a_prompt_without_room_is_a_row_in_its_words(loaded: tuple[ServerModel, frozenset[int]]) -> None:
    model, _ = loaded
    (row,) = run(model, [Request(index=0, token_ids=(5,) * 200, max_output_tokens=4)], Load.all_at_once())
    assert (row.error_kind, row.finish_reason) == ("status", "error")
    assert "status 400" in str(row.error)
    assert "128" in str(row.error)


def test_what_is_cancelled_is_let_go(loaded: tuple[ServerModel, frozenset[int]]) -> None:
    model, _ = loaded
    requests = [Request(index=i, token_ids=tuple(PROMPTS[i]), max_output_tokens=100) for i in range(4)]
    done = list[RequestOutput]()
    load = replace(Load.at_most(2), cancelled=lambda: bool(done))
    model.run([replace(requests[0], max_output_tokens=1), *requests[1:]], load, done.append)
    assert {row.finish_reason for row in done[1:]} <= {"cancelled"}
    assert all(
        row.error is None for row in run(model, [replace(r, max_output_tokens=2) for r in requests], Load.all_at_once())
    )


def test_a_chat_is_answered(ending_llama: tuple[Path, int, int], loaded: tuple[ServerModel, frozenset[int]]) -> None:
    """On the same server: what is asked follows from the configuration alone."""
    model, _ = loaded
    section = model._section.model_copy(update={"api": "chat", "command": None})
    config = model._config.model_copy(update={"server": section})
    requests = [Request(index=0, messages=(ChatMessage("user", "hello"),), max_output_tokens=N_TOKENS)]
    with ServerBackend().load(ExperimentPlan.of(config)) as chatting:
        (row,) = run(chatting, requests, Load.all_at_once())
    assert (row.error, row.output_tokens, row.counted_by) == (None, N_TOKENS, "tokens")
    assert row.input_tokens > 1
