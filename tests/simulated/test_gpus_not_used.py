"""A machine with a GPU and an engine that cannot use it: a common accident, and not to be passed over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import nvmlsim
from llenergymeasure.domain.result import ExperimentResult
from nvmlsim import Gpu, Scenario, Trace
from tests.fakes.effort import PATIENCE_S
from tests.integration.conftest import save_tiny_llama

pytestmark = pytest.mark.skipif(torch.version.cuda is not None, reason="this torch can use GPUs")


@pytest.fixture
def environment(library: Path, tmp_path: Path) -> dict[str, str]:
    """One simulated GPU."""
    path = tmp_path / "scenario.txt"
    Scenario(gpus=(Gpu(power_w=Trace.constant(60.0), name="NVIDIA H100 80GB HBM3"),)).write(path)
    return {**os.environ, **nvmlsim.environment(library, path)}


def llem(environment: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "llenergymeasure", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_the_overview_says_that_the_engine_leaves_the_gpu_alone(environment: dict[str, str]) -> None:
    shown = llem(environment, "config").stdout
    (engine,) = [line for line in shown.splitlines() if line.startswith("engine pytorch")]
    assert "on the CPU only" in engine
    (auto,) = [line for line in shown.splitlines() if line.startswith("energy auto")]
    assert "nvml" not in auto
    assert "zeus" not in auto


def test_the_result_says_so_and_a_named_gpu_sensor_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    save_tiny_llama(tmp_path / "model")
    run = (
        "run",
        "--model",
        str(tmp_path / "model"),
        "-n",
        "2",
        "--set",
        "max_output_tokens=4",
        "-o",
        str(tmp_path / "out"),
    )
    done = llem(environment, *run)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "out").iterdir()
    result = ExperimentResult.from_json(folder)
    (warning,) = [w for w in result.measurement_warnings if w.startswith("gpus_not_used")]
    assert "NVIDIA H100 80GB HBM3 could be used" in warning
    refused = llem(environment, *run, "--set", "energy.backend=nvml")
    assert refused.returncode == 2
    assert "the experiment runs on the CPU" in refused.stderr
    assert "install the NVIDIA driver" not in refused.stderr
