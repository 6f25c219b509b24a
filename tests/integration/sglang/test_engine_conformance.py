"""SGLang's engine passes the suite for engines, over a module that takes what the recorded API takes.

The model behind it is a real one, by hand: no SGLang was run.
"""

import functools
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.sglang import SGLangBackend
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase
from tests.fakes.sglang.library import FakeSGLang
from tests.integration.engines.conftest import PROMPTS, by_hand

_ROOM = 64


def greedy_or_drawn(folder: Path, end: int, ids: Sequence[int], sampling: dict[str, Any]) -> Sequence[int]:
    """The model's own answer, or one that is drawn by the request's seed alone, and its like without an end."""
    n_tokens = sampling["max_new_tokens"]
    if "sampling_seed" in sampling:
        drawn = random.Random(sampling["sampling_seed"])
        return [drawn.randrange(5, 300) for _ in range(n_tokens)]
    answer = list(by_hand(folder, tuple(ids), n_tokens, end))
    return answer + [5] * (n_tokens - len(answer))


@functools.cache
def model_of(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def scores(folder: Path, ids: Sequence[int]) -> list[float]:
    with torch.no_grad():
        logits = model_of(folder)(torch.tensor([list(ids)])).logits[0]
    logs = torch.log_softmax(logits.double(), dim=-1)
    return [float(logs[place, token]) for place, token in enumerate(ids[1:])]


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check: Callable[[EngineCase], None], ending_llama: tuple[Path, int, int]) -> None:
    folder, end, place = ending_llama
    library = FakeSGLang(functools.partial(greedy_or_drawn, folder, end), functools.partial(scores, folder), ends=[end])
    fields = {
        "model": str(folder),
        "backend": "sglang",
        "precision": "fp32",
        "max_input_tokens": 32,
        "max_output_tokens": 30,
        "sglang": {"context_length": _ROOM, "enable_deterministic_inference": True},
    }
    fails = check.__name__ == "a_request_that_fails_alone_is_a_row"
    check(
        EngineCase(
            engine=SGLangBackend(lambda: library),
            config=ExperimentConfig.model_validate(fields),
            prompts=[*PROMPTS, (5, 400)] if fails else PROMPTS,
            answer_to=lambda ids, index, limit: by_hand(folder, tuple(ids), limit, end),
            sampling=ExperimentConfig.model_validate({**fields, "decoder": {"do_sample": True, "temperature": 2.0}}),
            ending=place,
            too_long=[5] * (_ROOM + 1),
            failing=len(PROMPTS) if fails else None,
            clock=time.monotonic,
        )
    )
