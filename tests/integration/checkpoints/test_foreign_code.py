"""Code that lies in a model's folder, or in the working directory, is not run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.backends.pytorch.loading import checkpoint_of, draft_arguments, loading_arguments
from llenergymeasure.core.checkpoint.source import ModelSource
from tests.integration.conftest import save_tiny_llama

MARKING = "from pathlib import Path\nPath({marker!r}).write_text('run')\n"
QUICK = {"n": 2, "max_output_tokens": 2, "precision": "fp32", "energy": {"backend": None}, "warmup": {"enabled": False}}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there once the code has been run."""
    return tmp_path / "marker"


@pytest.fixture
def model(tmp_path: Path, marker: Path) -> Path:
    """A model whose description names code of its own, of a kind whose configuration alone transformers knows."""
    folder = save_tiny_llama(tmp_path / "model")
    description = json.loads((folder / "config.json").read_text())
    description["auto_map"] = {"AutoModelForCausalLM": "own.OwnModel"}
    description["model_type"] = "t5"
    (folder / "config.json").write_text(json.dumps(description))
    (folder / "own.py").write_text(
        MARKING.format(marker=str(marker))
        + "from transformers import LlamaForCausalLM\nclass OwnModel(LlamaForCausalLM):\n    pass\n"
    )
    return folder


@pytest.fixture
def unknown(model: Path) -> Path:
    """The same of a kind that transformers does not know at all."""
    description = json.loads((model / "config.json").read_text())
    description["model_type"] = "own"
    description["auto_map"]["AutoConfig"] = "own.OwnConfig"
    (model / "config.json").write_text(json.dumps(description))
    with (model / "own.py").open("a") as file:
        file.write("from transformers import LlamaConfig\nclass OwnConfig(LlamaConfig):\n    model_type = 'own'\n")
        file.write("OwnModel.config_class = OwnConfig\n")
    return model


def dry_run(folder: Path, model: Path, **section: Any) -> subprocess.CompletedProcess[str]:
    """``llem run --dry-run`` with somebody at the keyboard who says yes to everything."""
    config = folder / "experiment.yaml"
    config.write_text(json.dumps({**QUICK, "model": str(model), "pytorch": section}))
    return subprocess.run(
        [sys.executable, "-m", "llenergymeasure", "run", str(config), "--dry-run"],
        capture_output=True, text=True, check=False, input="y\n" * 20, cwd=folder,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["model", "unknown"])
def test_a_models_own_code_is_not_run_unless_somebody_trusts_it(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, marker: Path
) -> None:
    ran = dry_run(tmp_path, request.getfixturevalue(kind))
    assert not marker.exists()
    assert "[y/N]" not in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr


def test_trusted_code_is_run_without_a_question(unknown: Path, tmp_path: Path, marker: Path) -> None:
    ran = dry_run(tmp_path, unknown, trust_remote_code=True)
    assert marker.exists()
    assert "[y/N]" not in ran.stdout + ran.stderr
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("trusted", [True, False])
def test_the_makers_of_arguments_always_say_it(trusted: bool, tiny_llama: Path) -> None:
    config = ExperimentConfig.model_validate(
        {"model": str(tiny_llama), "pytorch": {"trust_remote_code": trusted, "assistant_model": str(tiny_llama)}}
    )
    source = ModelSource(location=str(tiny_llama))
    assert checkpoint_of(config, source).arguments()["trust_remote_code"] is trusted
    for make in (draft_arguments, loading_arguments):
        assert make(config, source)["trust_remote_code"] is trusted


@pytest.mark.parametrize("section", [{}, {"data_parallel_size": 2}], ids=["one process", "two processes"])
def test_what_lies_in_the_working_directory_is_not_imported(
    tiny_llama: Path, tmp_path: Path, marker: Path, section: dict[str, Any]
) -> None:
    # torch imports random and psutil is ours: without care the worker would take these.
    for name in ("random.py", "psutil.py", "filelock.py"):
        (tmp_path / name).write_text(MARKING.format(marker=str(marker)))
    study = {"name": "s", "experiments": [{**QUICK, "model": str(tiny_llama), "pytorch": section}]}
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    code = "import sys; from llenergymeasure.cli import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, "run", "study.yaml", "-o", "out"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert not marker.exists()
