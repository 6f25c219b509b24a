"""What is refused, what only deserves caution, and what is said of it."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.core.gpu.base import VisibleGpus
from llenergymeasure.core.memory.free import FreeMemory
from llenergymeasure.domain.environment import GpuInfo
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.orchestration.preflight.memory_fit import MemoryFit, fit_on_gpus, memory_fit, parts_of

ESTIMATE = MemoryEstimate(weights_mb=6000.0, kv_cache_mb=2000.0, activations_mb=500.0, overhead_mb=700.0)


def fit(free_mb: float | None, swap_mb: float = 0.0, **changes: Any) -> MemoryFit:
    free = FreeMemory(where="on GPU 0 (Fake)", free_mb=free_mb, swap_mb=swap_mb)
    return MemoryFit(replace(ESTIMATE, **changes), free)


def test_with_room_there_is_nothing_to_say() -> None:
    assert (fit(9200.0).problem, fit(9200.0).caution) == (None, None)


def test_weights_and_cache_that_exceed_what_is_free_are_refused_with_their_sum_and_advice() -> None:
    problem = fit(7999.0).problem
    assert problem is not None
    assert problem.startswith(
        "not enough memory: weights and KV cache alone take 8,000 MB (weights 6,000, KV cache 2,000), and 7,999 MB on "
        "GPU 0 (Fake) are free; lower batch_size"
    )
    assert fit(7999.0).caution is None


def test_activations_and_slack_that_exceed_it_only_deserve_caution() -> None:
    assert fit(8000.0).problem is None
    caution = fit(9199.0).caution
    assert caution is not None
    assert str(caution).startswith(
        "memory_tight: up to 9,200 MB are needed (weights 6,000, KV cache 2,000, activations 500, "
        "libraries and slack 700)"
    )


# Of all processes together.
OF_ALL = MemoryEstimate(weights_mb=70_000.0, kv_cache_mb=2_000.0, activations_mb=None, overhead_mb=600.0)


def gpus_with(*free_mb: float) -> list[GpuInfo]:
    return [
        GpuInfo(index=i, uuid=f"GPU-{i}", name="Fake", memory_total_mb=80_000.0, memory_used_mb=80_000.0 - mb)
        for i, mb in enumerate(free_mb)
    ]


def test_each_process_has_to_fit_the_fullest_gpu() -> None:
    problem = fit_on_gpus(OF_ALL, gpus_with(75_000.0, 10_000.0), 2).problem
    assert problem is not None
    assert "36,000 MB for each of 2 processes (weights 35,000, KV cache 1,000), and 10,000 MB on GPU 1 (" in problem
    roomy = fit_on_gpus(OF_ALL, gpus_with(75_000.0, 36_000.0), 2)
    assert (roomy.problem, roomy.caution) == (None, None)
    assert roomy.estimate == MemoryEstimate(
        weights_mb=35_000.0, kv_cache_mb=1_000.0, activations_mb=None, overhead_mb=300.0
    )


def test_one_process_has_what_all_its_gpus_have_left() -> None:
    assert fit_on_gpus(OF_ALL, gpus_with(63_000.0, 10_000.0), 1).problem is None
    assert "72,000 MB (weights" in str(fit_on_gpus(OF_ALL, gpus_with(61_000.0, 10_000.0), 1).problem)


def test_swap_saves_from_refusal_and_is_named() -> None:
    assert fit(7000.0, swap_mb=1000.0).problem is None
    assert "1,000 MB of swap" in str(fit(7000.0, swap_mb=1000.0).caution)
    assert fit(7000.0, swap_mb=999.0).problem is not None


def test_what_may_lie_elsewhere_is_never_refused() -> None:
    spilling = fit(10.0, may_spill=True)
    assert spilling.problem is None
    assert "slower memory" in str(spilling.caution)


@pytest.mark.parametrize("part", ["kv_cache_mb", "activations_mb"])
def test_unknown_parts_refuse_nothing_that_the_known_ones_do_not(part: str) -> None:
    missing: dict[str, Any] = {part: None}
    unknown = fit(6000.0 if part == "kv_cache_mb" else 8000.0, **missing)
    assert (unknown.problem, unknown.caution) == (None, None)
    assert fit(5999.0, **missing).problem is not None
    assert "unknown" in parts_of(unknown.estimate)


def test_without_an_estimate_or_a_reading_nothing_is_said() -> None:
    assert fit(None).problem is None
    assert fit(None).caution is None
    assert MemoryFit(None, FreeMemory(where="", free_mb=1.0)).problem is None


def test_where_gpus_cannot_be_told_apart_the_cpu_is_not_taken_for_them() -> None:
    found = memory_fit(None, (), 1, VisibleGpus(problem="a MIG slice"))
    assert found.free.free_mb is None
    assert "a MIG slice" in found.free.where
