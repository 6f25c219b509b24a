"""Calls that run in a copy of this process: what they give comes back, and how they end is theirs alone."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.exceptions import ForeignExitError, PreFlightError
from llenergymeasure.orchestration.apart import apart
from llenergymeasure.orchestration.preflight import examine
from tests.fakes.model import write_description


def test_a_text_comes_back_from_another_process() -> None:
    assert apart(lambda: f"{os.getpid()} \u00e9\n") != f"{os.getpid()} \u00e9\n"
    assert len(apart(lambda: "x" * 3_000_000)) == 3_000_000


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: os._exit(0), "it ended its process, which ended with exit code 0"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "it ended its process, which was killed by SIGKILL"),
        (lambda: sys.exit(3), "SystemExit: 3"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
    ],
)
def test_how_it_ends_is_told_and_ends_nothing_here(call: object, said: str) -> None:
    with pytest.raises(ForeignExitError) as caught:
        apart(call)  # type: ignore[arg-type]
    assert str(caught.value) == said


@pytest.mark.pytorch
@pytest.mark.parametrize("trusted", [True, False])
def test_code_of_a_models_own_that_ends_the_process_is_a_line_of_preflight(tmp_path: Path, trusted: bool) -> None:
    folder = write_description(tmp_path / "model")
    description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    description |= {"model_type": "its_own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(description), encoding="utf-8")
    (folder / "own.py").write_text(f"import os\nos.mkdir({str(folder / 'trace')!r})\nos._exit(0)\n", encoding="utf-8")
    config = ExperimentConfig.model_validate(
        {"model": str(folder), "precision": "fp32", "pytorch": {"trust_remote_code": trusted}}
    )
    with pytest.raises(PreFlightError) as caught:
        examine([config], None)
    assert ("its own code cannot be asked: it ended its process" in str(caught.value)) == trusted
    assert (folder / "trace").exists() == trusted
