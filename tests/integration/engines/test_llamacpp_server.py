"""llama.cpp's own server, as the package xllamacpp brings it, started and asked over HTTP."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.server import ServerBackend
from llenergymeasure.domain.inference import ChatMessage, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from tests.fakes.gguf_files import save_tiny_gguf
from tests.fakes.ports import free_port
from tests.integration.conftest import save_tiny_llama
from tests.integration.engines.conftest import PROMPTS, by_hand

pytestmark = pytest.mark.engine

pytest.importorskip("xllamacpp")
pytest.importorskip("httptools")

N_TOKENS = 6
SERVES = """
import sys, time
import xllamacpp
params = xllamacpp.CommonParams()
params.model.path, port, params.n_parallel = sys.argv[1], int(sys.argv[2]), 4
params.hostnames, params.port, params.n_ctx = ["127.0.0.1"], port, 1024
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose answers go on."""
    made = save_tiny_llama(tmp_path_factory.mktemp("model"))
    save_tiny_gguf(made, made / "tiny.gguf")
    (made / "serves.py").write_text(SERVES)
    return made


def config_of(folder: Path, **fields: Any) -> ExperimentConfig:
    port = free_port()
    command = [sys.executable, str(folder / "serves.py"), str(folder / "tiny.gguf"), str(port)]
    server = {"url": f"http://127.0.0.1:{port}", "command": command, **fields.pop("server", {})}
    return ExperimentConfig.model_validate({
        "model": str(folder), "backend": "server", "server": server, "precision": "fp32",
        "decoder": {"ignore_eos": True}, "max_output_tokens": N_TOKENS, **fields,
    })  # fmt: skip


def requests_of(n: int) -> list[Request]:
    return [Request(index=i, token_ids=tuple(PROMPTS[i]), max_output_tokens=N_TOKENS) for i in range(n)]


def ran(config: ExperimentConfig, requests: Sequence[Request], load: Load) -> tuple[list[RequestOutput], list[str]]:
    done = list[RequestOutput]()
    with ServerBackend().load(ExperimentPlan.of(config)) as model:
        assert (model.describe().parameters or {})["server"] == "llama.cpp"
        model.run(requests, load, done.append)
        flags = [warning.flag for warning in model.warnings()]
    return sorted(done, key=lambda row: row.index), flags


def test_answers_are_counted_and_timed_token_by_token(folder: Path) -> None:
    rows, flags = ran(config_of(folder), requests_of(4), Load.all_at_once())
    for row in rows:
        assert row.error is None
        assert (row.input_tokens, row.output_tokens, row.finish_reason) == (2 + row.index, N_TOKENS, "length")
        assert len(row.token_times_s) == N_TOKENS
        assert row.cached_tokens == 0
        assert row.counted_by == "usage"
    assert flags == []


def test_the_text_is_what_transformers_says(folder: Path) -> None:
    """By the digest of its text: llama.cpp tells no ids here."""
    import hashlib

    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    rows, _ = ran(config_of(folder), requests_of(4), Load.at_most(2))
    expected = [tokenizer.decode(by_hand(folder, tuple(PROMPTS[row.index]), N_TOKENS, -1)) for row in rows]
    digests = [hashlib.sha256(f"text:{text}".encode()).hexdigest() for text in expected]
    equal = [row.output_digest == digest for row, digest in zip(rows, digests, strict=True)]
    # A token that ends inside of a character is told by llama.cpp together with the next one, or not at all.
    assert sum(equal) >= 3


def test_a_chat_is_answered_and_requests_are_sent_when_due(folder: Path) -> None:
    said = ChatMessage("user", "hello")
    requests = [Request(index=i, messages=(said,), max_output_tokens=N_TOKENS) for i in range(3)]
    config = config_of(folder, server={"api": "chat"})
    rows, _ = ran(config, requests, Load.at_due_times([0.0, 0.1, 0.2]))
    assert [row.error for row in rows] == [None] * 3
    assert [row.output_tokens for row in rows] == [N_TOKENS] * 3
    assert all((row.sent_s or 0.0) >= (row.due_s or 0.0) for row in rows)


@pytest.mark.parametrize("name", ["every_request_is_told_once", "times_are_in_order", "a_cancelled_load_ends",
                                  "nothing_stays_behind", "every_load_it_names_is_served",
                                  "a_prompt_that_is_too_long_is_told"])  # fmt: skip
def test_it_conforms(name: str, folder: Path) -> None:
    check = next(check for check in ENGINE_CHECKS if check.__name__ == name)
    try:
        check(EngineCase(
            engine=ServerBackend(), config=config_of(folder), prompts=PROMPTS,
            answer_to=lambda ids, _, limit: by_hand(folder, tuple(ids), limit, -1), too_long=[5] * 2000,
            clock=time.monotonic,
        ))  # fmt: skip
    except NotApplicable as reason:
        raise AssertionError("it has all of these") from reason
