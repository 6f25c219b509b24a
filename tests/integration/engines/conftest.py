"""What engines other than PyTorch are held against: answers of transformers, worked out without them."""

import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import EngineBase, LoadedModelBase
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.plan import ExperimentPlan
from tests.integration.conftest import greedy_by_hand, save_ending_llama

PROMPTS = [[5 + (7 * i + 3 * k) % 300 for k in range(2 + i)] for i in range(8)]
_TEXTS = (
    "The capital of France is", "Water boils at", "Once upon a time there was a fox who", "A joule is",
    "Energy is measured in", "The three primary colours are red,", "To make tea, first", "In the year 1969 two people",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _conversions_of_ones_own(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Tiny models are not kept in the user's cache; the packaged one is there, and takes a while to convert."""
    if "packaged" not in request.node.name:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def ending_llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, int]:
    return save_ending_llama(tmp_path_factory, PROMPTS)


@functools.cache
def by_hand(folder: Path, ids: tuple[int, ...], limit: int, end: int) -> list[int]:
    return greedy_by_hand(folder, list(ids), limit, {end})


@functools.cache
def answers_of(name: str, n_tokens: int) -> tuple[list[list[int]], list[tuple[int, ...]]]:
    """Prompts of a packaged model, and what transformers' generate answers to each alone in fp32."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llenergymeasure.core.checkpoint.source import dense_copy

    folder = dense_copy(name)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    prompts = [list(map(int, tokenizer(text)["input_ids"])) for text in _TEXTS]
    answers = []
    for ids in prompts:
        given = torch.tensor([ids])
        made = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=n_tokens, do_sample=False)
        answers.append(tuple(made[0, len(ids) :].tolist()))
    return prompts, answers


def generated(
    engine: EngineBase, config: ExperimentConfig, prompts: Sequence[Sequence[int]], n_tokens: int
) -> list[RequestOutput]:
    """What an engine answers to prompts, in their order, with the load that it takes by itself."""
    requests = [Request(index=i, token_ids=tuple(ids), max_output_tokens=n_tokens) for i, ids in enumerate(prompts)]
    done = list[RequestOutput]()
    assert engine.problems(config) == []
    with engine.load(ExperimentPlan.of(config)) as model:
        with_defaults(model, LoadedModelBase).seed(1)
        model.run(requests, engine.load_of(config), done.append)
    return sorted(done, key=lambda output: output.index)


def likeliest(folder: Path, prompt: Sequence[int], temperature: float, top_p: float) -> set[int]:
    """The smallest set of tokens of this probability, by hand."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([list(prompt)])).logits[0, -1].tolist()
    weights = {token: math.exp(logit / temperature) for token, logit in enumerate(logits)}
    total, kept, mass = sum(weights.values()), set[int](), 0.0
    for token in sorted(weights, key=weights.__getitem__, reverse=True):
        kept.add(token)
        mass += weights[token] / total
        if mass >= top_p:
            return kept
    return kept
