"""Number formats of PyTorch on CPUs and GPUs, without either."""

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.precision import native_precision, precision_cautions
from llenergymeasure.domain.environment import GpuInfo

NO_BF16, WITH_BF16 = frozenset({"fp32"}), frozenset({"fp32", "bf16"})


def gpus(*capabilities: tuple[int, int] | None) -> list[GpuInfo]:
    return [
        GpuInfo(index=i, uuid=f"GPU-{i}", name="card", compute_capability=capability)
        for i, capability in enumerate(capabilities)
    ]


@pytest.mark.parametrize(
    ("capabilities", "native"),
    [
        ([(9, 0)], "bf16"),
        ([(8, 0)], "bf16"),
        ([(7, 5)], "fp16"),
        ([(7, 0)], "fp16"),
        ([(6, 1)], "fp32"),
        # All of them compute every layer or token.
        ([(8, 6), (7, 5)], "fp16"),
        ([(8, 0), None], "bf16"),
        ([None], "bf16"),
    ],
)
def test_gpus_take_what_their_tensor_cores_have(capabilities: list[tuple[int, int] | None], native: str) -> None:
    assert native_precision(gpus(*capabilities), NO_BF16) == native


@pytest.mark.parametrize(("formats", "native"), [(NO_BF16, "fp32"), (WITH_BF16, "bf16"), (None, "fp32")])
def test_a_cpu_takes_bf16_only_where_it_has_it(formats: frozenset[str] | None, native: str) -> None:
    assert native_precision([], formats) == native


def test_bf16_on_a_cpu_without_it_is_told_with_the_way_out() -> None:
    [said] = precision_cautions(ExperimentConfig(model="m"), [], NO_BF16)
    assert (said.flag, said.advice) == ("slow_precision", "set precision: auto or fp32, which is faster there")
    assert "bf16 is emulated on this CPU" in said.text


@pytest.mark.parametrize("formats", [WITH_BF16, None])
def test_bf16_is_no_matter_where_the_cpu_has_it_or_does_not_say(formats: frozenset[str] | None) -> None:
    assert precision_cautions(ExperimentConfig(model="m"), [], formats) == []


def test_fp32_is_no_matter_anywhere() -> None:
    assert precision_cautions(ExperimentConfig(model="m", precision="fp32"), [], NO_BF16) == []
