"""The fresh process of a plan: what it leaves, how it ends, and that nothing survives it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig, WarmupConfig
from llenergymeasure.domain.plan import ExperimentPlan, Shown
from llenergymeasure.exceptions import (
    BackendError,
    ConfigError,
    ExperimentError,
    LLEMError,
    PreFlightError,
    StudyError,
)
from llenergymeasure.orchestration.processes.handover import ProcessError
from llenergymeasure.orchestration.processes.launchers import SubprocessLauncher
from llenergymeasure.protocols import Launcher
from llenergymeasure.results.process_files import write_process_result
from llenergymeasure.testing import fake_process_result
from tests.fakes.effort import PATIENCE_S

Command = Callable[[Path], list[str]]


@pytest.fixture
def plan() -> ExperimentPlan:
    """A plan that writes nothing."""
    return ExperimentPlan.of(ExperimentConfig(model="a/model", warmup=WarmupConfig(max_warmup_prompts=7)))


@pytest.fixture
def prepared(plan: ExperimentPlan, tmp_path: Path) -> Path:
    """What a process that measured the plan leaves."""
    folder = tmp_path / "prepared"
    write_process_result(fake_process_result(plan), folder)
    return folder


def leaving(folder: Path, then: str = "true") -> Command:
    """A process that leaves copies of what lies in the folder, and ends with a shell command."""
    return lambda state_dir: ["sh", "-c", f'cp "$0"/* "$1"; {then}', str(folder), str(state_dir)]


def shell(script: str) -> Command:
    """A process that runs a shell script with the state folder as ``$1``."""
    return lambda state_dir: ["sh", "-c", script, "sh", str(state_dir)]


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
    """Whether the condition comes true in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def pids_in(*files: Path) -> list[int]:
    """The process ids that shell scripts wrote, once they are all there."""
    assert until(lambda: all(f.exists() and f.read_text(encoding="utf-8").endswith("\n") for f in files))
    return [int(f.read_text(encoding="utf-8")) for f in files]


def test_it_is_a_launcher() -> None:
    assert isinstance(SubprocessLauncher(), Launcher)


def test_a_raw_result_is_read_and_the_temporary_folder_removed(plan: ExperimentPlan, prepared: Path) -> None:
    seen: list[Path] = []

    def command(state_dir: Path) -> list[str]:
        seen.append(state_dir)
        return leaving(prepared)(state_dir)

    assert SubprocessLauncher(command).launch(plan) == [fake_process_result(plan)]
    assert not seen[0].exists()


def test_raw_results_stay_in_the_state_folder_of_the_output(
    prepared: Path, plan: ExperimentPlan, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    output.mkdir()
    plan = ExperimentPlan(
        config=plan.config, experiment_id=plan.experiment_id, config_hash=plan.config_hash, output_dir=output
    )
    assert len(SubprocessLauncher(leaving(prepared)).launch(plan)) == 1
    assert sorted(str(p.relative_to(output)) for p in output.rglob("*")) == [
        ".state", ".state/process_0.done", ".state/process_0.json",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [ConfigError, BackendError, PreFlightError, ExperimentError, StudyError])
def test_an_error_the_process_reported_is_raised_as_what_it_was(
    plan: ExperimentPlan, tmp_path: Path, kind: type[LLEMError]
) -> None:
    report = ProcessError(error_type=kind.__name__, message="what, and what to do")
    (tmp_path / "error_0.json").write_text(report.model_dump_json(), encoding="utf-8")
    with pytest.raises(LLEMError, match=r"^what, and what to do$") as caught:
        SubprocessLauncher(leaving(tmp_path, f"exit {kind.exit_code}")).launch(plan)
    assert caught.type is kind


@pytest.mark.parametrize("name", ["SomethingNew", "ValueError", "", "__name__"])
def test_an_error_of_a_type_nobody_knows_is_an_experiment_error(
    plan: ExperimentPlan, tmp_path: Path, name: str
) -> None:
    report = ProcessError(error_type=name, message="odd")
    (tmp_path / "error_0.json").write_text(report.model_dump_json(), encoding="utf-8")
    with pytest.raises(ExperimentError, match="odd"):
        SubprocessLauncher(leaving(tmp_path)).launch(plan)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -KILL $$", "killed by SIGKILL"),
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("exit 3", "exit code 3"),
        ("exit 0", "exit code 0 without a report"),
        ("echo '{' > $1/process_0.json", r"process_0\.done is missing"),
        ("echo '{' > $1/process_0.json; echo 00 > $1/process_0.done", "does not match"),
    ],
)
def test_a_process_that_ends_without_a_result_says_how(plan: ExperimentPlan, script: str, said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        SubprocessLauncher(shell(script)).launch(plan)


def test_a_signal_without_a_name_is_still_an_experiment_error(plan: ExperimentPlan) -> None:
    with pytest.raises(ExperimentError, match="killed by"):
        SubprocessLauncher(shell(f"kill -{signal.SIGRTMIN + 3} $$")).launch(plan)


def test_a_result_of_a_process_that_then_died_is_kept_and_says_so(plan: ExperimentPlan, prepared: Path) -> None:
    (raw,) = SubprocessLauncher(leaving(prepared, "kill -ABRT $$")).launch(plan)
    whole = fake_process_result(plan)
    assert raw.measurement_warnings[:-1] == whole.measurement_warnings
    assert raw.model_copy(update={"measurement_warnings": whole.measurement_warnings}) == whole
    told = raw.measurement_warnings[-1]
    assert (told.flag, "killed by SIGABRT without a report" in told.text) == ("engine_unload_failed", True)


def test_a_result_of_a_process_that_then_does_not_end_is_kept_too(plan: ExperimentPlan, prepared: Path) -> None:
    late = replace(plan, execution=ExecutionConfig(timeout_s=3))
    (raw,) = SubprocessLauncher(leaving(prepared, "sleep 6000")).launch(late)
    assert "it took longer than 3 s" in raw.measurement_warnings[-1].text


def test_a_torn_result_of_a_process_that_died_is_none(plan: ExperimentPlan, prepared: Path) -> None:
    torn = "echo '{}' >> $1/process_0.json; exit 7"
    with pytest.raises(ExperimentError, match="does not match its completion marker"):
        SubprocessLauncher(leaving(prepared, torn)).launch(plan)


def test_a_torn_report_is_an_experiment_error(plan: ExperimentPlan) -> None:
    with pytest.raises(ExperimentError):
        SubprocessLauncher(shell("printf '{\"error_type\"' > $1/error_0.json; exit 1")).launch(plan)


@pytest.mark.parametrize("ignore", ["", "trap '' TERM;"])
def test_what_the_process_leaves_running_is_ended(
    plan: ExperimentPlan, prepared: Path, tmp_path: Path, ignore: str
) -> None:
    note = tmp_path / "pid"
    script = f"({ignore} echo ready > {tmp_path}/ready; exec sleep 60) & echo $! > {note}; "
    wait = f"while [ ! -e {tmp_path}/ready ]; do :; done"
    SubprocessLauncher(leaving(prepared, script + wait)).launch(plan)
    (pid,) = pids_in(note)
    try:
        assert until(lambda: not is_running(pid))
    finally:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


_PARENT = """
import sys
from pathlib import Path
from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.domain.plan import ExperimentPlan
from llenergymeasure.orchestration.processes.launchers import SubprocessLauncher
folder, script = sys.argv[1:]
plan = ExperimentPlan.of(ExperimentConfig(model="a/model"), output_dir=Path(folder))
try:
    SubprocessLauncher(lambda state: ["sh", "-c", script, "sh", str(state)]).launch(plan)
except KeyboardInterrupt:
    sys.exit(130)
"""


def parent_of(script: str, folder: Path) -> subprocess.Popen[bytes]:
    """A process that launches a shell script as its measuring process."""
    return subprocess.Popen([sys.executable, "-c", _PARENT, str(folder), script], start_new_session=True)


def test_what_has_left_the_process_group_and_its_parent_is_ended_too(plan: ExperimentPlan, tmp_path: Path) -> None:
    child = f"sh -c 'echo $$ > {tmp_path}/pid; exec sleep 6000'"
    script = f"(setsid {child} &) ; while [ ! -s {tmp_path}/pid ]; do :; done"
    with pytest.raises(ExperimentError, match="exit code 0 without a report"):
        SubprocessLauncher(shell(script)).launch(plan)
    (pid,) = pids_in(tmp_path / "pid")
    assert until(lambda: not is_running(pid), 10)


def test_a_second_ctrl_c_ends_at_once_what_does_not_want_to_end(tmp_path: Path) -> None:
    stubborn = f"trap '' TERM INT; echo $$ > {tmp_path}/child; while :; do sleep 1; done"
    parent = parent_of(stubborn, tmp_path)
    (pid,) = pids_in(tmp_path / "child")
    parent.send_signal(signal.SIGINT)
    time.sleep(1)
    parent.send_signal(signal.SIGINT)
    parent.wait(PATIENCE_S)
    assert until(lambda: not is_running(pid), 10)


def test_ctrl_c_ends_the_process_and_what_it_started(tmp_path: Path) -> None:
    parent = parent_of(f"sleep 60 & echo $! > {tmp_path}/grandchild; echo $$ > {tmp_path}/child; wait", tmp_path)
    pids = pids_in(tmp_path / "child", tmp_path / "grandchild")
    assert all(map(is_running, pids))
    parent.send_signal(signal.SIGINT)
    assert parent.wait(PATIENCE_S) == 130
    assert until(lambda: not any(map(is_running, pids)))


def test_a_worker_does_not_outlive_a_launcher_that_is_killed(tmp_path: Path) -> None:
    # The plan becomes a pipe, so that the real worker waits for it.
    worker = f"rm $1/plan.json; mkfifo $1/plan.json; echo $$ > {tmp_path}/worker; "
    tied = f"{sys.executable} -m llenergymeasure._lifeline $PPID"
    run = f'exec {tied} llenergymeasure.orchestration.processes.worker "$1"'
    parent = parent_of(worker + run, tmp_path)
    (pid,) = pids_in(tmp_path / "worker")
    # Opening the pipe succeeds only once the worker reads from it.
    pipe: list[int] = []
    assert until(lambda: _opened(tmp_path / ".state" / "plan.json", pipe))
    parent.kill()
    parent.wait(PATIENCE_S)
    assert until(lambda: not is_running(pid))
    os.close(pipe[0])


def _opened(path: Path, into: list[int]) -> bool:
    try:
        into.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_the_real_worker_gets_the_plan_reports_and_logs(tmp_path: Path) -> None:
    # Neither its library nor the file is there.
    config = ExperimentConfig(model="./no-such.gguf", backend="llamacpp", precision="bf16")
    plan = ExperimentPlan.of(config, output_dir=tmp_path)
    with pytest.raises(BackendError, match=r"xllamacpp|no-such"):
        SubprocessLauncher().launch(plan)
    assert (tmp_path / "log.txt").exists()


def test_the_plan_survives_being_handed_over(plan: ExperimentPlan, prepared: Path, tmp_path: Path) -> None:
    from pydantic import TypeAdapter

    kept = tmp_path / "kept.json"
    full = ExperimentPlan(
        config=plan.config,
        experiment_id=plan.experiment_id,
        config_hash=plan.config_hash,
        baseline_cache=tmp_path / "baseline.json",
        shown=Shown(kind="lines", number=3, n_runs=20, later_s=12.5),
        devices=("GPU-1",),
    )
    SubprocessLauncher(leaving(prepared, f'cp "$1"/plan.json {kept}')).launch(full)
    assert TypeAdapter(ExperimentPlan).validate_json(kept.read_bytes()) == full
