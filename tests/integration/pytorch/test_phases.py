"""Prefill and decode apart, and a part of the run, with a real model."""

from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.domain.result import ExperimentResult


def run(model: Path, **fields: Any) -> ExperimentResult:
    config = {
        "model": str(model),
        "precision": "fp32",
        "n": 8,
        "max_output_tokens": 12,
        "energy": {"backend": None},
        "warmup": {"n_warmup": 1},
        "pytorch": {"batch_size": 2},
        **fields,
    }
    return PyTorchBackend().run(ExperimentConfig.model_validate(config))


def test_prefill_gives_the_first_token_and_decode_the_others(tiny_llama: Path) -> None:
    result = run(tiny_llama, phases={"enabled": True, "n_pairs": 3})
    found = result.phases
    assert found is not None
    assert (found.n_pairs, found.n_requests, len(found.pairs)) == (3, 8, 3)
    differences = [pair.full.duration_sec - pair.prefill.duration_sec for pair in found.pairs]
    assert found.decode.duration_sec.value == pytest.approx(sum(differences) / 3)
    assert found.prefill.n_tokens == result.input_tokens
    assert found.decode.n_tokens == result.output_tokens - 8
    assert found.prefill.duration_sec.value > 0
    assert (found.prefill.energy_j, found.decode.energy_j) == (None, None)
    plain = run(tiny_llama)
    assert (plain.phases, plain.outputs_digest) == (None, result.outputs_digest)


def test_phases_of_beams_and_of_several_answers_run_the_same_tokens(tiny_llama: Path) -> None:
    beams = run(tiny_llama, decoder={"num_beams": 2}, phases=True)
    answers = run(tiny_llama, decoder={"do_sample": True, "num_return_sequences": 2}, phases=True)
    assert beams.phases is not None
    assert beams.phases.decode.n_tokens == beams.output_tokens - 8
    assert answers.phases is not None
    assert answers.phases.decode.n_tokens == answers.output_tokens - 2 * 8


def test_a_part_of_the_run_counts_its_own_requests(tiny_llama: Path) -> None:
    whole = run(tiny_llama)
    part = run(tiny_llama, measurement={"methodology": "windowed", "window_start_s": 1e-3})
    assert (whole.n_requests, whole.n_requests_excluded, whole.steady_state_window) == (8, 0, None)
    assert (part.n_requests, part.n_requests_excluded) == (6, 2)
    assert part.output_tokens < whole.output_tokens
    assert part.steady_state_window is not None
    start_s, end_s = part.steady_state_window
    assert end_s - start_s == pytest.approx(part.duration_sec)
