"""Two runs of the real program at once on one simulated GPU: one measures, and the other waits for it."""

import subprocess
import time
from pathlib import Path

import nvmlsim
from llenergymeasure._machine_folder import FOLDER_VARIABLE
from llenergymeasure.domain.result import ExperimentResult
from nvmlsim import Counter, Gpu, Scenario, Trace
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment
from tests.simulated.test_knobs import ON_A_GPU

BASELINE_S, FLOOR_S = 1.0, 30.0
SETTINGS = (
    "energy.backend=nvml", f"baseline.duration_seconds={BASELINE_S:g}", "warmup.enabled=false",
    f"warmup.thermal_floor_seconds={FLOOR_S:g}",
)  # fmt: skip


def seen_in(process: "subprocess.Popen[str]", text: str, lines: list[str]) -> str:
    """The line of a process's stderr that has a text, those up to it being added to ``lines``."""
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError("".join(lines))


def test_the_second_waits_for_the_first_and_a_third_gives_up(library: Path, tmp_path: Path) -> None:
    scenario = Scenario(
        gpus=(Gpu(power_w=Trace.constant(60.0), sensors=nvmlsim.RTX40, counter=Counter()),), epoch_s=time.monotonic()
    )
    scenario.write(tmp_path / "scenario.txt")
    loading = tmp_path / "loading"
    shared = {FOLDER_VARIABLE: str(tmp_path / "shared"), "LOADING": str(loading)}
    env = {**environment(tmp_path, ON_A_GPU, **shared), **nvmlsim.environment(library, tmp_path / "scenario.txt")}

    def begun(name: str, *more: str) -> "subprocess.Popen[str]":
        words = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
        command = [*LLEM, "run", "--backend", "toy", "--model", "any", "-n", "8", "-o", str(tmp_path / name), *words]
        return subprocess.Popen(
            command, env=env, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    loading.touch()
    first = begun("first")
    end_s = time.monotonic() + PATIENCE_S
    while not Path(f"{loading}.begun").exists():
        assert first.poll() is None, first.communicate()[1]
        assert time.monotonic() < end_s
        time.sleep(0.02)

    waited: list[str] = []
    second = begun("second")
    line = seen_in(second, "waiting for", waited)
    assert f"waiting for {scenario.uuid(0)}, which is being measured by process {first.pid} of" in line

    third = begun("third", "execution.wait_for_devices_s=1")
    told = third.communicate(timeout=PATIENCE_S)[1]
    assert third.returncode == 1, told
    assert f"{scenario.uuid(0)} is being measured by process {first.pid} of" in told
    assert "and was all of 1 s; execution.wait_for_devices_s says how long is waited" in told
    assert not list((tmp_path / "third").rglob("result.json"))

    loading.unlink()
    for process in (first, second):
        told = process.communicate(timeout=PATIENCE_S)[1]
        assert process.returncode == 0, told
    spans = []
    for name in ("first", "second"):
        (file,) = (tmp_path / name).glob("*/result.json")
        result = ExperimentResult.from_json(file)
        assert result.energy_breakdown is not None
        assert result.energy_breakdown.baseline_timestamp is not None
        # It is of the end of the idle baseline.
        spans.append((result.energy_breakdown.baseline_timestamp - BASELINE_S, result.end_time.timestamp()))
    (first_from_s, first_to_s), (second_from_s, second_to_s) = spans
    assert first_to_s - first_from_s >= BASELINE_S + FLOOR_S
    assert second_to_s - second_from_s >= BASELINE_S + FLOOR_S
    assert first_to_s <= second_from_s
