"""Number formats and kernels that a device has, or has not, known before it is touched."""

from collections.abc import Iterator, Sequence

from llenergymeasure.config.engines import PyTorchConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.cautions import emulated_on_the_cpu
from llenergymeasure.core.backends.pytorch.generation import section_of
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.warnings import MeasurementWarning

Capability = tuple[int, int]

# From transformers' FLASH_ATTENTION_COMPATIBILITY_MATRIX; version 2 from its own README.
_FLASH = {"flash_attention_2": (8, 0), "flash_attention_3": (8, 0), "flash_attention_4": (9, 0)}
_FLASH_FORMATS = ("fp16", "bf16")
# torchao 0.18 asserts it for what multiplies in float8; its 4-bit kernels are written for Ampere.
_TORCHAO = {
    "float8_dynamic_activation_float8_weight": (8, 9),
    "float8_dynamic_activation_int4_weight": (8, 9),
    "int4_weight_only": (8, 0),
}
_BF16 = (8, 0)  # tensor cores take bf16 from Ampere on (CUDA C++ programming guide, compute capabilities)
_FP16 = (5, 3)
_FAST_FP16 = (7, 0)  # tensor cores take fp16 from Volta on; most cards before it have a fraction of fp32's rate
_INT8 = (7, 5)  # bitsandbytes: without it "only slow 8-bit matmul is supported"


def precision_problems(config: ExperimentConfig, gpus: Sequence[GpuInfo]) -> list[str]:
    """What the GPUs of an experiment cannot do at all, one line each.

    Args:
        config: the experiment.
        gpus: those it will use; one that does not say its compute capability is not judged.
    """
    return [
        f"{wanted_by} needs compute capability {_dotted(least)}, and GPU {gpu.index} ({gpu.name}) has "
        f"{_dotted(gpu.compute_capability)}; {instead}"
        for gpu in gpus
        for wanted_by, least, instead in _kernels(section_of(config))
        if gpu.compute_capability is not None and gpu.compute_capability < least
    ] + list(_wrong_format(config, gpus))


def native_precision(gpus: Sequence[GpuInfo], of_the_cpu: frozenset[str] | None) -> str:
    """The number format to choose where none is asked for.

    Args:
        gpus: those that will be used, all of which have to have it; none is the CPU.
        of_the_cpu: formats that the CPU does not emulate; None is not known.
    """
    if not gpus:
        return "bf16" if "bf16" in (of_the_cpu or ()) else "fp32"
    known = [gpu.compute_capability for gpu in gpus if gpu.compute_capability is not None]
    if len(known) < len(gpus):
        return PyTorchConfig.default_precision
    return "bf16" if min(known) >= _BF16 else "fp16" if min(known) >= _FAST_FP16 else "fp32"


def precision_cautions(
    config: ExperimentConfig, gpus: Sequence[GpuInfo], of_the_cpu: frozenset[str] | None = None
) -> list[MeasurementWarning]:
    """What will run, but much slower than the same number format does where the hardware has it.

    Args:
        config: the experiment.
        gpus: those it will use; none is the CPU.
        of_the_cpu: formats that the CPU does not emulate; None is not known.
    """
    if not gpus:
        return _on_the_cpu(config, of_the_cpu)
    wanted = {"bf16": ("precision: bf16", _BF16, "fp16"), "fp16": ("precision: fp16", _FP16, "fp32")}
    checks = [wanted[config.precision]] if config.precision in wanted else []
    if section_of(config).load_in_8bit:
        checks.append(("pytorch.load_in_8bit", _INT8, "load_in_4bit"))
    return [
        MeasurementWarning(
            "slow_precision",
            f"{wanted_by} is emulated on GPU {gpu.index} ({gpu.name}): its compute capability is "
            f"{_dotted(gpu.compute_capability)}, hardware has it from {_dotted(least)} on",
            f"{instead} is faster there",
        )
        for gpu in gpus
        for wanted_by, least, instead in checks
        if gpu.compute_capability is not None and gpu.compute_capability < least
    ]


def _kernels(section: PyTorchConfig) -> Iterator[tuple[str, Capability, str]]:
    attention = section.attn_implementation
    if attention in _FLASH:
        yield f"pytorch.attn_implementation: {attention}", _FLASH[attention], "use sdpa"
    if section.torchao in _TORCHAO:
        yield f"pytorch.torchao: {section.torchao}", _TORCHAO[section.torchao], "use int8_weight_only"


def _wrong_format(config: ExperimentConfig, gpus: Sequence[GpuInfo]) -> Iterator[str]:
    attention = section_of(config).attn_implementation
    if gpus and attention in _FLASH and config.precision not in _FLASH_FORMATS:
        yield (
            f"pytorch.attn_implementation: {attention} has no {config.precision}; set precision: bf16 or fp16, "
            "or use sdpa"
        )


def _on_the_cpu(config: ExperimentConfig, native: frozenset[str] | None) -> list[MeasurementWarning]:
    if config.precision != "fp16":
        return list(emulated_on_the_cpu(config.precision, native))
    import torch

    # Private, but the one place where torch says which matrix products oneDNN takes over.
    has_fp16 = getattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", None)
    if has_fp16 is None or has_fp16():
        return []
    return [
        MeasurementWarning(
            "slow_precision",
            "this CPU has no fp16 arithmetic, and torch's own is over a hundred times slower than fp32",
            "set precision: auto or fp32",
        )
    ]


def _dotted(capability: Capability | None) -> str:
    return "unknown" if capability is None else f"{capability[0]}.{capability[1]}"
