"""vLLM with a LoRA adapter says what transformers with peft says, and tells which adapter it was."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm import VLLMBackend
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.flops import described_flops
from llenergymeasure.domain.inference import InferenceOutput, Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from tests.integration.engines.conftest import PROMPTS

# Warnings of vLLM and of what it loads are not ours.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("default")]

pytest.importorskip("vllm")
peft = pytest.importorskip("peft")

N_TOKENS = 12
# A and B of rank 4: q from 128 to 128, and down from the inner width to 128.
TARGETS = ["q_proj", "down_proj"]


def greedy(model: Any, ids: Sequence[int]) -> tuple[int, ...]:
    seen = list(ids)
    with torch.inference_mode():
        for _ in range(N_TOKENS):
            seen.append(int(model(torch.tensor([seen])).logits[0, -1].argmax()))
    return tuple(seen[len(ids) :])


def test_tokens_with_an_adapter_are_those_of_peft(
    ending_llama: tuple[Path, int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    folder, _, _ = ending_llama
    torch.manual_seed(1)
    base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, init_lora_weights=False)
    adapted = peft.get_peft_model(base, settings).eval()
    adapted.save_pretrained(str(tmp_path))
    expected = [greedy(adapted, ids) for ids in PROMPTS]
    with adapted.disable_adapter():
        assert [greedy(adapted, ids) for ids in PROMPTS] != expected

    section = {"enforce_eager": True, "max_model_len": 64, "max_num_seqs": 4}
    given = {
        "model": str(folder), "backend": "vllm", "precision": "fp32", "vllm": section,
        "lora": {"path": str(tmp_path), "merge": False}, "decoder": {"ignore_eos": True},
        "max_input_tokens": 32, "max_output_tokens": N_TOKENS,
    }  # fmt: skip
    config, done = ExperimentConfig.model_validate(given), list[RequestOutput]()
    engine = VLLMBackend()
    assert engine.problems(config) == []
    requests = [Request(index=i, token_ids=tuple(ids), max_output_tokens=N_TOKENS) for i, ids in enumerate(PROMPTS)]
    with engine.load(ExperimentPlan.of(config)) as model:
        model.run(requests, Load.all_at_once(), done.append)
        answers = {output.index: output.output_ids for output in done}
        assert [answers[i] for i in range(len(PROMPTS))] == [(ids,) for ids in expected]
        told, identity = model.describe(), model.identity()
        flops = model.flops(InferenceOutput(requests=tuple(done)))
    weights = (tmp_path / "adapter_model.safetensors").read_bytes()
    assert identity.adapter_digest == f"sha256:{hashlib.sha256(weights).hexdigest()}"
    assert told.adapter == "lora, rank 4, alpha 8, not merged"
    assert told.parameters is not None
    assert told.parameters["max_lora_rank"] == 8
    assert told.n_parameters == sum(p.numel() for p in base.parameters())
    assert flops is not None
    assert flops.confidence == "high"
    # Once more without the adapter: what is left is 2 per weight of it and token that went through the layers.
    n_seen = sum(len(ids) + N_TOKENS - 1 for ids in PROMPTS)
    n_added = base.config.num_hidden_layers * (4 * (128 + 128) + 4 * (base.config.intermediate_size + 128))
    sequences = [(len(ids), N_TOKENS) for ids in PROMPTS]
    bare = described_flops(skeleton(AutoConfig.from_pretrained(folder)), sequences, "fp32")
    assert flops.model_flops is not None
    assert bare.model_flops is not None
    assert flops.model_flops - bare.model_flops == 2 * n_added * n_seen
    assert flops.value == bare.value
