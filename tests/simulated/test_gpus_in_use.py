"""Whether GPUs say that they are in use, for whoever waits for what runs on them."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import nvmlsim
from llenergymeasure.orchestration.processes.watching import gpus_work

ASKED = (
    "import sys; from llenergymeasure.orchestration.processes.watching import gpus_work; print(gpus_work(sys.argv[1:]))"
)


@pytest.mark.parametrize(("percent", "in_use"), [(0, "False"), (35, "True")])
def test_a_gpu_tells_whether_it_works(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, percent: float, in_use: str
) -> None:
    first, other = (
        nvmlsim.Gpu(power_w=nvmlsim.Trace.constant(100), gpu_utilisation_pct=nvmlsim.Trace.constant(pct))
        for pct in (percent, 90)
    )
    scenario = nvmlsim.Scenario(gpus=(first, other))
    scenario.write(tmp_path / "scenario.txt")
    for name, value in nvmlsim.environment(library, tmp_path / "scenario.txt").items():
        monkeypatch.setenv(name, value)
    # Another GPU's work is not looked at.
    ran = subprocess.run([sys.executable, "-c", ASKED, scenario.uuid(0)], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == in_use


LOOKED = """
import sys
from llenergymeasure.orchestration.foreign_load import others_on
print(others_on(sys.argv[1:]).others)
"""


def test_others_on_a_gpu_are_seen(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    idle = nvmlsim.Gpu(power_w=nvmlsim.Trace.constant(60))
    at_work = replace(idle, gpu_utilisation_pct=nvmlsim.Trace.constant(35))
    theirs = replace(idle, processes=(nvmlsim.Process(pid=4711),))
    scenario = nvmlsim.Scenario(gpus=(idle, at_work, theirs))
    scenario.write(tmp_path / "scenario.txt")
    for name, value in nvmlsim.environment(library, tmp_path / "scenario.txt").items():
        monkeypatch.setenv(name, value)

    def seen(*numbers: int) -> str:
        command = [sys.executable, "-c", LOOKED, *map(scenario.uuid, numbers)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    assert seen(0) == "()"
    assert seen(1, 2) == (
        f"('{scenario.uuid(1)} has work of others (35 % of the last moments)', "
        f"'{scenario.uuid(2)} has other processes (PID 4711)')"
    )


def test_without_gpus_none_is_in_use() -> None:
    assert not gpus_work([])
