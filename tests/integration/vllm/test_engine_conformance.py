"""vLLM passes the suite for engines.

Its engine runs in this process here: one of its own takes half a minute to start, and ``test_real_model`` has it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm import VLLMBackend
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from tests.integration.engines.conftest import PROMPTS, by_hand

# Warnings of vLLM and of what it loads are not ours.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("default")]

pytest.importorskip("vllm")

_ROOM = 64


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(
    check: Callable[[EngineCase], None], ending_llama: tuple[Path, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    folder, end, place = ending_llama
    fields = {
        "model": str(folder),
        "backend": "vllm",
        "precision": "fp32",
        "max_input_tokens": 32,
        "max_output_tokens": 32,
        "vllm": {"enforce_eager": True, "max_model_len": _ROOM, "max_num_seqs": 4},
    }

    def answer_to(ids: Sequence[int], index: int, limit: int) -> Sequence[int]:
        return by_hand(folder, tuple(ids), limit, end)

    # A request of a token that the model has not fails, and the others are served.
    unknown = (5, 400)
    case = EngineCase(
        engine=VLLMBackend(),
        config=ExperimentConfig.model_validate(fields),
        prompts=[*PROMPTS, unknown] if check.__name__ == "a_request_that_fails_alone_is_a_row" else PROMPTS,
        answer_to=answer_to,
        sampling=ExperimentConfig.model_validate({**fields, "decoder": {"do_sample": True, "temperature": 2.0}}),
        ending=place,
        too_long=[5] * (_ROOM + 1),
        failing=len(PROMPTS) if check.__name__ == "a_request_that_fails_alone_is_a_row" else None,
        clock=time.monotonic,
        library_threads=("tqdm_monitor",),
    )
    try:
        check(case)
    except NotApplicable:
        raise AssertionError("the case has everything for this check") from None
