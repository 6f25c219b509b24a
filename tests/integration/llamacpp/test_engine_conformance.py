"""llama.cpp passes the suite for engines, with a tiny model of fp32 weights that transformers computes by hand."""

import functools
import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp import LlamaCppBackend
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from tests.fakes.gguf_files import save_tiny_gguf
from tests.integration.conftest import greedy_by_hand, save_tiny_llama

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the extra llamacpp is not installed"),
]

PROMPTS = [[5 + (7 * i + 3 * k) % 300 for k in range(2 + i)] for i in range(8)]
N_CONTEXT = 256


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int, int]:
    """A tiny model as a folder and as a file, the end token of one of its answers, and that answer's place."""
    free = save_tiny_llama(tmp_path_factory.mktemp("free"))
    for place, ids in enumerate(PROMPTS):
        said = greedy_by_hand(free, list(ids), 6, set())
        for token in said[1:5]:
            if said.index(token) >= 1:
                folder = save_tiny_llama(tmp_path_factory.mktemp("ending"), eos_token_id=token)
                return folder, save_tiny_gguf(folder, folder / "tiny.gguf"), token, place
    raise AssertionError("no prompt of the test is answered with two different tokens")


@functools.cache
def by_hand(folder: Path, ids: tuple[int, ...], limit: int, end: int) -> list[int]:
    return greedy_by_hand(folder, list(ids), limit, {end})


@pytest.mark.parametrize("n_parallel", [1, 3])
@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_llamacpp_conforms(
    check: Callable[[EngineCase], None], n_parallel: int, model: tuple[Path, Path, int, int]
) -> None:
    folder, file, end, place = model
    own = {
        "n_ctx": N_CONTEXT * n_parallel,
        "n_parallel": n_parallel,
        "n_threads": 1,
        "cache_type_k": "f32",
        "cache_type_v": "f32",
    }
    lengths = {"max_input_tokens": 64, "max_output_tokens": 64}
    fields = {"model": str(file), "backend": "llamacpp", "precision": "fp32", "llamacpp": own, **lengths}

    def answer_to(ids: Sequence[int], index: int, limit: int) -> list[int]:
        return by_hand(folder, tuple(ids), limit, end)

    case = EngineCase(
        engine=LlamaCppBackend(),
        config=ExperimentConfig.model_validate(fields),
        prompts=PROMPTS,
        answer_to=answer_to,
        sampling=ExperimentConfig.model_validate({**fields, "decoder": {"do_sample": True, "temperature": 2.0}}),
        ending=place,
        too_long=[5] * (N_CONTEXT + 1),
        clock=time.monotonic,
    )
    try:
        check(case)
    except NotApplicable:
        # Its server does not tell how probable tokens of a prompt are, and a request fails alone if it is too long.
        if check.__name__ not in ("log_probs_are_the_models_own", "a_request_that_fails_alone_is_a_row"):
            raise
