"""What vLLM will take of memory, by its own rule, before anything loads.

vLLM 0.32 sizes its cache of keys and values by what is left of its share of the memory (``gpu_memory_utilization``,
``gpu_worker.py`` and ``cpu_worker.py``), and needs the whole share to be free when it starts; or it is told how large
the cache is. It refuses a cache that does not hold one request of ``max_model_len``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from llenergymeasure.config.engines import VLLMConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.parameters import section_of
from llenergymeasure.core.backends.vllm.quantised import stored_method
from llenergymeasure.core.checkpoint.files import model_files
from llenergymeasure.core.checkpoint.identity import folder_of
from llenergymeasure.core.checkpoint.source import describe_source
from llenergymeasure.core.memory.shape import BYTES_PER_VALUE, LayerCache, probe_cache, quantised_weights
from llenergymeasure.domain.metrics import MemoryEstimate

SHARE = 0.92  # of CacheConfig
_CPU_SPACE, _GIB, _MB = "VLLM_CPU_KVCACHE_SPACE", 1024**3, 1e6
# Bits of a weight that is quantised on loading, scales included; of linear layers and experts, or of experts alone.
_BITS_OF_LINEAR = {
    "fp8": 8.0, "fp8_per_tensor": 8.0, "fp8_per_block": 8.0, "fp8_per_channel": 8.0, "mxfp8": 8.25, "mxfp4": 4.25,
}  # fmt: skip
_BITS_OF_EXPERTS = {"experts_int8": 8.0, "int8_per_channel_weight_only": 8.0, "nvfp4_per_token": 4.5}
# Bits of a value of the cache; of formats of latent attention and of codebooks they are not known here.
_CACHE_BITS = {
    "float16": 16, "bfloat16": 16, "fp8": 8, "fp8_e4m3": 8, "fp8_e5m2": 8, "fp8_per_token_head": 8,
    "int8_per_token_head": 8, "int4_per_token_head": 4,
}  # fmt: skip
_ON_START = "activations: vLLM takes them, and graphs, out of the cache's share when it starts"
_LIBRARIES = "libraries: what torch and vLLM take beside is not known"
_ADAPTER = "adapter: vLLM makes room for one in every layer, which is not counted"
_DRAFT = "draft: its weights and its cache are not counted"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where it will lie: ``total_mb`` is what each device has, None where that is not known; no device is the CPU.

    ``space_bytes`` is what a vLLM for CPUs is told in the environment to make the cache of.
    """

    total_mb: tuple[float | None, ...]
    on_cpu: bool
    space_bytes: int | None = None


def space_in(environ: Mapping[str, str]) -> int | None:
    """What the environment says of the cache's size on a CPU, in bytes; None where it says nothing, or no number."""
    written = environ.get(_CPU_SPACE, "")
    return int(written) * _GIB if written.isdecimal() else None


def estimate(config: ExperimentConfig, model: Any, place: Place) -> MemoryEstimate:
    """Weights, and the cache that vLLM will make.

    Args:
        config: the experiment.
        model: the architecture without weights.
        place: where it will lie.
    """
    section, weights = section_of(config), _weights_bytes(config, model)
    unknown = [_ON_START, _LIBRARIES]
    unknown += [_ADAPTER] if config.lora is not None else []
    unknown += [_DRAFT] if section.spec_model is not None else []
    cache = told_cache_bytes(section, place)
    if cache is None:
        cache = _rest_of_share(section, place, weights)
    else:
        unknown[0] = "activations: vLLM measures them when it starts"
    if cache is None:
        unknown.append(
            f"KV cache: vLLM takes up to {_share(section):.0%} of the memory, and how much there is of that is not "
            "known; set vllm.kv_cache_memory_bytes to have it fixed"
        )
    return MemoryEstimate(
        weights_mb=weights / _MB,
        kv_cache_mb=None if cache is None else cache / _MB,
        activations_mb=None,
        overhead_mb=None,
        unknown=tuple(unknown),
        may_spill=not place.on_cpu and (section.cpu_offload_gb or section.offload_group_size) is not None,
        advice=(
            f"set vllm.kv_cache_memory_bytes{f' or the variable {_CPU_SPACE} (GiB)' if place.on_cpu else ''}, or lower "
            "vllm.gpu_memory_utilization"
        ),
    )


def told_cache_bytes(section: VLLMConfig, place: Place) -> float | None:
    """The cache of all devices as it was written; None where vLLM makes it of what is left."""
    if place.on_cpu and place.space_bytes is not None:
        return float(place.space_bytes)
    if section.kv_cache_memory_bytes is None:
        return None
    return float(section.kv_cache_memory_bytes * max(len(place.total_mb), 1))


def cache_of(config: ExperimentConfig, model: Any, n_tokens: int) -> float | None:
    """What one request of so many tokens takes of the cache, in bytes; None where it is not known here.

    A layer with a window keeps that much and no more; recurrent states are counted too.

    Args:
        config: the experiment.
        model: the architecture without weights.
        n_tokens: prompt and answer.
    """
    wanted = section_of(config).kv_cache_dtype
    bits = 8 * BYTES_PER_VALUE[config.precision] if wanted is None else _CACHE_BITS.get(wanted)
    if bits is None or getattr(model.config.get_text_config(), "kv_lora_rank", None):
        return None
    try:
        layers = probe_cache(model, config.precision)
    except Exception:  # noqa: BLE001 - a model's own code raises what it will on tensors without memory
        return None
    share = bits / (8 * BYTES_PER_VALUE[config.precision])
    return sum(_of(layer, n_tokens, share) for layer in layers)


def room_problems(config: ExperimentConfig, model: Any, place: Place) -> Iterator[str]:
    """A cache that cannot hold one request of the length that was written, so that vLLM would not start."""
    n_tokens = section_of(config).max_model_len
    cache = estimate(config, model, place).kv_cache_mb
    needed = None if n_tokens is None else cache_of(config, model, n_tokens)
    if cache is not None and needed is not None and needed / _MB > cache:
        yield (
            f"vllm.max_model_len: {n_tokens}: a request of so many tokens takes {needed / _MB:,.0f} MB of the KV "
            f"cache, which will have {cache:,.0f} MB at most; lower it, or make the cache larger "
            "(vllm.kv_cache_memory_bytes, vllm.gpu_memory_utilization)"
        )


def _of(layer: LayerCache, n_tokens: int, share: float) -> float:
    growing = replace(layer, n_fixed_bytes=0.0).bytes_for(layer.kept_of(n_tokens))
    return growing * share + layer.n_fixed_bytes


def _share(section: VLLMConfig) -> float:
    return section.gpu_memory_utilization or SHARE


def _rest_of_share(section: VLLMConfig, place: Place, weights: float) -> float | None:
    known = [total for total in place.total_mb if total is not None]
    if not known or len(known) < len(place.total_mb):
        return None
    return max(_share(section) * sum(known) * _MB - weights, 0.0)


def _weights_bytes(config: ExperimentConfig, model: Any) -> float:
    """As the files have them where they are packed; else by the number format, or what they become on loading."""
    section, size = section_of(config), BYTES_PER_VALUE[config.precision]
    if stored_method(model.config) is not None and section.load_format != "dummy":
        folder = folder_of(describe_source(config.model), None, section.revision)
        return float(sum(path.stat().st_size for path in model_files(folder).values()))
    n_weights = sum(int(parameter.numel()) for parameter in model.parameters())
    bits, n_quantised = 0.0, 0
    if section.quantization in _BITS_OF_LINEAR:
        bits, n_quantised = _BITS_OF_LINEAR[section.quantization], quantised_weights(model, with_experts=True)
    elif section.quantization in _BITS_OF_EXPERTS:
        linear = quantised_weights(model, with_experts=False)
        bits = _BITS_OF_EXPERTS[section.quantization]
        n_quantised = quantised_weights(model, with_experts=True) - linear
    return (n_weights - n_quantised) * size + n_quantised * bits / 8
