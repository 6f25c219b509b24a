"""The PyTorch engine passes the suite for engines."""

import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from tests.integration.conftest import greedy_by_hand, save_ending_llama

PROMPTS = [[5 + (7 * i + 3 * k) % 300 for k in range(2 + i)] for i in range(8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    return save_ending_llama(tmp_path_factory, PROMPTS)


@functools.cache
def by_hand(folder: Path, ids: tuple[int, ...], limit: int, end: int) -> list[int]:
    return greedy_by_hand(folder, list(ids), limit, {end})


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_pytorch_conforms(check: Callable[[EngineCase], None], model: tuple[Path, int, int]) -> None:
    folder, end, place = model
    fields = {"model": str(folder), "precision": "fp32", "pytorch": {"batch_size": 3}}

    def answer_to(ids: Sequence[int], index: int, limit: int) -> list[int]:
        return by_hand(folder, tuple(ids), limit, end)

    case = EngineCase(
        engine=PyTorchBackend(),
        config=ExperimentConfig.model_validate(fields),
        prompts=PROMPTS,
        answer_to=answer_to,
        sampling=ExperimentConfig.model_validate({**fields, "decoder": {"do_sample": True, "temperature": 2.0}}),
        ending=place,
        clock=time.monotonic,
    )
    try:
        check(case)
    except NotApplicable:
        # It has room for every prompt (a longer one than the model was made for is a warning), nothing in it fails for
        # one request of a batch alone, and it takes batches.
        if check.__name__ not in (
            "a_prompt_that_is_too_long_is_told",
            "a_request_that_fails_alone_is_a_row",
            "a_closed_load_ends",
        ):
            raise
