"""Power limit and clocks set for an experiment on the simulated driver, whose power follows the cap.

What becomes of them when a run ends badly is tried with the real program, which is killed at moments of the load and of
the measurement.
"""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import nvmlsim
from llenergymeasure._machine_folder import FOLDER_VARIABLE
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.result import ExperimentResult
from llenergymeasure.results.verification.verify import verify
from nvmlsim import Fault, Gpu, Scenario, Trace
from tests.fakes.bundles import bundle_of
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment, living
from tests.simulated.conftest import Measuring

IDLE_W, LOAD_W, CAP_W, DEFAULT_W = 60, 380, 250, 700
LOAD = f"gpu 0 power_w {{now}} {LOAD_W}"
ALL = {"power_limit_w": CAP_W, "sm_clock_mhz": 1200, "memory_clock_mhz": 1310}
# A toy that computes on the first GPU. While it loads there is a file of the name "loading", and it waits for as long.
ON_A_GPU = TOY.replace('engine_version="1.0")', 'engine_version="1.0", devices=self.devices)').replace(
    '        yield ToyModel(plan.config.section_of("toy").n_tokens)',
    """        import os, pathlib
        while pathlib.Path(os.environ["LOADING"]).exists():
            pathlib.Path(os.environ["LOADING"] + ".begun").touch()
            time.sleep(0.01)
        model = ToyModel(plan.config.section_of("toy").n_tokens)
        model.devices = plan.devices
        yield model

    def select_devices(self, config, visible):
        return tuple(visible)[:1]""",
)


def card(**more: Any) -> Gpu:
    return Gpu(power_w=Trace.constant(IDLE_W), **more)


def set_at_last(path: Path) -> dict[str, float]:
    """What was set last of each knob in a scenario."""
    lines = [line.split() for line in path.read_text().splitlines()]
    return {word[2]: float(word[4]) for word in lines if len(word) > 2 and word[2] in AS_BEFORE}


AS_BEFORE = {"power_cap_w": float(DEFAULT_W), "sm_lock_mhz": 0.0, "memory_lock_mhz": 0.0}
AS_SET = {"power_cap_w": float(CAP_W), "sm_lock_mhz": 1200.0, "memory_lock_mhz": 1310.0}


def test_power_follows_the_cap_and_the_result_says_so(measuring: Measuring, tmp_path: Path) -> None:
    outcome = measuring.run(card(), in_window=LOAD, device=ALL)
    (gpu,) = outcome.raw["environment_snapshot"]["gpus"]
    assert (gpu["power_limit_w"], gpu["power_limit_default_w"]) == (CAP_W, DEFAULT_W)
    assert outcome.raw["effective_config"]["device"] == ALL
    assert outcome.true_j[0] == pytest.approx(CAP_W * outcome.seconds, rel=0.02)
    assert outcome.rows[0]["energy_j"] == pytest.approx(outcome.true_j[0], abs=outcome.rows[0]["uncertainty_j"])
    assert outcome.raw["thermal_throttle"]["power"] is True
    assert "power_limit_reached" in outcome.flags
    assert outcome.flags & {"gpu_throttled", "power_cap_below_default", "device_setting_differs"} == set()
    assert set_at_last(measuring.path) == AS_BEFORE
    # Whoever works it out again finds no warning missing.
    raw = {name: value for name, value in outcome.raw.items() if name != "took_s"}
    bundle_of(tmp_path, [RawProcessResult.model_validate(raw)])
    assert [str(found) for found in verify(tmp_path).findings if found.kind != "not verifiable"] == []


def test_without_a_cap_the_same_load_draws_what_it_draws(measuring: Measuring) -> None:
    outcome = measuring.run(card(), in_window=LOAD)
    assert outcome.true_j[0] == pytest.approx(LOAD_W * outcome.seconds, rel=0.02)
    assert "power_limit_reached" not in outcome.flags
    assert set_at_last(measuring.path) == {}


class Program:
    """``llem run`` with the toy on a simulated GPU, in a folder of its own."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.folder, self.path = folder, folder / "scenario.txt"
        self.loading = folder / "loading"
        own = environment(folder, ON_A_GPU, LOADING=str(self.loading), **{FOLDER_VARIABLE: str(folder / "shared")})
        self.env = {**own, **nvmlsim.environment(library, self.path)}
        self.scenario()

    def scenario(self, *faults: Fault, gpu: Gpu | None = None) -> None:
        Scenario(gpus=(gpu or card(),), faults=faults).write(self.path)

    def command(self, *more: str, out: str = "out", **knobs: float) -> list[str]:
        settings = ["energy.backend=null", "warmup.enabled=false", *(f"device.{k}={v}" for k, v in knobs.items())]
        words = [word for setting in settings for word in ("--set", setting)]
        place = ["-o", str(self.folder / out)]
        return [*LLEM, "run", "--backend", "toy", "--model", "any", "-n", "8", *place, *words, *more]

    def run(self, *more: str, **knobs: Any) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*more, **knobs), env=self.env, cwd=self.folder, capture_output=True, text=True, check=False,
            timeout=PATIENCE_S,
        )  # fmt: skip

    def begun(self, **knobs: float) -> "subprocess.Popen[str]":
        """One that has set its knobs and is loading its model."""
        self.loading.touch()
        process = subprocess.Popen(
            self.command(out="ended", **knobs), env=self.env, cwd=self.folder, stderr=subprocess.PIPE, text=True
        )
        end_s = time.monotonic() + PATIENCE_S
        while not Path(f"{self.loading}.begun").exists():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end_s
            time.sleep(0.02)
        return process

    def ended(self, process: "subprocess.Popen[str]", number: signal.Signals) -> str:
        """What it said, once it and all that it started have ended."""
        process.send_signal(number)
        told = process.communicate(timeout=PATIENCE_S)[1]
        end_s = time.monotonic() + PATIENCE_S
        while living(self.folder) and time.monotonic() < end_s:
            time.sleep(0.05)
        assert not living(self.folder)
        self.loading.unlink()
        return told

    @property
    def notes(self) -> list[Path]:
        return sorted((self.folder / "shared").glob("knobs-*.json"))


@pytest.fixture
def program(library: Path, tmp_path: Path) -> Program:
    return Program(library, tmp_path)


def test_a_run_sets_reads_back_and_sets_back(program: Program) -> None:
    ran = program.run(**ALL)
    assert ran.returncode == 0, ran.stderr
    (file,) = (program.folder / "out").rglob("result.json")
    result = ExperimentResult.from_json(file)
    assert result.effective_config["device"] == ALL
    assert result.environment_snapshot.gpus[0].power_limit_w == CAP_W
    assert not [warning for warning in result.measurement_warnings if "device_setting_differs" in str(warning)]
    assert set_at_last(program.path) == AS_BEFORE
    assert program.notes == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_sets_it_back(program: Program, number: signal.Signals) -> None:
    process = program.begun(**ALL)
    assert set_at_last(program.path) == AS_SET
    program.ended(process, number)
    assert set_at_last(program.path) == AS_BEFORE
    assert program.notes == []


def test_after_a_kill_the_next_run_sets_it_back_whatever_it_is_for(program: Program) -> None:
    process = program.begun(**ALL)
    (note,) = program.notes
    program.ended(process, signal.SIGKILL)
    assert set_at_last(program.path) == AS_SET
    assert json.loads(note.read_text())["before"] == {**dict.fromkeys(ALL), "power_limit_w": DEFAULT_W}
    ran = program.run()
    assert ran.returncode == 0, ran.stderr
    assert "which was killed" in ran.stderr
    assert set_at_last(program.path) == AS_BEFORE
    assert program.notes == []
    (file,) = (program.folder / "out").rglob("result.json")
    assert ExperimentResult.from_json(file).environment_snapshot.gpus[0].power_limit_w == DEFAULT_W


def test_a_measuring_process_that_is_killed_is_cleaned_up_after_by_the_one_that_started_it(program: Program) -> None:
    process = program.begun(power_limit_w=CAP_W)
    (note,) = program.notes
    (worker,) = [each for each in living(program.folder) if each.pid == json.loads(note.read_text())["pid"]]
    worker.kill()
    told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 1, told
    assert set_at_last(program.path) == {"power_cap_w": DEFAULT_W}
    assert program.notes == []


def test_what_a_living_run_has_set_another_leaves_alone(program: Program) -> None:
    process = program.begun(power_limit_w=CAP_W)
    other = program.run("--set", "device.power_limit_w=300", "--dry-run")
    assert other.returncode == 0, other.stderr
    program.loading.rename(program.loading.with_suffix(".later"))
    assert set_at_last(program.path) == {"power_cap_w": CAP_W}
    told = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 0, told
    assert set_at_last(program.path) == {"power_cap_w": DEFAULT_W}


@pytest.mark.parametrize(
    ("setter", "error", "told"),
    [
        # Found before anything is set: whether one may is tried by writing the limit that is there.
        ("nvmlDeviceSetPowerManagementLimit", 4, "only root may set it; run 'sudo nvidia-smi -i 0 -pl 250' first"),
        # Found while it is set, when the power limit is set already.
        ("nvmlDeviceSetGpuLockedClocks", 3, "this card or its driver has no such knob; leave it out"),
    ],
)
def test_what_cannot_be_set_is_an_error_and_nothing_stays_set(
    program: Program, setter: str, error: int, told: str
) -> None:
    program.scenario(Fault(symbol=setter, error=error))
    ran = program.run(power_limit_w=CAP_W, sm_clock_mhz=1200)
    assert ran.returncode == 1, ran.stderr
    assert told in " ".join(ran.stderr.split())
    assert set_at_last(program.path).get("power_cap_w", DEFAULT_W) == DEFAULT_W
    assert program.notes == []
    assert not list((program.folder / "out").rglob("result.json"))


def test_a_dry_run_says_what_cannot_be_set(program: Program) -> None:
    ran = program.run("--dry-run", power_limit_w=100)
    assert ran.returncode == 1, ran.stderr
    assert "100 W is out of its range, 200 to 700 W" in " ".join(ran.stderr.split())


def test_a_limit_is_swept_and_each_run_has_its_own(program: Program) -> None:
    one = {"backend": "toy", "model": "any", "n": 2, "energy": {"backend": None}, "warmup": {"enabled": False}}
    study = {**one, "sweep": {"device.power_limit_w": [250, 300]}, "execution": {"cycles": 1, "pause_s": 0}}
    (program.folder / "study.yaml").write_text(json.dumps(study))
    ran = subprocess.run(
        [*LLEM, "run", str(program.folder / "study.yaml"), "-o", str(program.folder / "out")], env=program.env,
        cwd=program.folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    results = [ExperimentResult.from_json(file) for file in (program.folder / "out").rglob("result.json")]
    found = {
        r.effective_config["device"]["power_limit_w"]: r.environment_snapshot.gpus[0].power_limit_w for r in results
    }
    assert found == {250: 250, 300: 300}
    assert set_at_last(program.path) == {"power_cap_w": DEFAULT_W}
    assert program.notes == []
