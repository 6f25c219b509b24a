"""Memory estimates against arithmetic by hand."""

from pathlib import Path

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends import PyTorchBackend


def test_weights_and_cache_of_a_tiny_llama(tiny_llama: Path) -> None:
    config = ExperimentConfig.model_validate(
        {
            "model": str(tiny_llama),
            "precision": "bf16",
            "max_input_tokens": 100,
            "max_output_tokens": 28,
            "pytorch": {"batch_size": 5},
        }
    )
    estimate = PyTorchBackend().estimate_memory(config)
    assert estimate is not None
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert estimate.weights_mb == 2 * (2 * 320 * 64 + 2 * layer + 64) / 1e6
    # Key and value, 2 layers, 2 heads of 16, 128 tokens, 5 sequences, 2 bytes each.
    assert estimate.kv_cache_mb == 2 * 2 * 2 * 16 * 128 * 5 * 2 / 1e6


def test_a_description_that_cannot_be_read_has_no_estimate(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert PyTorchBackend().estimate_memory(ExperimentConfig(model=str(tmp_path))) is None
