"""How probable tokens are, against a loop over whole forward passes of each beginning of the text."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, MambaConfig, MambaForCausalLM

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.log_probs import log_probs
from llenergymeasure.domain.plan import ExperimentPlan
from tests.integration.conftest import VOCABULARY, tiny_tokenizer

IDS = [5 + (37 * k + k * k) % 300 for k in range(24)]


def told(model: Path, **fields: Any) -> list[float]:
    """What the engine says of the model in a folder."""
    config = ExperimentConfig.model_validate({"model": str(model), "precision": "fp32", **fields})
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        return loaded.token_log_probs(IDS)


def by_hand(model: Any) -> list[float]:
    """ln of e^score over the sum of all e^score, after each beginning by itself, in Python's own arithmetic."""
    found = []
    with torch.inference_mode():
        for end in range(1, len(IDS)):
            scores = model(torch.tensor([IDS[:end]])).logits[0, -1].double().tolist()
            largest = max(scores)
            found.append(scores[IDS[end]] - largest - math.log(math.fsum(math.exp(s - largest) for s in scores)))
    return found


def test_each_token_by_those_before_it(tiny_llama: Path) -> None:
    expected = by_hand(AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval())
    assert told(tiny_llama) == pytest.approx(expected, abs=1e-4)
    # Not what any model would say.
    assert max(expected) - min(expected) > 1


def test_settings_of_decoding_play_no_part(tiny_llama: Path) -> None:
    decoder = {"do_sample": True, "temperature": 5.0, "top_k": 2, "repetition_penalty": 3.0}
    assert told(tiny_llama, decoder=decoder) == told(tiny_llama)


def test_nothing_is_compiled_for_it(tiny_llama: Path) -> None:
    fields = {"model": str(tiny_llama), "precision": "fp32", "pytorch": {"compile": True, "compile_backend": "eager"}}
    with PyTorchBackend().load(ExperimentPlan.of(ExperimentConfig.model_validate(fields))) as loaded:
        loaded.seed(1)
        assert loaded.token_log_probs(IDS) == told(tiny_llama)
        assert "compiled_in_window" not in {warning.flag for warning in loaded.warnings()}


def test_an_adapter_counts_merged_or_not(tiny_llama: Path, adapter: Path) -> None:
    merged = told(tiny_llama, lora={"path": str(adapter)})
    apart = told(tiny_llama, lora={"path": str(adapter), "merge": False})
    assert apart == pytest.approx(merged, abs=1e-3)
    assert merged != pytest.approx(told(tiny_llama), abs=0.1)


def test_scores_of_virtual_tokens_are_not_taken_for_those_of_the_text(tiny_llama: Path) -> None:
    torch.manual_seed(1)
    base: Any = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5)
    model: Any = get_peft_model(base, settings).eval()
    assert log_probs(model, IDS) == pytest.approx(by_hand(model), abs=1e-4)


def test_scores_of_fewer_tokens_are_refused() -> None:
    class Last(torch.nn.Module):
        device = torch.device("cpu")

        def forward(self, input_ids: Any) -> Any:
            return SimpleNamespace(logits=torch.zeros(1, 1, VOCABULARY))

    with pytest.raises(ValueError, match="scores after 1 of 24 tokens"):
        log_probs(Last(), IDS)


def test_a_recurrent_model_without_a_cache_of_keys(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=VOCABULARY, hidden_size=32, state_size=4, num_hidden_layers=2, initializer_range=0.5,
        bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model: Any = MambaForCausalLM(config).eval()
    model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert told(tmp_path) == pytest.approx(by_hand(model), abs=1e-4)


def test_what_is_computed_in_half_precision_is_summed_in_single(tiny_llama: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16).eval()
    with torch.inference_mode():
        scores = model(torch.tensor([IDS])).logits[0].double()
    expected = [float(row[token] - row.logsumexp(-1)) for row, token in zip(scores, IDS[1:], strict=False)]
    # bf16 itself has two or three digits.
    assert told(tiny_llama, precision="bf16") == pytest.approx(expected, abs=1e-5)


def test_a_vocabulary_that_fills_the_memory_is_taken_row_by_row(tiny_llama: Path) -> None:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    whole = log_probs(model, IDS)
    # Two rows of 320 scores at a time, and one.
    for n_scores in (2 * VOCABULARY, 1):
        assert log_probs(model, IDS, n_scores) == pytest.approx(whole, abs=1e-6)
