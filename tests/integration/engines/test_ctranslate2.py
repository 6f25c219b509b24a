"""CTranslate2 for real: the suite for engines, and the tokens of transformers."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.engines.ctranslate2 import LEFT_OUT, CTranslate2Config
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.ctranslate2 import CTranslate2Backend
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import BackendError
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from tests.integration.engines.conftest import PROMPTS, answers_of, by_hand, generated, likeliest

pytestmark = pytest.mark.engine

pytest.importorskip("ctranslate2")


def config_of(model: Path | str, **fields: Any) -> ExperimentConfig:
    given = {"model": str(model), "backend": "ctranslate2", "precision": "fp32", **fields}
    return ExperimentConfig.model_validate(given)


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check: Callable[[EngineCase], None], ending_llama: tuple[Path, int, int]) -> None:
    folder, end, place = ending_llama
    fields = {"ctranslate2": {"batch_size": 3}}

    def answer_to(ids: Sequence[int], index: int, limit: int) -> Sequence[int]:
        return by_hand(folder, tuple(ids), limit, end)

    case = EngineCase(
        engine=CTranslate2Backend(),
        config=config_of(folder, **fields),
        prompts=PROMPTS,
        answer_to=answer_to,
        sampling=config_of(folder, **fields, decoder={"do_sample": True, "temperature": 2.0}),
        ending=place,
        clock=time.monotonic,
    )
    try:
        check(case)
    except NotApplicable:
        # Rotary positions have no end, nothing in it fails for one request of a batch alone, and it takes batches.
        if check.__name__ not in (
            "a_prompt_that_is_too_long_is_told",
            "a_request_that_fails_alone_is_a_row",
            "a_closed_load_ends",
        ):
            raise


@pytest.mark.parametrize("batch_size", [1, 8])
def test_the_packaged_model_says_what_transformers_says(batch_size: int) -> None:
    prompts, expected = answers_of("smollm2-135m", 24)
    config = config_of("smollm2-135m", ctranslate2={"batch_size": batch_size})
    outputs = generated(CTranslate2Backend(), config, prompts, 24)
    assert [output.output_ids[0] for output in outputs] == expected
    assert [output.input_tokens for output in outputs] == [len(ids) for ids in prompts]


def test_parts_of_a_batch_and_int8_weights_run(tiny_llama: Path) -> None:
    section = {"batch_size": 8, "max_batch_size": 3, "inter_threads": 2, "intra_threads": 1}
    outputs = generated(CTranslate2Backend(), config_of(tiny_llama, ctranslate2=section), PROMPTS, 6)
    assert [o.output_ids[0] for o in outputs] == [tuple(by_hand(tiny_llama, tuple(ids), 6, 1)) for ids in PROMPTS]
    engine, config = CTranslate2Backend(), config_of(tiny_llama, ctranslate2={"compute_type": "int8_float32"})
    with engine.load(ExperimentPlan.of(config)) as model:
        described = model.describe()
        assert described.quantization == "int8_float32"
        # 2 x 320 x 64 of embeddings and head, 2 layers of 64 x (64 + 32 + 32 + 64) + 3 x 64 x 128, norms 5 x 64.
        assert described.n_parameters == 2 * 320 * 64 + 2 * (64 * 192 + 3 * 64 * 128) + 5 * 64


def test_it_is_converted_once_and_can_be_named(tiny_llama: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine, config = CTranslate2Backend(), config_of(tiny_llama)
    with caplog.at_level(logging.INFO), engine.load(ExperimentPlan.of(config)) as first:
        converted = first._origin.opened
    caplog.clear()
    with caplog.at_level(logging.INFO), engine.load(ExperimentPlan.of(config)) as again:
        assert again.identity() == first.identity()
    assert "converting" not in caplog.text
    named = config_of(tiny_llama, ctranslate2={"model_path": str(converted)})
    assert engine.problems(named) == []
    with engine.load(ExperimentPlan.of(named)) as model:
        assert model.identity().weights_digest not in (None, first.identity().weights_digest)
    (problem,) = engine.problems(config_of(converted))
    assert "ctranslate2.model_path" in problem


def test_a_folder_of_another_vocabulary_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with CTranslate2Backend().load(ExperimentPlan.of(config_of(tiny_llama))) as model:
        converted = model._origin.opened
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_bytes((converted / name).read_bytes())
    (tmp_path / "vocabulary.json").write_text('["a", "b"]')
    config = config_of(tiny_llama, ctranslate2={"model_path": str(tmp_path)})
    with pytest.raises(BackendError, match=r"has 2 tokens, and model .* has 320"):
        CTranslate2Backend().load(ExperimentPlan.of(config)).__enter__()


def test_precisions_that_this_cpu_has_not_are_refused(tiny_llama: Path) -> None:
    import ctranslate2

    engine = CTranslate2Backend()
    offered = ctranslate2.get_supported_compute_types("cpu")
    (problem,) = engine.problems(config_of(tiny_llama, precision="fp16", ctranslate2={"device": "cpu"}))
    assert "float16" not in offered
    assert problem.startswith("precision: fp16 is not what CTranslate2 computes on this CPU, which has")


def test_sampling_keeps_the_likeliest_after_temperature(tiny_llama: Path) -> None:
    """With top_p as transformers has it: of the probabilities that temperature has made flatter or steeper."""
    prompt, temperature, top_p = PROMPTS[3], 3.0, 0.3
    decoder = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": top_p}
    outputs = generated(
        CTranslate2Backend(), config_of(tiny_llama, decoder=decoder, ctranslate2={"batch_size": 400}), [prompt] * 400, 1
    )
    drawn = {output.output_ids[0][0] for output in outputs}
    assert drawn <= likeliest(tiny_llama, prompt, temperature, top_p)
    assert len(drawn) > 1


def test_a_position_that_the_model_has_not_fails_as_a_request(tmp_path: Path) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=32, n_layer=1, n_head=2, n_positions=16)).save_pretrained(
        tmp_path
    )
    long, short = list(range(40)), list(range(5))
    config = config_of(tmp_path)
    done: list[RequestOutput] = []
    with CTranslate2Backend().load(ExperimentPlan.of(config)) as model:
        model.run(
            [Request(index=i, token_ids=tuple(ids), max_output_tokens=3) for i, ids in enumerate([long, short])],
            Load.in_batches(1),
            done.append,
        )
    assert [(o.finish_reason, o.output_tokens) for o in done] == [("error", 0), ("length", 3)]
    assert "position" in str(done[0].error)


def test_an_unknown_token_fails_alone(tiny_llama: Path) -> None:
    outputs = generated(
        CTranslate2Backend(), config_of(tiny_llama, ctranslate2={"batch_size": 2}), [[5, 400], [5, 6]], 2
    )
    assert [o.finish_reason for o in outputs] == ["error", "length"]
    assert outputs[0].error == "token 400 of the prompt is none of the model's 320"


def test_every_parameter_is_a_field_or_has_a_reason() -> None:
    import ctranslate2

    found = set[str]()
    for function in (ctranslate2.Generator.__init__, ctranslate2.Generator.generate_batch):
        signature = str(function.__doc__).strip().splitlines()[0]
        found |= set(re.findall(r"[(,] ?(\w+): ", signature)) - {"self"}
    known = {*CTranslate2Config.model_fields, *CTranslate2Config.library_names, *LEFT_OUT}
    assert len(found) > 30
    assert found - known == set()
    assert set(LEFT_OUT) <= found
