"""Perplexity of a real model beside its measurement, against a loop over beginnings of windows."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from llenergymeasure import run_experiment
from tests.integration.conftest import tiny_tokenizer

TEXT = "a watt is a joule per second; wie grün ist das Feld? the lazy dog jumps over the quick brown fox " * 2
N_CONTEXT = 32


def by_hand(model_dir: Path) -> tuple[float, int]:
    """Minus the sum of ln p of each token after the first, each from a pass over what its window has before it."""
    ids = tiny_tokenizer()(TEXT)["input_ids"]
    model: Any = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32).eval()
    nats = []
    with torch.inference_mode():
        for place in range(1, len(ids)):
            # The first window that has it: those begin half of one apart.
            number = max(0, math.ceil((place + 1 - N_CONTEXT) / (N_CONTEXT // 2)))
            before = ids[number * (N_CONTEXT // 2) : place]
            scores = model(torch.tensor([before])).logits[0, -1].double()
            nats.append(float(scores.logsumexp(-1) - scores[ids[place]]))
    return math.fsum(nats), len(nats)


def test_a_result_has_the_perplexity_of_a_text(tiny_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    result = run_experiment(
        model=str(tiny_llama),
        precision="fp32",
        n=2,
        max_output_tokens=4,
        warmup={"n_warmup": 1},
        energy={"backend": None},
        quality={"text": str(tmp_path / "text.txt"), "n_context_tokens": N_CONTEXT},
    )
    found = result.quality
    assert found is not None
    assert found.why_not is None
    nats, n_tokens = by_hand(tiny_llama)
    assert n_tokens > 3 * N_CONTEXT
    assert found.n_scored_tokens == n_tokens
    assert found.nll_nats == pytest.approx(nats, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(nats / n_tokens), rel=1e-5)
    # All bytes but that of the first token, which is "a".
    assert found.n_bytes == len(TEXT.encode()) - 1
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / found.n_bytes, rel=1e-5)
    assert (found.n_context_tokens, found.n_stride_tokens) == (N_CONTEXT, N_CONTEXT // 2)
