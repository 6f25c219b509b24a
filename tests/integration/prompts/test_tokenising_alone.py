"""Prompts are tokenised where neither torch nor any other engine is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint, describe_source
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.core.prompts.tokenise import tokenised

TOKENISE = """
import json, sys
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        hidden = {"torch", "accelerate", "gguf", "peft", "bitsandbytes", "torchao", "optimum"}
        return None if name.partition(".")[0] in hidden else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.checkpoint.source import Checkpoint, describe_source
from llenergymeasure.core.prompts.selection import select_prompts
from llenergymeasure.core.prompts.tokenise import tokenised
config = ExperimentConfig.model_validate_json(sys.argv[1])
prepared = tokenised(config, select_prompts(config).prompts, Checkpoint(source=describe_source(config.model)))
assert "torch" not in sys.modules
print(json.dumps([request.token_ids for request in prepared.requests]))
"""


def without_torch(config: ExperimentConfig, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TOKENISE, config.model_dump_json(exclude_unset=True)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


@pytest.mark.parametrize("dataset", ["mixed", {"random": {"input_tokens": 5}}])
def test_the_ids_are_those_that_one_with_torch_makes(tiny_llama: Path, dataset: object) -> None:
    config = ExperimentConfig.model_validate({"model": str(tiny_llama), "n": 3, "dataset": dataset})
    ran = without_torch(config)
    assert ran.returncode == 0, ran.stderr
    checkpoint = Checkpoint(source=describe_source(config.model))
    expected = [r.token_ids for r in tokenised(config, select_prompts(config).prompts, checkpoint).requests]
    assert [tuple(ids) for ids in json.loads(ran.stdout)] == expected


def test_a_gguf_file_needs_torch_and_that_is_said_in_one_line(tmp_path: Path) -> None:
    # Where it was never converted.
    ran = without_torch(ExperimentConfig(model="smollm2-135m", n=1), XDG_CACHE_HOME=str(tmp_path))
    assert ran.returncode == 1
    assert "PreFlightError: tokenising prompts of " in ran.stderr
    assert "needs torch, gguf; install with pip install 'llenergymeasure[pytorch]'" in ran.stderr
