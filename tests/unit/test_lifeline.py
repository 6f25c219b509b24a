"""A process that was started does not outlive the one that started it, from its first moment on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from llenergymeasure import _lifeline as lifeline
from tests.fakes.effort import PATIENCE_S

# A module that takes its time to be imported, as an engine's library does.
SLOW_IMPORT = """
import os, pathlib, sys, time
pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
time.sleep(6000)
"""
_PARENT = """
import subprocess, sys
from llenergymeasure._lifeline import tied
subprocess.Popen([sys.executable, *tied("slow_import", sys.argv[1])], start_new_session=True).wait()
"""


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true, long before what is waited for would end by itself."""
    end_s = time.monotonic() + PATIENCE_S / 10
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.01)
    return condition()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_that_is_still_importing_dies_with_a_parent_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_import.py").write_text(SLOW_IMPORT, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    parent = subprocess.Popen([sys.executable, "-c", _PARENT, str(tmp_path / "pid")])
    assert until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text() != "")
    child = int((tmp_path / "pid").read_text())
    parent.kill()
    parent.wait()
    assert until(lambda: gone(child))


# Asks an interpreter what it has, which never answers.
_ASKS = """
import sys
from llenergymeasure.orchestration.processes.interpreters import _problem
_problem(sys.argv[1])
"""
# Has a checkpoint built by what stands in the place of the library's builder.
_BUILDS = """
import sys
from pathlib import Path
from llenergymeasure.core.backends.onnxruntime import _build
_build(Path(sys.argv[1]), Path(sys.argv[1]) / "target", "fp32")
"""
_BUILDER = """
import os, pathlib, time
pathlib.Path("pid").write_text(str(os.getpid()))
time.sleep(6000)
"""


def child_of(code: str, argument: Path, pid_file: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A Python that runs this, and the process that it has started."""
    parent = subprocess.Popen([sys.executable, "-c", code, str(argument)])
    assert until(lambda: pid_file.exists() and pid_file.read_text() != "")
    return parent, int(pid_file.read_text())


def test_an_interpreter_that_is_asked_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 6000\n", encoding="utf-8")
    python.chmod(0o755)
    parent, child = child_of(_ASKS, python, tmp_path / "pid")
    # What may be no Python cannot tie itself: a guard beside it is what ends it.
    assert until(lambda: len(psutil.Process(parent.pid).children()) > 1)
    parent.kill()
    parent.wait()
    assert until(lambda: gone(child))


def test_a_builder_ends_with_a_parent_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "onnxruntime_genai" / "models"
    package.mkdir(parents=True)
    for file, text in (("../__init__.py", ""), ("__init__.py", ""), ("builder.py", _BUILDER)):
        (package / file).write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    parent, child = child_of(_BUILDS, tmp_path, tmp_path / "pid")
    parent.kill()
    parent.wait()
    assert until(lambda: gone(child))


def test_a_process_whose_parent_has_gone_already_ends_at_once() -> None:
    # Another number than that of the process which starts it stands for a parent that has ended meanwhile.
    command = [sys.executable, *lifeline.tied("this")]
    command[3] = str(os.getpid() + 1)
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "")


def test_the_module_gets_its_arguments_and_is_main(tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text("import sys; print(__name__, sys.argv[1:])", encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, *lifeline.tied("shown", "a", "b c")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )
    assert ran.stdout == "__main__ ['a', 'b c']\n"


def test_nothing_heavy_is_imported_before_the_process_is_tied() -> None:
    code = (
        "import sys, llenergymeasure._lifeline\n"
        "print(sorted({'numpy', 'pydantic', 'torch', 'psutil', 'yaml'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_where_the_kernel_does_not_tie_a_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = [7, 7, 7, 1]
    ended: list[bool] = []
    monkeypatch.setattr(lifeline, "_tied_by_the_kernel", lambda: False)
    monkeypatch.setattr(lifeline, "_LOOK_S", 0.001)
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0) if len(parents) > 1 else parents[0])
    lifeline.tie_to(7, lambda: ended.append(True))
    assert until(lambda: bool(ended))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL") or sys.platform != "linux", reason="the kernel of Linux ties")
def test_linux_ties_by_the_kernel() -> None:
    code = "from llenergymeasure import _lifeline as lifeline; print(lifeline._tied_by_the_kernel())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "True\n"
