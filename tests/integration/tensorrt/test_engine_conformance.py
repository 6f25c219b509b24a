"""TensorRT-LLM's engine passes the suite for engines, over a library made from the recorded shape of its API.

*Not yet run on hardware*: what the library itself does was never seen by it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.tensorrt import TensorRTBackend
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.testing.engine_conformance import ENGINE_CHECKS, EngineCase, NotApplicable
from tests.fakes.tensorrt_llm_library import FakeTensorRT
from tests.integration.conftest import save_tiny_llama

pytestmark = pytest.mark.pytorch  # transformers reads the checkpoint's description

_ROOM, _END = 64, 37
# Each its own last token, from which its answer counts on; the fourth comes to the end token.
PROMPTS = [[5, *range(40 + 20 * i, 42 + 21 * i)] for i in range(8)]
PROMPTS[3] = [5, 33, 34]
_LACKS = {
    # Its sampler has a seed of its own, and it is not asked how probable tokens are.
    "the_same_seed_gives_the_same_answers",
    "log_probs_are_the_models_own",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("counting"), eos_token_id=_END)


def config_of(folder: Path, **fields: object) -> ExperimentConfig:
    given = {"model": str(folder), "backend": "tensorrt", "max_input_tokens": 32, "max_output_tokens": 32}
    return ExperimentConfig.model_validate({**given, **fields})


def answer_to(ids: Sequence[int], index: int, limit: int) -> Sequence[int]:
    counted = [ids[-1] + 1 + i for i in range(limit)]
    return counted[: counted.index(_END) + 1] if _END in counted else counted


@pytest.mark.parametrize("check", ENGINE_CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check: Callable[[EngineCase], None], folder: Path) -> None:
    fails_alone = check.__name__ == "a_request_that_fails_alone_is_a_row"
    case = EngineCase(
        engine=TensorRTBackend(lambda: FakeTensorRT(_ROOM)),
        config=config_of(folder, tensorrt={"max_batch_size": 4, "max_seq_len": _ROOM}),
        # A token that the model has not.
        prompts=[*PROMPTS, (5, 400)] if fails_alone else PROMPTS,
        answer_to=answer_to,
        ending=3,
        too_long=[5] * (_ROOM + 1),
        failing=len(PROMPTS) if fails_alone else None,
        clock=time.monotonic,
    )
    try:
        check(case)
    except NotApplicable:
        assert check.__name__ in _LACKS


def test_what_it_loaded_is_described_and_prompts_of_before_are_not_found_again(folder: Path) -> None:
    library = FakeTensorRT(_ROOM)
    config = config_of(folder, tensorrt={"enable_block_reuse": True, "load_format": "dummy", "max_batch_size": 4})
    with TensorRTBackend(lambda: library).load(ExperimentPlan.of(config)) as model:
        described = model.describe()
        assert (described.engine, described.weights, model.capacity()) == (
            "tensorrt",
            "random, drawn by TensorRT-LLM",
            4,
        )
        parameters = described.parameters or {}
        assert (parameters["enable_block_reuse"], parameters["load_format"]) == (True, "DUMMY")
        assert described.quantization is None
        salts = [model._core.salt]  # type: ignore[attr-defined]
        model.seed(1)
        salts.append(model._core.salt)  # type: ignore[attr-defined]
        assert len(set(salts)) == 2
        assert [warning.flag for warning in model.warnings()] == ["random_weights"]
    assert library.llms[0].log == ["shutdown"]


def test_a_checkpoint_of_nvidias_quantiser_says_so(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "FP8"}}')
    with TensorRTBackend(lambda: FakeTensorRT(_ROOM)).load(ExperimentPlan.of(config_of(tmp_path))) as model:
        assert model.describe().quantization == "FP8"
        assert model.number_format() is None
