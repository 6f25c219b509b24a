"""``llem calibrate`` on simulated GPUs, with the load of an engine of another distribution."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

import nvmlsim
from llenergymeasure.exceptions import PreFlightError
from llenergymeasure.orchestration.device_locks import held
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment, living

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
DEVICE = "GPU-00000000-0000-4000-8000-000000000000"
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
    assert "energy counter new every 100 ms" in " ".join(ran.stdout.split())
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


def test_a_gpu_that_is_measured_is_waited_for(simulated: dict[str, str], tmp_path: Path) -> None:
    with held([DEVICE], "a run"):
        ran = calibrate({**simulated, "LLEM_EXECUTION__WAIT_FOR_DEVICES_S": "1.5"}, "--seconds", "10")
    assert (ran.returncode, ran.stdout) == (1, "")
    who = f"process {os.getpid()} of "
    assert f"waiting for {DEVICE}, which is being measured by {who}" in ran.stderr
    assert f"{DEVICE} is being measured by {who}" in ran.stderr
    assert "(a run), and was all of 1.5 s; execution.wait_for_devices_s says how long is waited" in ran.stderr


def test_while_a_gpu_is_calibrated_nobody_measures_it(simulated: dict[str, str], tmp_path: Path) -> None:
    command = [*LLEM, "calibrate", "--engine", "toy", "--seconds", "10"]
    with subprocess.Popen(
        command, env=simulated, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        # The load has begun to work.
        end_s = time.monotonic() + PATIENCE_S
        while " 380" not in (tmp_path / "scenario.txt").read_text():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end_s
            time.sleep(0.05)
        who = rf"is being measured by process {process.pid} of .* \(llem calibrate\)"
        with pytest.raises(PreFlightError, match=who), held([DEVICE], "a run", 0):
            raise AssertionError("two at a time")
        assert process.wait(PATIENCE_S) == 0


WAYS = """
import ctypes
import signal


def _do(way):
    print("about to " + way)
    if way == "exit":
        os._exit(0)
    if way == "abort":
        os.abort()
    if way == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if way == "hang":
        time.sleep(100000)
    raise SystemExit(0)
"""
ON_BEING_LOADED = f"{WORKING}{WAYS}\n\nToyEngine.switched_load = lambda self, device: _do(os.environ['WAY'])\n"
AT_WORK = f"{WORKING}{WAYS}".replace(
    "            start_s = time.monotonic() + 0.002\n", "            _do(os.environ['WAY'])\n"
)
ON_BEING_ASKED = f"{WORKING}{WAYS}\n\nToyEngine.installation_problem = lambda self: _do(os.environ['WAY'])\n"
ON_BEING_MADE = f"{WORKING}{WAYS}\n\nToyEngine.__init__ = lambda self: _do(os.environ['WAY'])\n"
THE_LOAD = "the load of the engine 'toy' of llem-toy 1.0 failed on GPU-"
ASKED = "the engine 'toy' of llem-toy 1.0 cannot be asked: "
ENDED = "it ended its process, which "


@pytest.mark.parametrize(
    ("engine", "way", "told"),
    [
        (ON_BEING_LOADED, "exit", (THE_LOAD, f"{ENDED}ended with exit code 0", "printed is: about to exit")),
        (ON_BEING_LOADED, "abort", (THE_LOAD, f"{ENDED}was killed by SIGABRT")),
        (ON_BEING_LOADED, "crash", (THE_LOAD, f"{ENDED}was killed by SIGSEGV")),
        (ON_BEING_LOADED, "raise", (THE_LOAD, "SystemExit: 0")),
        (AT_WORK, "exit", (THE_LOAD, f"{ENDED}ended with exit code 0")),
        (ON_BEING_ASKED, "exit", (ASKED, f"{ENDED}ended with exit code 0")),
        (ON_BEING_ASKED, "hang", (ASKED, "gave no sign of life for 5 s")),
        (ON_BEING_MADE, "exit", (ASKED, f"{ENDED}ended with exit code 0")),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)  # fmt: skip
def test_an_engine_that_ends_or_holds_its_process_is_an_error_with_its_name(
    simulated: dict[str, str], tmp_path: Path, engine: str, way: str, told: tuple[str, ...]
) -> None:
    (tmp_path / "engine" / "llem_toy.py").write_text(engine, encoding="utf-8")
    ran = calibrate({**simulated, "WAY": way, "LLEM_EXECUTION__STALL_TIMEOUT_S": "5"}, "--seconds", "10")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert [words in ran.stderr for words in told] == [True] * len(told), ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "cache" / "llenergymeasure" / "calibrations").exists()
    assert living(tmp_path) == []


def test_a_load_that_hangs_is_waited_for_as_long_as_it_may_be_silent_beside_its_seconds(
    simulated: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "engine" / "llem_toy.py").write_text(AT_WORK, encoding="utf-8")
    ran = calibrate({**simulated, "WAY": "hang", "LLEM_EXECUTION__STALL_TIMEOUT_S": "5"}, "--seconds", "10")
    assert ran.returncode == 1, ran.stderr
    assert THE_LOAD in ran.stderr
    assert "gave no sign of life for 15 s" in ran.stderr
    assert living(tmp_path) == []
