"""The program as a process of its own: start, streams, interruption."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from llenergymeasure import __version__
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment, study
from tests.fakes.model import write_description

ROOT = Path(__file__).parents[3]
AT_WORK_S = 0.5


def llem(*args: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LLEM, *args],
        cwd=cwd,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def test_the_version(tmp_path: Path) -> None:
    ran = llem("--version", cwd=tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"llem, version {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys\nfrom llenergymeasure.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({'torch', 'pydantic', 'numpy', 'yaml', 'pynvml', 'pyarrow'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.pytorch
def test_a_model_that_does_not_exist_anywhere_is_code_1_and_writes_nothing(tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    ran = llem("run", "--model", "nobody/no-such-model", cwd=cwd, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub"))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "'nobody/no-such-model'" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list(cwd.iterdir()) == []


# An engine whose models cannot be had.
NO_MODELS = TOY.replace("        yield ToyModel", "        raise OSError('no such weights')\n        yield ToyModel")


def test_a_study_with_a_failure_shows_it_and_ends_with_code_1(tmp_path: Path) -> None:
    env = environment(tmp_path, NO_MODELS)
    command = [*LLEM, "run", str(study(tmp_path, 1)), "-o", "out", "--export-csv", "out.csv"]
    ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "failed: slot 0: BackendError: the toy engine cannot load 'any': OSError: no such weights" in ran.stdout
    assert "1 experiments, 1 failed" in ran.stdout
    assert "experiment 1 of 1" in ran.stderr
    assert "Traceback" not in ran.stderr
    (folder,) = (tmp_path / "out").iterdir()
    (attempt,) = (folder / "runs").glob("0000-*/attempt-1")
    assert (attempt / "failure.json").exists()
    assert not (attempt / "DONE").exists()
    assert len((tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()) == 1


@pytest.mark.pytorch
def test_ctrl_c_is_code_130_and_leaves_nothing(tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    model = write_description(tmp_path / "model")
    # The program waits for a template that does not end.
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    (model / "chat_template.jinja").write_text(endless, encoding="utf-8")
    process = subprocess.Popen(
        [*LLEM, "run", "--model", str(model)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    renderer = _child_at_work("template_process", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "llem: interrupted; nothing was kept"
    assert "Traceback" not in err
    assert list(cwd.iterdir()) == []
    assert not renderer.is_running()


def test_ctrl_c_in_a_study_says_how_much_had_finished_and_where_it_is(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*LLEM, "run", str(study(tmp_path, 2, launcher="in_process", pause_s=600)), "-o", "out"],
        cwd=tmp_path,
        env=environment(tmp_path, NO_MODELS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + PATIENCE_S
    # Just then libraries are imported, of which some drop an interruption, or make another error of it.
    while not list(tmp_path.glob("out/*/runs/0000-*/attempt-1/failure.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the first experiment did not end"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    (folder,) = (tmp_path / "out").iterdir()
    assert list(folder.glob("runs/0000-*/attempt-1/failure.json"))
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == (
        "llem: interrupted; 0 of 2 experiments had finished and 1 had failed; "
        f"what they left is kept in {folder.relative_to(tmp_path)}"
    )
    assert "Traceback" not in err


# An object that is given back when a signal comes: Python drops what that raises.
LOST = """        class Lock:
            def __del__(self):
                import signal
                signal.raise_signal(signal.{name})
        Lock()
        yield ToyModel"""


# A library that drops what a signal raises, as some do while they are imported.
DROPPED = """        import signal
        try:
            signal.raise_signal(signal.{name})
        except BaseException:
            raise OSError("no such weights") from None
        yield ToyModel"""


@pytest.mark.parametrize(("name", "number"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("lost", [LOST, DROPPED])
def test_a_signal_is_not_lost_whoever_drops_what_it_raises(tmp_path: Path, lost: str, name: str, number: int) -> None:
    engine = TOY.replace("        yield ToyModel", lost.format(name=name))
    ran = subprocess.run(
        [*LLEM, "run", str(study(tmp_path, 2, launcher="in_process", pause_s=600)), "-o", "out"],
        cwd=tmp_path,
        env=environment(tmp_path, engine),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (ran.returncode, ran.stdout) == (number, "")
    assert "interrupted; 0 of 2" in ran.stderr or "ended by SIGTERM; 0 of 2" in ran.stderr
    assert "Exception ignored" not in ran.stderr


def test_a_study_that_is_killed_leaves_the_rows_of_what_had_finished(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*LLEM, "run", str(study(tmp_path, 2, launcher="in_process", pause_s=600)), "--export-csv", "out.csv"],
        cwd=tmp_path,
        env=environment(tmp_path, TOY),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + PATIENCE_S
    table = tmp_path / "out.csv"
    while not table.exists() or len(table.read_text(encoding="utf-8").splitlines()) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the first experiment did not end"
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    with table.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (tmp_path / row["folder"] / "DONE").exists()


def _child_at_work(script: str, parent: subprocess.Popen[str]) -> psutil.Process:
    """The process that the program, or one that it started, starts to run a script, once it does more than start."""
    end = time.monotonic() + PATIENCE_S
    while parent.poll() is None and time.monotonic() < end:
        for child in psutil.Process(parent.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if script in " ".join(child.cmdline()) and child.cpu_times().user > AT_WORK_S:
                    return child
        time.sleep(0.01)
    raise AssertionError(f"the program did not start {script}: {parent.communicate()}")


@pytest.mark.pytorch
def test_a_configuration_may_come_through_a_pipe(tmp_path: Path) -> None:
    ran = subprocess.run(
        [*LLEM, "run", "/dev/stdin", "--dry-run"],
        cwd=tmp_path,
        input="model: ./no-such-model\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 1
    assert "./no-such-model" in ran.stderr


# `make check` holds it too.
@pytest.mark.slow
def test_the_page_about_the_command_line_is_in_step_with_it() -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generated_docs.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
