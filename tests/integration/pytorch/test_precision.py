"""Formats and kernels against the compute capabilities that have them."""

from typing import Any

import pytest
import torch

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.precision import precision_cautions, precision_problems
from llenergymeasure.domain.environment import GpuInfo


def gpu(major: int, minor: int) -> GpuInfo:
    return GpuInfo(index=1, uuid="GPU-1", name="Fake", compute_capability=(major, minor))


def config(**fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": "m", **fields})


@pytest.mark.parametrize(
    ("section", "lacks", "has"),
    [
        ({"attn_implementation": "flash_attention_2"}, (7, 5), (8, 0)),
        ({"attn_implementation": "flash_attention_4"}, (8, 9), (9, 0)),
        ({"torchao": "float8_dynamic_activation_float8_weight"}, (8, 6), (8, 9)),
        ({"torchao": "int4_weight_only"}, (7, 5), (8, 0)),
    ],
)
def test_a_kernel_that_the_gpu_lacks_is_refused(
    section: dict[str, Any], lacks: tuple[int, int], has: tuple[int, int]
) -> None:
    (line,) = precision_problems(config(pytorch=section), [gpu(*has), gpu(*lacks)])
    assert f"has {lacks[0]}.{lacks[1]};" in line
    assert f"capability {has[0]}.{has[1]}," in line
    assert "GPU 1 (Fake)" in line


def test_flash_attention_has_no_fp32() -> None:
    flash = config(precision="fp32", pytorch={"attn_implementation": "flash_attention_2"})
    (line,) = precision_problems(flash, [gpu(9, 0)])
    assert "no fp32" in line


@pytest.mark.parametrize(
    ("fields", "lacks", "has"),
    [
        ({"precision": "bf16"}, (7, 5), (8, 0)),
        ({"precision": "fp16", "pytorch": {"load_in_8bit": True}}, (7, 0), (7, 5)),
    ],
)
def test_what_is_only_emulated_is_told_and_runs(
    fields: dict[str, Any], lacks: tuple[int, int], has: tuple[int, int]
) -> None:
    (line,) = precision_cautions(config(**fields), [gpu(*lacks)])
    assert str(line).startswith("slow_precision: ")
    assert precision_cautions(config(**fields), [gpu(*has)]) == []
    assert precision_problems(config(**fields), [gpu(*lacks)]) == []


def test_a_gpu_that_does_not_say_is_not_judged() -> None:
    silent = GpuInfo(index=0, uuid="GPU-0", name="Fake")
    flash = config(pytorch={"attn_implementation": "flash_attention_2", "load_in_8bit": True})
    assert precision_problems(flash, [silent]) == []
    assert precision_cautions(flash, [silent]) == []


def test_fp16_on_a_cpu_without_it_is_told() -> None:
    said = precision_cautions(config(precision="fp16"), [])
    assert bool(said) is not torch.ops.mkldnn._is_mkldnn_fp16_supported()
    assert all("auto or fp32" in str(line) for line in said)
    assert precision_cautions(config(precision="bf16"), []) == []
