"""LoRA adapters, on one built here."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.core.backends.pytorch.adapter import with_adapter
from llenergymeasure.domain.inference import ModelDescription, ModelIdentity
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from tests.integration.pytorch.test_engine import TEXTS, generate


def loaded_with(model: Path, **fields: Any) -> tuple[ModelDescription, ModelIdentity]:
    config = ExperimentConfig.model_validate({"model": str(model), "precision": "fp32", **fields})
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        return loaded.describe(), loaded.identity()


def test_an_adapter_changes_the_output_alike_whether_merged_or_not(tiny_llama: Path, adapter: Path) -> None:
    def digests(**fields: object) -> list[str]:
        return [r.output_digest for r in generate(tiny_llama, TEXTS[:4], **fields).requests]

    merged = digests(lora={"path": str(adapter), "merge": True})
    apart = digests(lora={"path": str(adapter), "merge": False})
    assert merged == apart
    assert merged != digests()


def test_an_adapter_does_what_its_matrices_say(tiny_llama: Path, adapter: Path) -> None:
    base: Any = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    before = base.model.layers[1].self_attn.q_proj.weight.detach().clone()
    config = ExperimentConfig.model_validate({"model": "m", "lora": {"path": str(adapter)}})
    assert config.lora is not None
    merged, _ = with_adapter(base, config.lora)
    stored = load_file(adapter / "adapter_model.safetensors")
    place = "base_model.model.model.layers.1.self_attn.q_proj"
    # W + alpha / r x B A
    expected = before + 8 / 4 * stored[f"{place}.lora_B.weight"] @ stored[f"{place}.lora_A.weight"]
    assert torch.allclose(merged.model.layers[1].self_attn.q_proj.weight, expected, atol=1e-6)


@pytest.mark.parametrize(("merge", "how"), [(True, "merged"), (False, "not merged")])
def test_the_adapter_is_described_and_identified(tiny_llama: Path, adapter: Path, merge: bool, how: str) -> None:
    description, identity = loaded_with(tiny_llama, lora={"path": str(adapter), "merge": merge})
    assert description.adapter == f"lora, rank 4, alpha 8, {how}"
    # Per layer A and B of q (64 to 64) and v (64 to 32), of rank 4, are there beside the model when not merged.
    n_added = 0 if merge else 2 * (4 * 64 + 64 * 4 + 4 * 64 + 32 * 4)
    bare, of_bare = loaded_with(tiny_llama)
    assert description.n_parameters is not None
    assert bare.n_parameters is not None
    assert description.n_parameters - bare.n_parameters == n_added
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    assert identity.adapter_digest == f"sha256:{hashlib.sha256(weights).hexdigest()}"
    assert identity.weights_digest == of_bare.weights_digest
    assert of_bare.adapter_digest is None
    assert "adapter" not in (bare.parameters or {})


def test_an_adapter_that_is_not_merged_is_in_the_models_number_format(tiny_llama: Path, adapter: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16)
    config = ExperimentConfig.model_validate({"model": "m", "lora": {"path": str(adapter), "merge": False}})
    assert config.lora is not None
    adapted, _ = with_adapter(base, config.lora)
    assert {p.dtype for name, p in adapted.named_parameters() if "lora_" in name} == {torch.bfloat16}
    assert not any(module.training for module in adapted.modules())


def test_an_adapter_that_lies_beside_the_model_belongs_to_its_identity(
    tiny_llama: Path, adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_llama, tmp_path, dirs_exist_ok=True)
    for path in adapter.glob("adapter_*"):
        shutil.copy(path, tmp_path)
    _, identity = loaded_with(tmp_path)
    assert identity.adapter_digest == loaded_with(tiny_llama, lora={"path": str(adapter)})[1].adapter_digest


def test_an_adapter_on_drawn_weights_is_still_an_adapter_of_files(tiny_llama: Path, adapter: Path) -> None:
    fields = {"pytorch": {"random_weights": True}, "lora": {"path": str(adapter), "merge": False}}
    description, identity = loaded_with(tiny_llama, **fields)
    assert description.weights == "random, seed 42"
    assert identity.weights_digest is None
    assert identity.adapter_digest is not None
    assert identity.warnings == ()


def with_keys(adapter: Path, target: Path, old: str, new: str) -> Path:
    """The adapter with other names for its matrices."""
    shutil.copytree(adapter, target, dirs_exist_ok=True)
    file = target / "adapter_model.safetensors"
    save_file({name.replace(old, new): tensor for name, tensor in load_file(file).items()}, file)
    return target


def test_an_adapter_of_another_model_is_refused(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    def refusal(path: Path) -> str:
        with pytest.raises(BackendError) as caught:
            loaded_with(tiny_llama, lora={"path": str(path)})
        return str(caught.value)

    longer = with_keys(adapter, tmp_path / "longer", "layers.1.", "layers.7.")
    assert "has no weights for" in refusal(longer)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    more = Path(shutil.copytree(adapter, tmp_path / "more"))
    (more / "adapter_config.json").write_text(json.dumps({**settings, "target_modules": ["q_proj"]}))
    message = refusal(more)
    assert "has weights that fit nothing in the model" in message
    assert "v_proj" in message
    assert "3 more" in message


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize("kind", ["prompt_tuning", "prefix_tuning"])
def test_an_adapter_that_adds_tokens_of_its_own_is_refused(
    tiny_llama: Path, tmp_path: Path, kind: str, merge: bool
) -> None:
    base = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    settings = {"prompt_tuning": PromptTuningConfig, "prefix_tuning": PrefixTuningConfig}[kind]
    get_peft_model(base, settings(task_type="CAUSAL_LM", num_virtual_tokens=20)).save_pretrained(str(tmp_path))
    with pytest.raises(BackendError, match=f"is an adapter of type {kind}, and only LoRA is measured"):
        loaded_with(tiny_llama, lora={"path": str(tmp_path), "merge": merge})
