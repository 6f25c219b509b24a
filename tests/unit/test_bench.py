"""What the benches stand on."""

from dataclasses import dataclass

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import get_backend
from llenergymeasure.core.backends.base import EngineBase
from llenergymeasure.core.foreign import with_defaults
from llenergymeasure.domain.inference import Request

pytestmark = pytest.mark.pytorch


@dataclass
class Anything:
    """Stands for a model in memory."""


def test_an_engine_whose_model_is_in_memory_runs_the_batches_of_its_configuration() -> None:
    from bench.overhead_throughput import LoadedEngine

    config = ExperimentConfig.model_validate({"model": "any", "pytorch": {"batch_size": 4}})
    engine = with_defaults(LoadedEngine(get_backend("pytorch"), Anything()), EngineBase)
    requests = [Request(index=i, token_ids=(1, 2), max_output_tokens=3) for i in range(10)]
    # One that all were given at once would be a batch of ten.
    assert [len(unit) for unit in engine.load_of(config).units_of(requests)] == [4, 4, 2]
    assert engine.packages == get_backend("pytorch").packages


def test_a_request_is_late_by_what_it_came_behind_the_earliest() -> None:
    from bench.load_generator import lateness_s

    # Two tenths apart: the second came a hundredth before its time, and the third three hundredths behind it.
    assert lateness_s([5.0, 5.19, 5.43], 0.2) == pytest.approx([0.01, 0.0, 0.04])
