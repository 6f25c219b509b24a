"""Peaks by the names that NVML gives, against figures that follow from units and clocks."""

import re

import pytest

from llenergymeasure.domain.device_peaks import DEVICE_PEAKS, peak_flop_per_second
from llenergymeasure.domain.metrics import NumberFormat

# Multiprocessors x multiply-adds per clock and multiprocessor x 2 x boost clock in GHz.
UNITS: list[tuple[str, NumberFormat, float]] = [
    ("Tesla V100-SXM2-16GB", "fp32", 80 * 64 * 2 * 1.53),
    ("Tesla V100-SXM2-32GB", "fp16", 80 * 512 * 2 * 1.53),
    ("Tesla V100-PCIE-16GB", "fp16", 80 * 512 * 2 * 1.38),
    ("Tesla V100S-PCIE-32GB", "fp16", 80 * 512 * 2 * 1.597),
    ("Tesla T4", "fp16", 40 * 512 * 2 * 1.59),
    ("NVIDIA A100-SXM4-80GB", "bf16", 108 * 1024 * 2 * 1.41),
    ("NVIDIA A100-SXM4-40GB", "tf32", 108 * 512 * 2 * 1.41),
    ("NVIDIA A100-PCIE-40GB", "fp32", 108 * 64 * 2 * 1.41),
    ("NVIDIA A100 80GB PCIe", "fp16", 108 * 1024 * 2 * 1.41),
    ("NVIDIA A10", "bf16", 72 * 512 * 2 * 1.695),
    ("NVIDIA A30", "bf16", 56 * 1024 * 2 * 1.44),
    ("NVIDIA A40", "bf16", 84 * 512 * 2 * 1.74),
    ("NVIDIA RTX A6000", "tf32", 84 * 256 * 2 * 1.8),
    ("NVIDIA L4", "bf16", 58 * 512 * 2 * 2.04),
    ("NVIDIA L40", "bf16", 142 * 256 * 2 * 2.49),
    ("NVIDIA L40S", "bf16", 142 * 512 * 2 * 2.52),
    ("NVIDIA H100 80GB HBM3", "bf16", 132 * 2048 * 2 * 1.83),
    ("NVIDIA H100 80GB HBM3", "fp32", 132 * 128 * 2 * 1.98),
    ("NVIDIA H100 PCIe", "bf16", 114 * 2048 * 2 * 1.62),
    ("NVIDIA H200", "tf32", 132 * 1024 * 2 * 1.83),
    ("NVIDIA GH200 480GB", "bf16", 132 * 2048 * 2 * 1.83),
    ("NVIDIA GeForce RTX 3090", "bf16", 82 * 256 * 2 * 1.695),
    ("NVIDIA GeForce RTX 4090", "fp16", 128 * 256 * 2 * 2.52),
    ("NVIDIA GeForce RTX 4090", "tf32", 128 * 128 * 2 * 2.52),
    ("NVIDIA GeForce RTX 5090", "bf16", 170 * 256 * 2 * 2.407),
]


@pytest.mark.parametrize(("name", "number_format", "giga"), UNITS, ids=str)
def test_a_peak_is_what_the_units_do_at_the_boost_clock(name: str, number_format: NumberFormat, giga: float) -> None:
    # Makers round, and state tensor figures at other clocks than they print: 2 % is well under the factor of two
    # by which sparsity or sums in fp16 would be off.
    assert peak_flop_per_second(name, number_format) == pytest.approx(giga * 1e9, rel=0.02)


def test_a_card_without_bf16_units_has_no_peak_for_it_and_without_tf32_stays_at_fp32() -> None:
    assert peak_flop_per_second("Tesla T4", "bf16") is None
    assert peak_flop_per_second("Tesla T4", "tf32") == peak_flop_per_second("Tesla T4", "fp32") == 8.1e12


@pytest.mark.parametrize(
    "name",
    [
        "",
        "NVIDIA A10G",
        "Tesla V100-SXM3-32GB",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 3090 Ti",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA RTX 6000 Ada Generation",
        "A100",
        "Llama 7",
    ],
)
def test_a_name_that_is_only_like_one_is_not_known(name: str) -> None:
    assert peak_flop_per_second(name, "fp16") is None


def test_every_row_has_a_source_and_no_name_two_rows() -> None:
    names = {name for name, _, _ in UNITS} | {"NVIDIA H100 NVL", "NVIDIA H200 NVL", "NVIDIA B200"}
    for name in names:
        assert sum(re.fullmatch(row.pattern, name) is not None for row in DEVICE_PEAKS) == 1
    for row in DEVICE_PEAKS:
        assert row.source
        assert any(re.fullmatch(row.pattern, name) for name in names)
