"""ONNX Runtime GenAI for real: the suite for engines, and the tokens of transformers."""

import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.engines.onnxruntime import LEFT_OUT, OnnxRuntimeConfig
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.onnxruntime import OnnxRuntimeBackend
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from tests.integration.engines.conftest import PROMPTS, answers_of, by_hand, generated, likeliest

pytestmark = pytest.mark.engine

pytest.importorskip("onnxruntime_genai")


def config_of(model: Path | str, **fields: Any) -> ExperimentConfig:
    return ExperimentConfig.model_validate({"model": str(model), "backend": "onnxruntime", **fields})


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check: Callable[[EngineCase], None], ending_llama: tuple[Path, int, int]) -> None:
    folder, end, place = ending_llama
    fields = {"onnxruntime": {"batch_size": 3}}

    def answer_to(ids: Sequence[int], index: int, limit: int) -> Sequence[int]:
        return by_hand(folder, tuple(ids), limit, end)

    case = EngineCase(
        engine=OnnxRuntimeBackend(),
        config=config_of(folder, **fields),
        prompts=PROMPTS,
        answer_to=answer_to,
        sampling=config_of(folder, **fields, decoder={"do_sample": True, "temperature": 2.0}),
        ending=place,
        too_long=[5 + i % 300 for i in range(300)],
        clock=time.monotonic,
    )
    try:
        check(case)
    except NotApplicable:
        # Nothing in it fails for one request of a batch alone, and it takes batches.
        if check.__name__ not in ("a_request_that_fails_alone_is_a_row", "a_closed_load_ends"):
            raise


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_packaged_model_says_what_transformers_says(batch_size: int) -> None:
    prompts, expected = answers_of("smollm2-135m", 24)
    config = config_of("smollm2-135m", onnxruntime={"batch_size": batch_size})
    outputs = generated(OnnxRuntimeBackend(), config, prompts, 24)
    assert [output.output_ids[0] for output in outputs] == expected
    assert [output.input_tokens for output in outputs] == [len(ids) for ids in prompts]


def test_answers_go_on_past_the_end_and_have_a_least_length(ending_llama: tuple[Path, int, int]) -> None:
    folder, end, place = ending_llama
    prompt = PROMPTS[place]
    config = config_of(folder, decoder={"ignore_eos": True}, onnxruntime={"batch_size": 8})
    outputs = generated(OnnxRuntimeBackend(), config, PROMPTS, 9)
    assert outputs[place].output_ids[0] == tuple(by_hand(folder, tuple(prompt), 9, -1))
    config = config_of(folder, decoder={"min_output_tokens": 8}, onnxruntime={"batch_size": 8})
    outputs = generated(OnnxRuntimeBackend(), config, PROMPTS, 9)
    assert all(end not in output.output_ids[0][:8] for output in outputs)
    assert all(output.output_tokens >= 8 for output in outputs)


def test_it_is_built_once_and_can_be_named(tiny_llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine, config = OnnxRuntimeBackend(), config_of(tiny_llama)
    with caplog.at_level(logging.INFO), engine.load(ExperimentPlan.of(config)) as first:
        built = first._origin.opened
    caplog.clear()
    with caplog.at_level(logging.INFO), engine.load(ExperimentPlan.of(config)) as again:
        assert again.identity() == first.identity()
    assert "converting" not in caplog.text
    named = config_of(tiny_llama, onnxruntime={"model_path": str(built)})
    assert engine.problems(named) == []
    with engine.load(ExperimentPlan.of(named)) as model:
        assert model.identity().weights_digest not in (None, first.identity().weights_digest)
    (problem,) = engine.problems(config_of(built))
    assert "onnxruntime.model_path" in problem


def test_a_folder_for_a_gpu_runs_on_the_cpu_and_scores_all_tokens_of_its_prompts(
    tiny_llama: Path, tmp_path: Path
) -> None:
    with OnnxRuntimeBackend().load(ExperimentPlan.of(config_of(tiny_llama))) as model:
        shutil.copytree(model._origin.opened, tmp_path / "built")
    path = tmp_path / "built" / "genai_config.json"
    described = json.loads(path.read_text())
    described["model"]["decoder"]["session_options"]["provider_options"] = [{"cuda": {}}]
    path.write_text(json.dumps(described))
    n_context = described["model"]["context_length"]
    config = config_of(tiny_llama, onnxruntime={"model_path": str(tmp_path / "built")})
    with OnnxRuntimeBackend().load(ExperimentPlan.of(config)) as model:
        assert (model.describe().parameters or {})["device"] == "CPU"
        assert model.scores_prompts()
        assert len(model.token_log_probs([5 + i % 300 for i in range(n_context)]) or []) == n_context - 1


def test_int4_weights_run_and_say_so(tiny_llama: Path) -> None:
    engine, config = OnnxRuntimeBackend(), config_of(tiny_llama, onnxruntime={"quantization": "int4"})
    with engine.load(ExperimentPlan.of(config)) as model:
        described = model.describe()
    assert described.quantization == "int4"
    # 2 x 320 x 64 of embeddings and head, 2 layers of 64 x (64 + 32 + 32 + 64) + 3 x 64 x 128, norms 5 x 64.
    assert described.n_parameters == 2 * 320 * 64 + 2 * (64 * 192 + 3 * 64 * 128) + 5 * 64


def test_a_prompt_may_end_with_the_end_token(tiny_llama: Path) -> None:
    """The library takes the end of a prompt for filling where it is the token that it fills up with."""
    prompts = [[5, 6, 1], [5, 6, 7, 8]]  # 1 is the end token
    section = {"onnxruntime": {"batch_size": 2}}
    outputs = generated(OnnxRuntimeBackend(), config_of(tiny_llama, **section), prompts, 3)
    alone = generated(OnnxRuntimeBackend(), config_of(tiny_llama), prompts, 3)
    expected = [tuple(by_hand(tiny_llama, tuple(ids), 3, 1)) for ids in prompts]
    assert [o.output_ids[0] for o in outputs] == [o.output_ids[0] for o in alone] == expected


def test_sampling_keeps_the_likeliest_after_temperature(tiny_llama: Path) -> None:
    decoder = {"do_sample": True, "temperature": 3.0, "top_k": 0, "top_p": 0.3}
    config = config_of(tiny_llama, decoder=decoder, onnxruntime={"batch_size": 32})
    outputs = generated(OnnxRuntimeBackend(), config, [PROMPTS[3]] * 400, 1)
    drawn = {output.output_ids[0][0] for output in outputs}
    assert drawn <= likeliest(tiny_llama, PROMPTS[3], 3.0, 0.3)
    assert len(drawn) > 1


def test_every_option_of_a_search_is_a_field_or_has_a_reason(tiny_llama: Path) -> None:
    import onnxruntime_genai

    with OnnxRuntimeBackend().load(ExperimentPlan.of(config_of(tiny_llama))) as model:
        library_model = model._model  # type: ignore[attr-defined]
        found = set(onnxruntime_genai.GeneratorParams(library_model).get_search_options())
        del library_model
    shared = {"batch_size", "do_sample", "temperature", "top_k", "top_p", "random_seed"}
    assert found - {*shared, *OnnxRuntimeConfig.library_names, *LEFT_OUT} == set()
    assert set(LEFT_OUT) <= found
