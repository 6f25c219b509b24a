"""A model's own code that the user trusts is asked in a process of its own, and how that ends is its own affair."""

import json
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig
from llenergymeasure.exceptions import ForeignExitError, PreFlightError
from llenergymeasure.orchestration.preflight.check import examine
from llenergymeasure.orchestration.processes.asking import Asking
from tests.fakes.model import write_description

pytestmark = pytest.mark.pytorch


def trusting(folder: Path, code: str, *, trusted: bool = True) -> ExperimentConfig:
    """An experiment with a model that has code of its own."""
    write_description(folder)
    description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    description |= {"model_type": "its_own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(description), encoding="utf-8")
    (folder / "own.py").write_text(code, encoding="utf-8")
    return ExperimentConfig.model_validate(
        {"model": str(folder), "precision": "fp32", "pytorch": {"trust_remote_code": trusted}}
    )


@pytest.mark.parametrize("trusted", [True, False])
def test_code_that_ends_the_process_is_a_line_of_preflight(tmp_path: Path, trusted: bool) -> None:
    trace = tmp_path / "trace"
    config = trusting(tmp_path / "model", f"import os\nos.mkdir({str(trace)!r})\nos._exit(0)\n", trusted=trusted)
    with pytest.raises(PreFlightError) as caught:
        examine([config], None)
    assert ("its own code cannot be asked: it ended its process, which ended with" in str(caught.value)) == trusted
    assert trace.exists() == trusted


def test_code_that_does_not_end_is_waited_for_no_longer_than_stated(tmp_path: Path) -> None:
    config = trusting(tmp_path / "model", "import time\ntime.sleep(100000)\n")
    about: dict[str, Any] = {"config": config.model_dump_json(exclude_unset=True), "visible": "{}"}
    with Asking(limit_s=0.5) as asking, pytest.raises(ForeignExitError, match=r"it gave no answer within 0\.5 s"):
        asking.ask("examine", config.execution, alone=True, **about)


def test_what_code_prints_is_no_answer_and_what_is_found_comes_back(tmp_path: Path) -> None:
    # Only the tokenizer and the description of a plain model are asked; the code is never imported.
    model = write_description(tmp_path / "model")
    config = ExperimentConfig.model_validate(
        {"model": str(model), "precision": "fp32", "n": 3, "pytorch": {"trust_remote_code": True}}
    )
    (found,) = examine([config], None)
    here_only = config.model_copy(update={"pytorch": None, "execution": ExecutionConfig(launcher="in_process")})
    (here,) = examine([here_only], None)
    assert (found.layout, found.devices, found.cautions) == (here.layout, here.devices, here.cautions)
    assert found.prompts == here.prompts
    assert found.memory is not None
    assert found.memory.estimate == (here.memory and here.memory.estimate)
