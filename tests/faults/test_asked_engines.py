"""The real program with engines and sensors that end, hold or talk over whoever asks them before a run."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.fakes.asked import ASKED
from tests.fakes.distributions import BARE, SENSORS, TOY, lay_down
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, arguments, environment, finished, living

ENDED = (
    "model 'any': the engine 'toy' of llem-toy 1.0 cannot be asked: it ended its process, which ended with exit code 3"
)


def ran(folder: Path, *more: str, engine: str = ASKED) -> subprocess.CompletedProcess[str]:
    """A run to its end, of an engine that does as its label says."""
    command = arguments(folder / "out", *more)
    env = environment(folder, engine)
    return subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("problems exit 3", ENDED),
        ("cautions raise 3", "the engine 'toy' of llem-toy 1.0 failed when it was asked: SystemExit: 3"),
        ("estimate_memory hang", "gave no sign of life for 0.5 s"),
    ],
)
def test_a_run_of_one_fails_with_the_reason(tmp_path: Path, label: str, said: str) -> None:
    stall = "execution.stall_timeout_s=" + ("0.5" if "hang" in label else "600")
    run = ran(tmp_path, "--set", f"toy.label={label}", "--set", stall)
    assert (run.returncode, run.stdout) == (1, "")
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()
    assert living(tmp_path) == []


def test_what_one_prints_is_no_result_and_moves_no_cursor(tmp_path: Path) -> None:
    talking = 'print("from the top \\x1b[31m")\n' + ASKED
    run = ran(tmp_path, "--set", "toy.label=cautions print", "--dry-run", engine=talking)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("# experiment 1 of 1")
    assert "hello" not in run.stdout
    assert "from the top" not in run.stdout
    assert "llem: printed while it was asked: hello \\x1b[31m red\n" in run.stderr
    assert "\x1b" not in run.stdout + run.stderr


def test_a_study_is_refused_for_the_row_that_ended_and_the_others_are_looked_at(tmp_path: Path) -> None:
    one = {"backend": "toy", "model": "any", "n": 2, "energy": {"backend": None}}
    labels = [None, "problems exit 3", "problems raise 4"]
    rows = [{**one, "name": f"slot {i}", "toy": {"label": label}} for i, label in enumerate(labels)]
    (tmp_path / "study.yaml").write_text(json.dumps({"experiments": rows}), encoding="utf-8")
    run = subprocess.run(
        [*LLEM, "run", "study.yaml", "-o", "out"], env=environment(tmp_path, ASKED), cwd=tmp_path,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (run.returncode, run.stdout) == (1, "")
    assert f"llem: experiment 2 of 3 (slot 1): {ENDED}\n" in run.stderr
    assert "experiment 3 of 3 (slot 2): the engine 'toy' of llem-toy 1.0 failed when it was asked" in run.stderr
    assert "slot 0" not in run.stderr
    assert finished(tmp_path) == []


def test_one_whose_import_ends_the_process_is_an_error_of_the_command_line(tmp_path: Path) -> None:
    run = ran(tmp_path, engine="import os; os._exit(0)\n")
    assert (run.returncode, run.stdout) == (2, "")
    told = (
        "the engine 'toy' of llem-toy 1.0 cannot be loaded: importing it ends the process, which ended with exit code 0"
    )
    assert told in run.stderr


def test_an_interruption_ends_what_is_asked(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    process = subprocess.Popen(
        arguments(tmp_path / "out", "--set", f"toy.label=cautions hang {asked}"), env=environment(tmp_path, ASKED),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    end_s = time.monotonic() + PATIENCE_S
    while not asked.exists():
        assert process.poll() is None
        assert time.monotonic() < end_s
        time.sleep(0.02)
    assert len(living(tmp_path)) > 1
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, told.splitlines()[-1]) == (130, "llem: interrupted; nothing was kept")
    assert living(tmp_path) == []


@pytest.mark.parametrize(
    ("doing", "said"),
    [
        ("import os; os._exit(0)", "it cannot be asked: it ended its process, which ended with exit code 0"),
        ("import os; os.abort()", "it cannot be asked: it ended its process, which was killed by SIGABRT"),
        (
            "import time; time.sleep(100000)",
            "it cannot be asked: the process that asks it gave no sign of life for 5 s",
        ),
        ("raise SystemExit(0)", "it failed when it was asked: SystemExit: 0"),
    ],
)
def test_a_sensor_that_is_named_and_ends_or_holds_whoever_asks_is_a_line(tmp_path: Path, doing: str, said: str) -> None:
    env = environment(tmp_path, TOY)
    module = BARE.replace("return True", f'print("from the sensor"); {doing}')
    lay_down(tmp_path / "engine", {"llem_bare": module}, {"bare": "llem_bare:BareSensor"}, "llem-bare", SENSORS)
    settings = (
        "--set",
        "energy.backend=bare",
        "--set",
        "execution.stall_timeout_s=5",
        "--set",
        "baseline.enabled=true",
    )
    command = arguments(tmp_path / "out", *settings)
    run = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert f"llem: energy backend 'bare' is not usable: {said}" in run.stderr
    assert "llem: printed while it was asked: from the sensor\n" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()
    assert living(tmp_path) == []


def test_each_that_ends_or_holds_whoever_asks_is_a_line_of_the_list(tmp_path: Path) -> None:
    env = environment(tmp_path, TOY)
    stuck = "    def installation_problem(self):\n        import time\n        time.sleep(100000)\n"
    engines = {
        "gone": "import os; os._exit(6)\n",
        "stuck": TOY.replace('name = "toy"', 'name = "stuck"') + stuck,
    }
    sensors = {"fled": BARE.replace("return True", "import os; os._exit(7)").replace('"bare"', '"fled"'), "bare": BARE}
    lay_down(
        tmp_path / "engine", {f"llem_{name}": text for name, text in engines.items()},
        {"gone": "llem_gone:Engine", "stuck": "llem_stuck:ToyEngine"}, "llem-odd",
    )  # fmt: skip
    lay_down(
        tmp_path / "engine", {f"llem_{name}": text for name, text in sensors.items()},
        {name: f"llem_{name}:BareSensor" for name in sensors}, "llem-sensors", SENSORS,
    )  # fmt: skip
    variables = env | {"LLEM_EXECUTION__STALL_TIMEOUT_S": "15"}
    run = subprocess.run(
        [*LLEM, "config", "-v"], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    text = re.sub(r"\s+", " ", run.stdout)
    assert "engine toy usable" in text
    assert "energy bare usable (sensed)" in text
    cannot = "not usable: the engine '{}' of llem-odd 1.0 cannot be asked: "
    assert f"engine gone {cannot.format('gone')}it ended its process, which ended with exit code 6" in text
    assert f"engine stuck {cannot.format('stuck')}the process that asks it gave no sign of life for 15 s" in text
    assert "energy fled not usable: it cannot be asked: it ended its process, which ended with exit code 7" in text
