"""What GPUs can do at most: products of dense matrices, as their maker states it.

NVIDIA prints many figures for matrices of which half is zeros ("with sparsity"); those here are without. Those of
GeForce cards are with sums kept in fp32, as torch keeps them, which is half of what is printed first. All are at the
boost clock: a card under its power cap does less. A card that is not here has no known peak.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from llenergymeasure.domain.metrics import NumberFormat

_TERA = 1e12


@dataclass(frozen=True, kw_only=True)
class DevicePeak:
    """Peaks of one product by number format, fp32 outside the tensor cores; no entry where it has no such unit.

    ``pattern`` matches the whole of the name that NVML gives.
    """

    pattern: str
    source: str
    flop_per_second: Mapping[NumberFormat, float]


def _peak(pattern: str, source: str, fp32: float, tf32: float, fp16: float, *, has_bf16: bool = True) -> DevicePeak:
    """One row, in 10^12 FLOP/s; bf16 is as fast as fp16 wherever there is any."""
    peaks: dict[NumberFormat, float] = {"fp32": fp32 * _TERA, "tf32": tf32 * _TERA, "fp16": fp16 * _TERA}
    return DevicePeak(
        pattern=pattern, source=source, flop_per_second=peaks | ({"bf16": fp16 * _TERA} if has_bf16 else {})
    )


_VOLTA = "V100 datasheet, January 2020"
_AMPERE = "A100 datasheet, June 2021"
_HOPPER = "H100 architecture white paper, table 2"
_NVL = "H100 and H200 NVL datasheets; tensor figures halved, printed with sparsity"
_GA102 = "GA102 architecture white paper, appendix A"

# Before Ampere there was no TF32: asking for it changes nothing, and fp32 it stays.
DEVICE_PEAKS: tuple[DevicePeak, ...] = (
    _peak(r"Tesla V100-SXM2-(16|32)GB", _VOLTA, 15.7, 15.7, 125, has_bf16=False),
    _peak(r"Tesla V100-PCIE-(16|32)GB", _VOLTA, 14.0, 14.0, 112, has_bf16=False),
    _peak(r"Tesla V100S-PCIE-32GB", _VOLTA, 16.4, 16.4, 130, has_bf16=False),
    _peak(r"(NVIDIA |Tesla )T4", "T4 datasheet, March 2019", 8.1, 8.1, 65, has_bf16=False),
    _peak(r"(NVIDIA )?A100[- ](SXM4|SXM|PCIE|80GB PCIe)(-(40|80)GB)?", _AMPERE, 19.5, 156, 312),
    _peak(r"NVIDIA A10", "A10 datasheet, April 2021", 31.2, 62.5, 125),
    _peak(r"NVIDIA A30", "A30 datasheet, April 2021", 10.3, 82, 165),
    _peak(r"NVIDIA A40", "A40 datasheet, October 2020", 37.4, 74.8, 149.7),
    _peak(r"NVIDIA L4", "L4 datasheet; tensor figures halved, printed with sparsity", 30.3, 60, 121),
    _peak(r"NVIDIA L40", "L40 datasheet", 90.5, 90.5, 181.05),
    _peak(r"NVIDIA L40S", "L40S datasheet", 91.6, 183, 362.05),
    _peak(r"NVIDIA H100 80GB HBM3", _HOPPER, 66.9, 494.7, 989.4),
    _peak(r"NVIDIA H100 PCIe", "H100 datasheet, 2022; tensor figures halved, printed with sparsity", 51, 378, 756),
    _peak(r"NVIDIA H(100|200) NVL", _NVL, 60, 417.5, 835.5),
    _peak(r"NVIDIA H200", "H200 datasheet; tensor figures halved, printed with sparsity", 67, 494.5, 989.5),
    _peak(r"(NVIDIA )?GH200 (480|120)GB", "GH200 datasheet", 67, 494, 990),
    _peak(r"NVIDIA B200", "HGX B200 datasheet, per GPU; tensor figures halved, printed with sparsity", 75, 1100, 2250),
    _peak(r"NVIDIA GeForce RTX 3090", _GA102, 35.6, 35.6, 71),
    _peak(r"NVIDIA RTX A6000", _GA102, 38.7, 77.4, 154.8),
    _peak(r"NVIDIA GeForce RTX 4090", "Ada architecture white paper, appendix A", 82.6, 82.6, 165.2),
    _peak(r"NVIDIA GeForce RTX 5090", "RTX Blackwell architecture white paper, appendix A", 104.8, 104.8, 209.5),
)


def peak_flop_per_second(device_name: str, number_format: NumberFormat) -> float | None:
    """Most FLOP/s of a GPU in products of dense matrices; None where it is not known, or the card has no such unit."""
    row = next((peak for peak in DEVICE_PEAKS if re.fullmatch(peak.pattern, device_name)), None)
    return None if row is None else row.flop_per_second.get(number_format)
