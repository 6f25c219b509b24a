"""``llem calibrate`` on simulated GPUs, with the load of an engine of another distribution."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import nvmlsim
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment

# Its load is written into the scenario, a little ahead of its time.
WORKING = (
    TOY
    + """
import os
from pathlib import Path

import nvmlsim


def switched(self, device):
    @contextmanager
    def on():
        path = Path(os.environ["NVMLSIM_SCENARIO"])

        def work(seconds):
            start_s = time.monotonic() + 0.002
            nvmlsim.append_step(path, 0, "power_w", 380.0, at_monotonic_s=start_s)
            nvmlsim.append_step(path, 0, "power_w", 60.0, at_monotonic_s=start_s + seconds)
            time.sleep(start_s + seconds - time.monotonic())

        yield work

    return on()


ToyEngine.switched_load = switched
"""
)
CARD = Gpu(power_w=Trace.constant(60.0), sensors=nvmlsim.RTX40, counter=Counter())


@pytest.fixture
def simulated(library: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a process that sees one idle GPU and the toy engine."""
    path = tmp_path / "scenario.txt"
    Scenario(gpus=(CARD,), epoch_s=time.monotonic()).write(path)
    own = environment(tmp_path, WORKING, XDG_CACHE_HOME=str(tmp_path / "cache"))
    # The engine writes its load with the simulation's own words.
    own["PYTHONPATH"] = os.pathsep.join([own["PYTHONPATH"], str(Path(nvmlsim.__file__).parent.parent)])
    return {**own, **nvmlsim.environment(library, path)}


def calibrate(env: dict[str, str], *more: str) -> "subprocess.CompletedProcess[str]":
    command = [*LLEM, "calibrate", "--engine", "toy", *more]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_what_is_found_is_shown_and_kept(simulated: dict[str, str], tmp_path: Path) -> None:
    ran = calibrate(simulated, "--seconds", "10")
    assert ran.returncode == 0, ran.stderr
    assert "energy counter        new every 100 ms" in ran.stdout
    (path,) = (tmp_path / "cache" / "llenergymeasure" / "calibrations").iterdir()
    kept = json.loads(path.read_text("utf-8"))
    assert kept["device"] in ran.stdout
    assert kept["load"] == "toy"
    # What the card is, is tried on a clock of its own; here the machine may be busy.
    assert kept["counter_tick_s"] == pytest.approx(0.1, rel=0.01)
    assert str(path).replace(str(tmp_path / "home"), "~") in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--seconds", "1"), 2, "--seconds 1: give 10 to 600 s"),
        (("--seconds", "nan"), 2, "--seconds nan: give"),
        (("--seconds", "inf"), 2, "--seconds inf: give"),
        (("--gpu", "7"), 2, "there is no GPU 7; this process sees 0 (GPU-"),
        (("--engine", "none"), 2, "no engine is called 'none'"),
    ],
)
def test_what_cannot_be_done_is_said(
    simulated: dict[str, str], arguments: tuple[str, ...], code: int, told: str
) -> None:
    ran = calibrate(simulated, *arguments)
    assert (ran.returncode, told in ran.stderr) == (code, True), ran.stderr


def test_without_a_gpu_there_is_nothing_to_calibrate(tmp_path: Path) -> None:
    ran = calibrate(environment(tmp_path, WORKING))
    assert ran.returncode == 1
    assert "there is no GPU to calibrate" in ran.stderr


def test_others_on_the_gpu_are_named(library: Path, simulated: dict[str, str], tmp_path: Path) -> None:
    busy = Gpu(power_w=Trace.constant(60.0), processes=(nvmlsim.Process(pid=4711),))
    Scenario(gpus=(busy,), epoch_s=time.monotonic()).write(tmp_path / "scenario.txt")
    ran = calibrate(simulated)
    assert ran.returncode == 1
    assert "other processes are on GPU-" in ran.stderr
    assert "4711" in ran.stderr
