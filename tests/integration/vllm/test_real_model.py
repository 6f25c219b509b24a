"""vLLM's engine in a process of its own: the tokens of transformers, a clean end, and an engine that is killed."""

import threading
from pathlib import Path

import psutil
import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.vllm import VLLMBackend
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.domain.load import Load
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.exceptions import ExperimentError
from tests.integration.engines.conftest import answers_of

# Warnings of vLLM and of what it loads are not ours.
pytestmark = [pytest.mark.engine, pytest.mark.filterwarnings("default")]

pytest.importorskip("vllm")


def left_behind() -> tuple[set[int], set[str], set[str]]:
    """Processes below this one, zombies too, shared memory, and sockets of vLLM."""
    sockets = {path.name for path in Path("/tmp").glob("llem-vllm-*")}
    shared = {path.name for path in Path("/dev/shm").iterdir()}
    return {process.pid for process in psutil.Process().children(recursive=True)}, shared, sockets


def test_it_says_what_transformers_says_and_leaves_nothing() -> None:
    prompts, expected = answers_of("smollm2-135m", 24)
    section = {"enforce_eager": True, "max_model_len": 1024}
    config = ExperimentConfig.model_validate(
        {"model": "smollm2-135m", "backend": "vllm", "precision": "fp32", "vllm": section}
    )
    engine, done, before = VLLMBackend(), list[RequestOutput](), left_behind()
    assert engine.problems(config) == []
    requests = [Request(index=i, token_ids=tuple(ids), max_output_tokens=24) for i, ids in enumerate(prompts)]
    with engine.load(ExperimentPlan.of(config)) as model:
        described = model.describe()
        model.run(requests, Load.all_at_once(), done.append)
        answers = {output.index: output.output_ids for output in done}
        assert [answers[i] for i in range(len(prompts))] == [(ids,) for ids in expected]
        assert described.n_parameters == 134_515_008
        assert described.parameters is not None
        assert described.parameters["engine_in_own_process"] is True
        assert described.parameters["enable_prefix_caching"] is False
        # Its worker is killed while it generates.
        (*_, worker) = (p for p in psutil.Process().children(recursive=True) if p.pid not in before[0])
        threading.Timer(1.0, worker.kill).start()
        long = [Request(index=i, token_ids=tuple(ids), max_output_tokens=900) for i, ids in enumerate(prompts)]
        with pytest.raises(
            ExperimentError, match=r"vLLM's engine ended in the middle of a run; the last that it wrote"
        ):
            model.run(long, Load.all_at_once(), done.append)
    assert left_behind() == before
