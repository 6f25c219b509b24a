"""What vLLM would refuse of an adapter, or take and leave out, is told before it loads; vLLM is not needed for it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.adapter import adapter_problems
from llenergymeasure.core.checkpoint.adapter import read_adapter, without_a_layer
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.flops import described_flops


def problems(model: Path, adapter: Path, *, merge: bool = False, **section: Any) -> list[str]:
    given = {"model": str(model), "backend": "vllm", "lora": {"path": str(adapter), "merge": merge}, "vllm": section}
    config = ExperimentConfig.model_validate(given)
    return list(adapter_problems(config, AutoConfig.from_pretrained(model)))


def with_settings(adapter: Path, target: Path, **settings: Any) -> Path:
    shutil.copytree(adapter, target)
    file = target / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    return target


def test_an_adapter_that_fits_has_no_problems(tiny_llama: Path, adapter: Path) -> None:
    assert problems(tiny_llama, adapter) == []
    # The configuration's default is to fold it in, which is what vLLM cannot do.
    (merge,) = problems(tiny_llama, adapter, merge=True)
    assert merge.startswith("lora.merge: vLLM runs an adapter beside the weights")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "use_dora: True"),
        ({"bias": "all"}, "bias: 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: 'pissa'"),
        ({"lora_alpha": None, "modules_to_save": ["lm_head"]}, "no lora_alpha, modules_to_save: ['lm_head']"),
    ],
)
def test_what_vllm_does_not_run_is_told(
    tiny_llama: Path, adapter: Path, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    other = with_settings(adapter, tmp_path / "other", **settings)
    (line,) = problems(tiny_llama, other)
    assert line.startswith(f"lora.path: {other} has {said}, which vLLM does not run; merge it into the model")


def test_a_rank_that_no_room_is_made_for_is_told(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    larger = with_settings(adapter, tmp_path / "larger", rank_pattern={"nowhere": 20})
    assert problems(tiny_llama, larger) == []
    (line,) = problems(tiny_llama, larger, max_lora_rank=16)
    assert line.endswith("has rank 20, and vllm.max_lora_rank is 16; raise it, up to 512")
    most = with_settings(adapter, tmp_path / "most", rank_pattern={"nowhere": 513})
    (line,) = problems(tiny_llama, most)
    assert "has rank 513, and vLLM's most is 512" in line


def test_layers_that_the_model_has_not_are_told(tiny_llama: Path, adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "adapter_model.safetensors"
    save_file({name.replace("layers.1.", "layers.7."): tensor for name, tensor in load_file(file).items()}, file)
    (line,) = problems(tiny_llama, tmp_path)
    assert line.startswith(f"lora.path {tmp_path}: the adapter has")


def test_without_peft_names_are_held_against_each_other(tiny_llama: Path, adapter: Path) -> None:
    shapes = read_adapter(adapter).shapes
    model = skeleton(AutoConfig.from_pretrained(tiny_llama))
    assert shapes is not None
    assert without_a_layer(model, shapes) == []
    elsewhere = {name.replace("layers.1.", "layers.7."): shape for name, shape in shapes.items()}
    assert without_a_layer(model, elsewhere) == sorted(name for name in elsewhere if "layers.7." in name)


def test_a_place_without_an_adapter_is_told(tiny_llama: Path, tmp_path: Path) -> None:
    assert problems(tiny_llama, tmp_path) == [f"lora.path: directory {tmp_path} has no adapter_config.json in it"]


def test_what_an_adapter_is_and_adds(tiny_llama: Path, adapter: Path) -> None:
    read = read_adapter(adapter)
    assert (read.rank, read.described(merged=False)) == (4, "lora, rank 4, alpha 8, not merged")
    # Per layer A and B of q (64 to 64) and v (64 to 32), of rank 4; two layers, and nothing beside the head.
    n_added = 2 * (4 * 64 + 64 * 4 + 4 * 64 + 32 * 4)
    assert read.n_parameters == n_added
    model = skeleton(AutoConfig.from_pretrained(tiny_llama))
    assert read.weights_beside(model) == (n_added, 0)


def test_an_adapters_weights_multiply_every_token_that_goes_through_its_layers(tiny_llama: Path) -> None:
    model, sequences = skeleton(AutoConfig.from_pretrained(tiny_llama)), [(5, 3), (7, 1)]
    bare = described_flops(model, sequences, "fp32")
    beside = described_flops(model, sequences, "fp32", beside=(100, 10))
    assert bare.model_flops is not None
    assert beside.model_flops is not None
    # Through the layers go 5 + 2 and 7 + 0 tokens, through the head one for each that is produced: 3 and 1.
    assert beside.model_flops - bare.model_flops == 2 * (100 * 14 + 10 * 4)
    assert beside.value == bare.value
