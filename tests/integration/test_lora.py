"""LoRA adapters, on one built here."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from tests.integration.test_pytorch_engine import TEXTS, generate


@pytest.fixture(scope="module")
def adapter(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter that really changes the output."""
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    path = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(str(path))
    return path


def test_an_adapter_changes_the_output_alike_whether_merged_or_not(tiny_llama: Path, adapter: Path) -> None:
    def digests(**fields: object) -> list[str]:
        return [r.output_digest for r in generate(tiny_llama, TEXTS[:4], **fields).requests]

    merged = digests(lora={"path": str(adapter), "merge": True})
    apart = digests(lora={"path": str(adapter), "merge": False})
    assert merged == apart
    assert merged != digests()
