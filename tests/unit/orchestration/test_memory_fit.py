"""What is refused, what only deserves caution, and what is said of it."""

from dataclasses import replace
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.gpu_info import VisibleGpus
from llenergymeasure.core.memory import FreeMemory
from llenergymeasure.domain.metrics import MemoryEstimate
from llenergymeasure.orchestration.memory_fit import MemoryFit, memory_fit, parts_of

ESTIMATE = MemoryEstimate(weights_mb=6000.0, kv_cache_mb=2000.0, activations_mb=500.0, overhead_mb=700.0)


def fit(free_mb: float | None, swap_mb: float = 0.0, **changes: Any) -> MemoryFit:
    free = FreeMemory(where="on GPU 0 (Fake)", free_mb=free_mb, swap_mb=swap_mb)
    return MemoryFit(replace(ESTIMATE, **changes), free)


def test_with_room_there_is_nothing_to_say() -> None:
    assert (fit(9200.0).problem, fit(9200.0).caution) == (None, None)


def test_weights_and_cache_that_exceed_what_is_free_are_refused_with_every_part_and_advice() -> None:
    problem = fit(7999.0).problem
    assert problem is not None
    for words in ("8,000 MB", "weights 6,000", "KV cache 2,000", "activations 500", "slack 700", "7,999 MB on GPU 0"):
        assert words in problem
    assert "lower batch_size" in problem
    assert fit(7999.0).caution is None


def test_activations_and_slack_that_exceed_it_only_deserve_caution() -> None:
    assert fit(8000.0).problem is None
    caution = fit(9199.0).caution
    assert caution is not None
    assert caution.startswith("memory_tight: up to 9,200 MB")


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
    found = memory_fit(ExperimentConfig(model="./none"), VisibleGpus(problem="a MIG slice"))
    assert found.free.free_mb is None
    assert "a MIG slice" in found.free.where
