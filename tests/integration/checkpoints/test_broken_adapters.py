"""What is wrong with an adapter is told before anything is loaded, in one line that says what to do."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.integration.checkpoints.broken_folders import POINTER
from tests.integration.pytorch.test_checks import problems, with_settings

pytestmark = pytest.mark.pytorch


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (POINTER, "is a git-LFS pointer and not the file itself"),
        (b"", "is empty; fetch it again"),
        (b"\x10" + b"\x00" * 7 + b"{}", "is cut off, or no safetensors file"),
    ],
    ids=["pointer", "empty", "cut"],
)
def test_weights_that_are_none_are_told(
    tiny_llama: Path, adapter: Path, tmp_path: Path, content: bytes, why: str
) -> None:
    path = with_settings(adapter, tmp_path / "a")
    (path / "adapter_model.safetensors").write_bytes(content)
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert problem.startswith(f"lora.path: {path / 'adapter_model.safetensors'} {why}")


def test_an_adapter_without_weights_is_told(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    path = with_settings(adapter, tmp_path / "a")
    (path / "adapter_model.safetensors").unlink()
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert problem.startswith("lora.path: none of adapter_model.safetensors, adapter_model.bin is in ")


def test_pickled_weights_are_looked_at_as_well(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    path = with_settings(adapter, tmp_path / "a")
    torch.save(load_file(path / "adapter_model.safetensors"), path / "adapter_model.bin")
    (path / "adapter_model.safetensors").unlink()
    assert problems(tiny_llama, lora={"path": str(path)}) == []
    (path / "adapter_model.bin").write_bytes((path / "adapter_model.bin").read_bytes()[:3000])
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert "is cut off, or no file of torch.save" in problem


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"target_modules": ["no_such_layer"]}, "Target modules {'no_such_layer'} not found in the base model"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj"]}, "the adapter has no weights for "),
        ({"target_modules": ["q_proj"]}, "the adapter has weights that fit nothing in the model: "),
        ({"r": 8}, "size mismatch"),
        ({"r": -1}, "`r` should be a positive integer"),
        ({"r": "four"}, "peft cannot put "),
        ({"r": 10**12}, "r is 1000000000000, and no model has more than"),
        ({"target_modules": "("}, "peft cannot put "),
        ({"bias": "bert"}, "Requested bias: bert, is not implemented"),
        ({"monteclora_config": "x"}, "monteclora_config is 'x', where an object with names and values belongs"),
        ({"megatron_config": {"a": 1}, "megatron_core": "this"}, "peft cannot put "),
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_told(
    tiny_llama: Path, adapter: Path, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    path = with_settings(adapter, tmp_path / "a", **changes)
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert problem.startswith("lora.path")
    assert str(path) in problem
    assert why in problem


@pytest.mark.parametrize("way", ["pissa", "olora", "orthogonal", "gaussian", True, False])
def test_however_it_was_initialised_it_is_read(tiny_llama: Path, adapter: Path, tmp_path: Path, way: Any) -> None:
    path = with_settings(adapter, tmp_path / "a", init_lora_weights=way)
    assert problems(tiny_llama, lora={"path": str(path)}) == []


def test_weights_of_no_tensors_are_told(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    path = with_settings(adapter, tmp_path / "a")
    (path / "adapter_model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    (problem,) = problems(tiny_llama, lora={"path": str(path)})
    assert "the adapter has no weights for " in problem


def test_an_adapter_is_put_on_nothing_where_the_model_cannot_be_read(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    (of_model,) = problems(tmp_path, lora={"path": str(adapter)})
    assert of_model.startswith(str(tmp_path / "config.json"))


BREAK: dict[str, Callable[[Path], object]] = {
    "cut": lambda folder: (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {'),
    "list": lambda folder: (folder / "tokenizer.json").write_text("[]"),
    "empty": lambda folder: (folder / "tokenizer.json").write_text(""),
    "config": lambda folder: (folder / "tokenizer_config.json").write_text("["),
    "pointer": lambda folder: (folder / "tokenizer.json").write_bytes(POINTER),
}


@pytest.mark.parametrize("name", BREAK)
def test_a_tokenizer_that_is_damaged_is_told_by_a_dry_run(
    tiny_llama: Path, tmp_path: Path, llem: Callable[..., Any], name: str
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "m")
    BREAK[name](folder)
    ran = llem("run", "--dry-run", "--model", folder, "--set", "energy.backend=null", "--precision", "fp32")
    assert ran.code == 1
    (line,) = ran.err.splitlines()
    assert (
        "is a git-LFS pointer" if name == "pointer" else f"llem: the tokenizer of {folder} cannot be read: "
    ) in line
    # Random prompts are no text, and yet it is the tokenizer that says what to pad with.
    drawn = llem("run", "--dry-run", "--model", folder, "--dataset", "random", "--set", "energy.backend=null")
    assert drawn.err == ran.err
