"""Loads and the cache of prompts with vLLM's engine in a process of its own, as it is measured."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm import VLLMBackend
from llenergymeasure.core.backends.vllm.model import VLLMModel
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from tests.integration.engines.conftest import by_hand

# Warnings of vLLM and of what it loads are not ours.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("default")]

pytest.importorskip("vllm")

# Tokens of a block of the cache, of which a prompt's whole ones before its last token are kept.
BLOCK, N_TOKENS = 32, 6
PROMPTS = [tuple(5 + (11 * i + 3 * k) % 300 for k in range(70 + i)) for i in range(4)]


@pytest.fixture(scope="module", params=[True, False], ids=["cache", "no cache"])
def loaded(request: pytest.FixtureRequest, ending_llama: tuple[Path, int, int]) -> Iterator[tuple[VLLMModel, bool]]:
    """The tiny model with a cache of prompts, and without; each in its own process."""
    has_cache = bool(request.param)
    section = {"enforce_eager": True, "max_model_len": 128, "block_size": BLOCK, "kv_cache_memory_bytes": 2**28}
    given = {
        "model": str(ending_llama[0]), "backend": "vllm", "precision": "fp32", "decoder": {"ignore_eos": True},
        "max_input_tokens": 100, "max_output_tokens": N_TOKENS,
        "vllm": {**section, "enable_prefix_caching": has_cache},
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        # It goes before the number of bytes.
        patched.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
        patched.setenv("HF_HUB_OFFLINE", "1")
        with VLLMBackend().load(ExperimentPlan.of(ExperimentConfig.model_validate(given))) as model:
            assert isinstance(model, VLLMModel)
            parameters = model.describe().parameters
            assert parameters is not None
            assert parameters["engine_in_own_process"] is True
            assert parameters["enable_prefix_caching"] is has_cache
            yield model, has_cache


def run(model: VLLMModel, folder: Path, load: Load) -> list[RequestOutput]:
    """Outputs by their place, the tokens of which are those of transformers."""
    done: list[RequestOutput] = []
    requests = [Request(index=i, token_ids=ids, max_output_tokens=N_TOKENS) for i, ids in enumerate(PROMPTS)]
    model.run(requests, load, done.append)
    outputs = sorted(done, key=lambda output: output.index)
    assert [output.output_ids for output in outputs] == [
        (tuple(by_hand(folder, ids, N_TOKENS, -1)),) for ids in PROMPTS
    ]
    for output in outputs:
        assert output.sent_s is not None
        assert output.end_s is not None
        times_s = [output.sent_s, *output.token_times_s, output.end_s]
        assert times_s == sorted(times_s)
        assert len(output.token_times_s) == N_TOKENS
    return outputs


def test_no_more_than_the_load_says_are_at_work(
    loaded: tuple[VLLMModel, bool], ending_llama: tuple[Path, int, int]
) -> None:
    model, _ = loaded
    outputs = run(model, ending_llama[0], Load.at_most(2))
    for output in outputs:
        at_work = [o for o in outputs if (o.sent_s or 0) <= (output.sent_s or 0) < (o.end_s or 0)]
        assert len(at_work) <= 2
    # Two are, and the third begins when one of them has ended.
    assert (outputs[1].sent_s or 0) < (outputs[0].end_s or 0)
    assert (outputs[2].sent_s or 0) >= min(outputs[0].end_s or 0, outputs[1].end_s or 0)


def test_requests_begin_when_they_are_due(loaded: tuple[VLLMModel, bool], ending_llama: tuple[Path, int, int]) -> None:
    model, _ = loaded
    outputs = run(model, ending_llama[0], Load.at_due_times([0.0, 0.4, 0.8, 1.2]))
    due_s = [output.due_s or 0 for output in outputs]
    assert [after - before for before, after in pairwise(due_s)] == pytest.approx([0.4] * 3)
    # On a busy machine a step may take a while, and a request waits for it.
    assert all(0 <= (output.sent_s or 0) - (output.due_s or 0) < 1 for output in outputs)


def test_tokens_from_the_cache_are_counted(loaded: tuple[VLLMModel, bool], ending_llama: tuple[Path, int, int]) -> None:
    model, has_cache = loaded
    # Empties the cache, so that a window does not find what warm-up has read.
    model.seed(1)
    run(model, ending_llama[0], Load.at_most(1))
    assert [warning.flag for warning in model.warnings()] == []
    run(model, ending_llama[0], Load.at_most(1))
    told = [(warning.flag, warning.text.partition(" ")[0]) for warning in model.warnings()]
    # Of 70 to 73 tokens two whole blocks each, in the second run.
    assert told == ([("prompt_cache_used", str(4 * 2 * BLOCK))] if has_cache else [])
    model.seed(1)
    run(model, ending_llama[0], Load.at_most(1))
    assert model.warnings() == []
