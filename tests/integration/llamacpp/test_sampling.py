"""What llama.cpp really draws: greedy is the likeliest token whatever a chain or a file says, and fields set count."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.llamacpp import LlamaCppBackend
from llenergymeasure.domain.inference import Request, RequestOutput, tokens_digest
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from tests.fakes.gguf_files import save_tiny_gguf
from tests.integration.conftest import greedy_by_hand, save_tiny_llama

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the extra llamacpp is not installed"),
]
N_TOKENS = 8
PROMPT = (5, 8, 11, 14)
SAMPLED: dict[str, Any] = {"do_sample": True, "temperature": 2.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def greedy(folder: Path) -> str:
    """The digest of the likeliest tokens, by transformers."""
    return tokens_digest(tuple(greedy_by_hand(folder, list(PROMPT), N_TOKENS, set())))


def said(folder: Path, section: Mapping[str, Any], of_file: Mapping[str, Any], decoder: Mapping[str, Any]) -> str:
    """The digest of an answer, of a file that says how it wants to be sampled."""
    file = save_tiny_gguf(folder, folder / "tiny.gguf", of_file)
    own = {"n_ctx": 256, "n_threads": 1, "cache_type_k": "f32", "cache_type_v": "f32", **section}
    fields = {"model": str(file), "backend": "llamacpp", "precision": "fp32", "llamacpp": own}
    lengths = {"max_input_tokens": 64, "max_output_tokens": N_TOKENS}
    config = ExperimentConfig.model_validate({**fields, **lengths, "decoder": {"ignore_eos": True, **decoder}})
    done: list[RequestOutput] = []
    with LlamaCppBackend().load(ExperimentPlan.of(config)) as loaded:
        request = Request(index=0, token_ids=PROMPT, max_output_tokens=N_TOKENS)
        loaded.run([request], Load.all_at_once(), done.append)
    return done[0].output_digest


@pytest.mark.parametrize(
    ("section", "of_file"),
    [
        ({}, {}),
        ({"samplers": "top_k;top_p"}, {}),
        ({"dynatemp_range": 5.0}, {}),
        ({"mirostat": 1, "mirostat_tau": 9.0}, {}),
        ({"adaptive_target": 0.1}, {}),
        ({}, {"sequence": "top_k;top_p"}),
        ({}, {"mirostat": 2}),
        ({"dry_multiplier": 0.0001}, {"top_k": 90}),
    ],
    ids=str,
)
def test_greedy_is_the_likeliest_token(
    section: Mapping[str, Any], of_file: Mapping[str, Any], folder: Path, greedy: str
) -> None:
    assert said(folder, section, of_file, {}) == greedy


def test_a_file_takes_no_sampler_away_from_what_is_set(folder: Path, greedy: str) -> None:
    of_file = {"sequence": "top_p;min_p"}
    assert said(folder, {}, of_file, {**SAMPLED, "top_k": 1}) == greedy
    assert said(folder, {}, of_file, SAMPLED) != greedy


def test_adaptive_sampling_makes_a_difference(folder: Path) -> None:
    open_to_all = {**SAMPLED, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    plain, again, aimed = (said(folder, own, {}, open_to_all) for own in ({}, {}, {"adaptive_target": 0.9}))
    # The seed is the same, so that nothing else makes one.
    assert plain == again
    assert plain != aimed
