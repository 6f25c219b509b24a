"""What vLLM will take of memory, against sums by hand; vLLM is not needed for it."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm.memory import Place, cache_of, estimate, room_problems, space_in
from llenergymeasure.core.checkpoint.architecture import skeleton
from llenergymeasure.core.memory.free import FreeMemory
from llenergymeasure.orchestration.preflight.memory_fit import MemoryFit

HOST = Place(total_mb=(1000.0,), on_cpu=True)
GPUS = Place(total_mb=(400.0, 600.0), on_cpu=False)
# Keys and values of 32 numbers each in two layers, 4 bytes each.
BYTES_PER_TOKEN = 2 * 32 * 4 * 2


def config_of(model: Path, precision: str = "fp32", **section: Any) -> ExperimentConfig:
    given = {"model": str(model), "backend": "vllm", "precision": precision, "vllm": section}
    return ExperimentConfig.model_validate(given)


@pytest.fixture(scope="module")
def architecture(tiny_llama: Path) -> Any:
    return skeleton(AutoConfig.from_pretrained(tiny_llama))


def weights_mb(architecture: Any, size: float = 4) -> float:
    return sum(int(p.numel()) for p in architecture.parameters()) * size / 1e6


def test_the_cache_is_what_is_left_of_the_share(tiny_llama: Path, architecture: Any) -> None:
    found = estimate(config_of(tiny_llama), architecture, HOST)
    assert found.weights_mb == pytest.approx(weights_mb(architecture))
    # 0.92 of 1000 MB together with the weights, and all of it has to be free when vLLM starts.
    assert found.certain_mb == pytest.approx(920)
    assert found.total_mb is None
    half = estimate(config_of(tiny_llama, gpu_memory_utilization=0.5), architecture, HOST)
    assert half.certain_mb == pytest.approx(500)
    assert estimate(config_of(tiny_llama), architecture, GPUS).certain_mb == pytest.approx(920)


def test_a_cache_that_was_written_is_as_large_as_that(tiny_llama: Path, architecture: Any) -> None:
    written = config_of(tiny_llama, kv_cache_memory_bytes=5_000_000)
    assert estimate(written, architecture, HOST).kv_cache_mb == 5
    # On each GPU.
    assert estimate(written, architecture, GPUS).kv_cache_mb == 10
    # What a vLLM for CPUs is told in the environment goes before it; a GiB is 1024^3.
    told = Place(total_mb=(None,), on_cpu=True, space_bytes=2 << 30)
    assert estimate(written, architecture, told).kv_cache_mb == pytest.approx(2147.483648)


def test_a_machine_whose_memory_is_not_known_has_an_unknown_cache(tiny_llama: Path, architecture: Any) -> None:
    found = estimate(config_of(tiny_llama), architecture, Place(total_mb=(None,), on_cpu=True))
    assert found.kv_cache_mb is None
    assert any("KV cache: vLLM takes up to 92%" in line for line in found.unknown)


def test_weights_that_are_quantised_on_loading_take_less(tiny_llama: Path, architecture: Any) -> None:
    dense = estimate(config_of(tiny_llama, "bf16"), architecture, HOST).weights_mb
    assert dense == pytest.approx(weights_mb(architecture, 2))
    packed = estimate(config_of(tiny_llama, "bf16", quantization="fp8_per_tensor"), architecture, HOST).weights_mb
    # Linear layers: q and o 64 x 64, k and v 64 x 32, three of 64 by the inner width; a byte each instead of two.
    inner = architecture.config.intermediate_size
    linear = 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * inner)
    assert dense - packed == pytest.approx(linear / 1e6)


def test_what_a_request_takes_of_the_cache(tiny_llama: Path, architecture: Any) -> None:
    assert cache_of(config_of(tiny_llama), architecture, 100) == 100 * BYTES_PER_TOKEN
    assert cache_of(config_of(tiny_llama, kv_cache_dtype="fp8"), architecture, 100) == 25 * BYTES_PER_TOKEN
    assert cache_of(config_of(tiny_llama, "bf16"), architecture, 100) == 50 * BYTES_PER_TOKEN
    assert cache_of(config_of(tiny_llama, kv_cache_dtype="nvfp4"), architecture, 100) is None


def test_a_cache_without_room_for_one_request_is_a_problem(tiny_llama: Path, architecture: Any) -> None:
    just = config_of(tiny_llama, kv_cache_memory_bytes=1000 * BYTES_PER_TOKEN, max_model_len=1000)
    assert list(room_problems(just, architecture, HOST)) == []
    over = config_of(tiny_llama, kv_cache_memory_bytes=1000 * BYTES_PER_TOKEN - 1, max_model_len=1000)
    (line,) = room_problems(over, architecture, HOST)
    assert line.startswith("vllm.max_model_len: 1000: a request of so many tokens takes 1 MB of the KV cache")


def test_too_little_memory_is_told_with_what_helps_under_vllm(tiny_llama: Path, architecture: Any) -> None:
    fit = MemoryFit(estimate(config_of(tiny_llama), architecture, HOST), FreeMemory(where="here", free_mb=900.0))
    assert fit.problem is not None
    assert "weights and KV cache alone take 920 MB" in fit.problem
    assert fit.problem.endswith("or lower vllm.gpu_memory_utilization")


@pytest.mark.parametrize(("written", "gib"), [({}, None), ({"VLLM_CPU_KVCACHE_SPACE": "4"}, 4),
                                             ({"VLLM_CPU_KVCACHE_SPACE": ""}, None)])  # fmt: skip
def test_the_variable_is_read_as_vllm_reads_it(written: dict[str, str], gib: int | None) -> None:
    assert space_in(written) == (None if gib is None else gib << 30)
