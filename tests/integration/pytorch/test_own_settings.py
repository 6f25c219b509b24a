"""What a model's own generation_config.json may and may not do to a measurement."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.domain.inference import InferenceOutput, tokens_digest
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from tests.fakes.pytorch import generated, prepared
from tests.integration.conftest import greedy_by_hand, save_tiny_llama
from tests.integration.pytorch.test_engine import TEXTS, prompts, token_ids
from tests.integration.pytorch.test_options import LINEAR_WEIGHTS, N_TOKENS, config_of

# Two norms of 64 per layer, two layers, and a last one.
NON_EMBEDDING = LINEAR_WEIGHTS + 2 * 2 * 64 + 64


def model_with(directory: Path, **own: Any) -> Path:
    model = save_tiny_llama(directory)
    (model / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1, **own}))
    return model


def outcome(model: Path, **fields: Any) -> tuple[list[str], list[str], dict[str, Any]]:
    """Digests of a batch of three, warnings, and the parameters described."""
    with PyTorchBackend().load(ExperimentPlan.of(config_of(model, **fields))) as loaded:
        output = InferenceOutput(
            requests=tuple(
                r for batch in prepared(loaded, prompts(TEXTS[:3])) for r in generated(loaded, batch).requests
            )
        )
        parameters = dict(loaded.describe().parameters or {})
        return [r.output_digest for r in output.requests], list(map(str, loaded.warnings())), parameters


@pytest.fixture(scope="module")
def expected(tiny_llama: Path) -> list[str]:
    texts = [token_ids(tiny_llama, text) for text in TEXTS[:3]]
    return [tokens_digest(greedy_by_hand(tiny_llama, ids, N_TOKENS, {1})) for ids in texts]


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"max_time": 1e-9}, "max_time: 1e-09"),
        ({"stop_strings": ["a", "e"]}, "stop_strings: ['a', 'e']"),
        ({"return_dict_in_generate": True, "output_scores": True}, "return_dict_in_generate: True"),
        ({"prompt_lookup_num_tokens": 3}, "prompt_lookup_num_tokens: 3"),
        ({"assistant_early_exit": 1}, "assistant_early_exit: 1"),
        ({"use_mtp": True}, "use_mtp: True"),
        ({"penalty_alpha": 0.6}, "penalty_alpha: 0.6"),
        ({"token_healing": True}, "token_healing: True"),
        ({"min_new_tokens": 500}, "min_new_tokens: 500"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_passthrough_refuses_is_refused_to_the_model_too(
    tmp_path: Path, expected: list[str], own: dict[str, Any], said: str
) -> None:
    found, warnings, parameters = outcome(model_with(tmp_path, **own), pytorch={"batch_size": 3})
    assert found == expected
    (warning,) = warnings
    assert warning.startswith("generation_config_overridden: ")
    assert said in warning
    assert not set(own) - {"do_sample"} & set(parameters)


def test_own_settings_at_their_defaults_or_without_effect_are_no_warning(tmp_path: Path, expected: list[str]) -> None:
    lengths = {"max_length": 4096, "min_length": 0}
    own = {**lengths, "do_sample": True, "num_return_sequences": 2, "temperature": 0.6, "top_p": 0.9, "top_k": 7}
    found, warnings, parameters = outcome(model_with(tmp_path, **own), pytorch={"batch_size": 3})
    assert (found, warnings) == (expected, [])
    assert (parameters["temperature"], parameters["top_p"], parameters["top_k"]) == (None, None, None)


def test_greedy_decoding_of_a_sampling_model_makes_transformers_say_nothing(tmp_path: Path) -> None:
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(level=logging.WARNING)
    logger = logging.getLogger("transformers")
    logger.addHandler(listener)
    try:
        model = model_with(tmp_path, do_sample=True, temperature=0.31, top_p=0.91, min_p=0.01, typical_p=0.7)
        outcome(model, pytorch={"batch_size": 3})
    finally:
        logger.removeHandler(listener)
    assert said == []


@pytest.mark.parametrize(
    ("own", "decoder", "described"),
    [
        ({}, {"do_sample": True}, (1.0, 50, 1.0)),
        ({}, {"do_sample": True, "top_k": 0, "temperature": 0.5}, (0.5, 0, 1.0)),
        ({"top_k": 7, "top_p": 0.9, "do_sample": True}, {"do_sample": True}, (1.0, 7, 0.9)),
        ({}, {}, (None, None, None)),
    ],
    ids=["defaults", "given", "own", "greedy"],
)
def test_the_description_has_the_settings_that_were_in_effect(
    tmp_path: Path, own: dict[str, Any], decoder: dict[str, Any], described: tuple[float | None, ...]
) -> None:
    _, _, parameters = outcome(model_with(tmp_path, **own), decoder=decoder, pytorch={"batch_size": 3})
    assert tuple(parameters[name] for name in ("temperature", "top_k", "top_p")) == described
    assert parameters["max_new_tokens"] == N_TOKENS
    assert "max_length" not in parameters


def test_an_own_cache_is_kept_but_not_with_a_draft(tmp_path: Path, expected: list[str]) -> None:
    model = model_with(tmp_path, cache_implementation="static")
    found, _, parameters = outcome(model, pytorch={"batch_size": 3, "compile": False})
    assert found == expected
    assert parameters["cache_implementation"] == "static"
    drafting = {"prompt_lookup_num_tokens": 3}
    plan = ExperimentPlan.of(config_of(model, pytorch=drafting))
    with pytest.raises(BackendError, match=r"static in generation_config\.json"), PyTorchBackend().load(plan):
        pass
    assert outcome(model, pytorch={**drafting, "cache_implementation": "dynamic"})[0] == expected


def test_a_draft_models_own_settings_do_not_reach_the_draft(
    tiny_llama: Path, tmp_path: Path, expected: list[str]
) -> None:
    draft = model_with(tmp_path, cache_implementation="static", prompt_lookup_num_tokens=2)
    found, (warning,), _ = outcome(tiny_llama, pytorch={"assistant_model": str(draft)})
    assert found == expected
    assert "prompt_lookup_num_tokens: 2 (of the draft model)" in warning


def test_a_draft_starts_anew_with_each_seed(tiny_llama: Path) -> None:
    section = {
        "assistant_model": str(tiny_llama),
        "num_assistant_tokens": 3,
        "num_assistant_tokens_schedule": "heuristic",
        "assistant_confidence_threshold": 0.0,
    }
    with PyTorchBackend().load(ExperimentPlan.of(config_of(tiny_llama, pytorch=section))) as loaded:
        (batch,) = prepared(loaded, prompts(TEXTS[:1]))
        for _ in range(3):
            loaded.seed(0)
            times = generated(loaded, batch).requests[0].token_times_s
            # A draft that is the model itself is always right, and is two tokens longer next time: 3 and one more,
            # 5 and one more, and the 2 that are left of 12.
            assert [times.count(t) for t in sorted(set(times))] == [4, 6, 2]


def test_without_a_cache_every_token_reads_all_before_it(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, pytorch={"use_cache": False, "batch_size": 3}, max_output_tokens=4)
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (batch,) = prepared(loaded, prompts(TEXTS[:3]))
        output = generated(loaded, batch)
        flops = loaded.flops(output)
    lengths = [len(token_ids(tiny_llama, text)) for text in TEXTS[:3]]
    assert [r.output_tokens for r in output.requests] == [4, 4, 4]
    assert flops is not None
    assert flops.prefill is not None
    assert flops.decode is not None
    linear = NON_EMBEDDING - (2 * 2 * 64 + 64)  # without the norms
    assert flops.prefill.linear == 2 * linear * sum(lengths)
    assert flops.decode.linear == 2 * linear * sum(3 * p + 1 + 2 + 3 for p in lengths)
    assert flops.value == 2 * NON_EMBEDDING * sum(p + 4 for p in lengths)
    assert flops.confidence == "high"


def test_a_second_run_for_guidance_is_said_not_to_be_counted(tiny_llama: Path) -> None:
    config = config_of(tiny_llama, pytorch={"guidance_scale": 1.5}, max_output_tokens=4)
    with PyTorchBackend().load(ExperimentPlan.of(config)) as loaded:
        (batch,) = prepared(loaded, prompts(TEXTS[:1]))
        output = generated(loaded, batch)
        flops = loaded.flops(output)
    assert flops is not None
    assert flops.value == 2 * NON_EMBEDDING * (len(token_ids(tiny_llama, TEXTS[0])) + output.output_tokens)
    assert flops.method.endswith("guidance's second run not counted")
    assert flops.confidence == "low"
