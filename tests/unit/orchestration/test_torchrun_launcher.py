"""Several processes of one experiment: what they leave, and which failure is told of."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from llenergymeasure.config.models import ExecutionConfig, ExperimentConfig
from llenergymeasure.core.backends.pytorch import PyTorchBackend
from llenergymeasure.domain.plan import ExperimentPlan, ProcessLayout
from llenergymeasure.domain.process import RawProcessResult
from llenergymeasure.domain.telemetry import PowerThermalSample
from llenergymeasure.exceptions import BackendError, ConfigError, ExperimentError
from llenergymeasure.orchestration.processes.launchers import InProcessLauncher, SubprocessLauncher, create_launcher
from llenergymeasure.orchestration.processes.torchrun_launcher import TorchrunLauncher, environment
from llenergymeasure.protocols import Launcher
from llenergymeasure.results.process_files import write_process_result
from llenergymeasure.testing import fake_process_result

TWO = ProcessLayout.of(2, "data")
Command = Callable[[Path, int], list[str]]


@pytest.fixture
def plan(tmp_path: Path) -> ExperimentPlan:
    """A plan with a folder."""
    output = tmp_path / "run"
    output.mkdir()
    return ExperimentPlan.of(ExperimentConfig(model="a/model"), layout=TWO, output_dir=output)


def raw_of(plan: ExperimentPlan, index: int, **fields: Any) -> RawProcessResult:
    """Process ``index`` of two, which served request ``1 - index``: files are not to be in the order of processes."""
    raw = fake_process_result(plan)
    request = replace(raw.requests[0], index=1 - index, output_tokens=4 + index)
    sample = PowerThermalSample(timestamp=10.5, power_w=100.0 + index, gpu_index=index)
    shared = {"process_index": index, "n_processes": 2, "parallelism": "data"}
    return raw.model_copy(update={**shared, "requests": (request,), "samples": (sample,), **fields})


def leaving(files: Mapping[str, str], folder: Path, code: int = 0) -> Command:
    """A command that leaves files in the state folder, and ends with this code."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return lambda state_dir, n: ["sh", "-c", f'cp "$0"/* "$1"; exit {code}', str(folder), str(state_dir)]


def both(plan: ExperimentPlan, folder: Path) -> dict[str, str]:
    for index in range(2):
        write_process_result(raw_of(plan, index), folder)
    return {}


def test_it_is_a_launcher() -> None:
    assert isinstance(TorchrunLauncher(), Launcher)


def test_raw_results_of_all_are_read_and_what_only_served_to_run_them_is_gone(
    plan: ExperimentPlan, tmp_path: Path
) -> None:
    both(plan, tmp_path / "prepared")
    raws = TorchrunLauncher(leaving({}, tmp_path / "prepared")).launch(plan)
    assert [r.process_index for r in raws] == [0, 1]
    assert plan.output_dir is not None
    assert sorted(p.name for p in (plan.output_dir / ".state").iterdir()) == [
        "process_0.done", "process_0.json", "process_1.done", "process_1.json",
    ]  # fmt: skip


def test_without_a_folder_nothing_is_written(plan: ExperimentPlan, tmp_path: Path) -> None:
    both(plan, tmp_path / "prepared")
    seen: list[Path] = []
    command = leaving({}, tmp_path / "prepared")

    def noting(state_dir: Path, n: int) -> list[str]:
        seen.append(state_dir)
        return command(state_dir, n)

    TorchrunLauncher(noting).launch(replace(plan, output_dir=None))
    assert not seen[0].exists()


def test_processes_get_the_whole_plan(plan: ExperimentPlan, tmp_path: Path) -> None:
    from pydantic import TypeAdapter

    both(plan, tmp_path / "prepared")
    kept = tmp_path / "kept.json"
    TorchrunLauncher(
        lambda state_dir, n: [
            "sh", "-c", f'cp "$1"/plan.json {kept}; cp "$0"/* "$1"', str(tmp_path / "prepared"), str(state_dir),
        ],
    ).launch(plan)  # fmt: skip
    handed_over = TypeAdapter(ExperimentPlan).validate_json(kept.read_bytes())
    assert handed_over == plan


def report(kind: str, message: str, time_s: float) -> str:
    return json.dumps({"error_type": kind, "message": message, "time_s": time_s})


def ends(*given: tuple[int, int, int]) -> str:
    return json.dumps([{"process_index": i, "exit_code": code, "time_s": time_s} for i, code, time_s in given])


OUT_OF_MEMORY = report("ExperimentError", "out of memory at batch size 8", 100.0)
LOST = report("ExperimentError", "inference failed: Connection closed by peer", 100.1)


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        # What the others say follows from the first.
        ({"error_0.json": LOST, "error_1.json": OUT_OF_MEMORY, "ends.json": ends((0, 1, 100), (1, 1, 100))},
         ExperimentError, "out of memory at batch size 8"),
        ({"error_1.json": report("BackendError", "no weights", 5.0), "ends.json": ends((1, 1, 5), (0, -15, 5))},
         BackendError, "no weights"),
        ({"error_1.json": report("ConfigError", "no dataset", 5.0)}, ConfigError, "no dataset"),
        # The kernel kills without a word; the peers' words came of it.
        ({"error_0.json": LOST, "ends.json": ends((0, 1, 100), (1, -9, 100))}, ExperimentError,
         "process 1 of 2 was killed by SIGKILL without a report"),
        ({"ends.json": ends((0, -11, 100), (1, -15, 100))}, ExperimentError, "process 0 of 2 was killed by SIGSEGV"),
        # A library that aborts because its peer is gone is not the cause.
        ({"error_0.json": OUT_OF_MEMORY, "ends.json": ends((0, 1, 100), (1, -6, 100))}, ExperimentError,
         "out of memory at batch size 8"),
        ({"ends.json": ends((1, -6, 100), (0, -15, 100))}, ExperimentError, "process 1 of 2 was killed by SIGABRT"),
        # torchrun killed the one that did not go when asked.
        ({"error_0.json": OUT_OF_MEMORY, "ends.json": ends((0, 1, 100), (1, -9, 130))}, ExperimentError,
         "out of memory at batch size 8"),
        ({"ends.json": ends((1, 3, 100), (0, -15, 100))}, ExperimentError, "process 1 of 2 ended with exit code 3"),
        ({"ends.json": "{torn"}, ExperimentError, "torchrun, which starts the measuring processes, ended with"),
    ],
)  # fmt: skip
def test_what_came_first_is_told(
    plan: ExperimentPlan, tmp_path: Path, files: dict[str, str], kind: type[Exception], said: str
) -> None:
    with pytest.raises((ExperimentError, BackendError, ConfigError)) as caught:
        TorchrunLauncher(leaving(files, tmp_path / "prepared", code=1)).launch(plan)
    assert caught.type is kind
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"ends.json": ends((1, -6, 100), (0, -15, 100))}, "process 1 of 2 was killed by SIGABRT without a report"),
        ({}, "torchrun, which starts the measuring processes, ended with exit code 1: it said nothing"),
    ],
)
def test_results_of_processes_that_then_ended_badly_are_kept_and_say_so(
    plan: ExperimentPlan, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    both(plan, tmp_path / "prepared")
    raws = TorchrunLauncher(leaving(files, tmp_path / "prepared", code=1)).launch(plan)
    for index, raw in enumerate(raws):
        whole = raw_of(plan, index)
        *before, told = raw.measurement_warnings
        assert tuple(before) == whole.measurement_warnings
        assert raw.model_copy(update={"measurement_warnings": whole.measurement_warnings}) == whole
        assert (told.flag, told.text) == ("engine_unload_failed", f"everything had been measured, and then: {said}")
    assert len(raws) == 2


def test_results_of_processes_that_then_do_not_end_are_kept_too(plan: ExperimentPlan, tmp_path: Path) -> None:
    both(plan, tmp_path / "prepared")
    late = replace(plan, execution=ExecutionConfig(timeout_s=3))
    raws = TorchrunLauncher(
        lambda state_dir, n: ["sh", "-c", 'cp "$0"/* "$1"; sleep 6000', str(tmp_path / "prepared"), str(state_dir)]
    ).launch(late)
    assert ["it took longer than 3 s" in raw.measurement_warnings[-1].text for raw in raws] == [True, True]


@pytest.mark.parametrize("what", ["process_1.json", "process_1.done"])
def test_where_one_of_them_left_nothing_whole_its_end_is_told(plan: ExperimentPlan, tmp_path: Path, what: str) -> None:
    both(plan, tmp_path / "prepared")
    (tmp_path / "prepared" / what).unlink()
    with pytest.raises(ExperimentError, match=r"^process 1 of 2 was killed by SIGABRT"):
        TorchrunLauncher(leaving({"ends.json": ends((1, -6, 100))}, tmp_path / "prepared", code=1)).launch(plan)


@pytest.mark.parametrize("code", [0, 1])
def test_what_served_to_start_them_is_gone_however_they_ended(plan: ExperimentPlan, tmp_path: Path, code: int) -> None:
    if code == 0:
        both(plan, tmp_path / "prepared")
    started = leaving({"ends.json": "[]"}, tmp_path / "prepared", code)

    def command(state_dir: Path, n: int) -> list[str]:
        (state_dir / "starting" / "none_x" / "attempt_0").mkdir(parents=True)
        return started(state_dir, n)

    with contextlib.suppress(ExperimentError):
        TorchrunLauncher(command).launch(plan)
    assert plan.output_dir is not None
    assert not (plan.output_dir / ".state" / "starting").exists()


def test_a_torchrun_that_cannot_start_says_why(plan: ExperimentPlan) -> None:
    def command(state_dir: Path, n: int) -> list[str]:
        return ["sh", "-c", "echo 'Traceback' >&2; echo 'OSError: no address' >&2; echo >&2; exit 7"]

    with pytest.raises(ExperimentError, match=r"ended with exit code 7: OSError: no address$"):
        TorchrunLauncher(command).launch(plan)


def test_a_process_without_a_file_is_named(plan: ExperimentPlan, tmp_path: Path) -> None:
    both(plan, tmp_path / "prepared")
    (tmp_path / "prepared" / "process_1.done").unlink()
    with pytest.raises(ExperimentError, match=r"process_1\.done is missing; process 1 did not finish"):
        TorchrunLauncher(leaving({}, tmp_path / "prepared")).launch(plan)


@pytest.mark.parametrize(("n", "given"), [(2, {}), (10_000, {}), (2, {"OMP_NUM_THREADS": "7"})])
def test_cores_are_shared_unless_somebody_said_otherwise(n: int, given: dict[str, str]) -> None:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    n_cores = min(psutil.cpu_count(logical=False) or 10**6, usable)
    expected = given.get("OMP_NUM_THREADS", str(max(1, n_cores // n)))
    assert environment(n, {"HOME": "/h", **given}) == {
        "HOME": "/h", "OMP_NUM_THREADS": expected, "PYTHONSAFEPATH": "1",
    }  # fmt: skip


def test_where_the_system_does_not_say_which_cores_are_ours_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    # As on macOS.
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)
    assert environment(4, {})["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(
    ("name", "section", "kind"),
    [
        ("subprocess", None, SubprocessLauncher),
        ("in_process", {"data_parallel_size": 1}, InProcessLauncher),
        ("in_process", {"data_parallel_size": 2}, TorchrunLauncher),
        ("subprocess", {"tp_plan": "auto", "tp_size": 2}, TorchrunLauncher),
        ("in_process", {"tp_plan": "auto", "tp_size": 1}, InProcessLauncher),
    ],
)
def test_the_launcher_follows_from_how_many_processes_are_needed(
    name: str, section: dict[str, Any] | None, kind: type[Launcher]
) -> None:
    config = ExperimentConfig.model_validate({"model": "a/model", "pytorch": section})
    assert type(create_launcher(name, PyTorchBackend().processes(config))) is kind


def test_torchruns_log_stays_beside_a_failure_as_others_may_read_it(
    plan: ExperimentPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    with pytest.raises(ExperimentError, match=r"in ~/a$"):
        TorchrunLauncher(lambda *_: ["sh", "-c", 'echo "OSError in $HOME/a" >&2; exit 7']).launch(plan)
    (log,) = tmp_path.rglob("torchrun.log")
    assert log.read_text(encoding="utf-8") == "OSError in ~/a\n"
