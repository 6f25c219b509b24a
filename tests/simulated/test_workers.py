"""A worker for each GPU: the real program on a machine with two simulated GPUs, of different kinds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

import nvmlsim
from llenergymeasure._machine_folder import FOLDER_VARIABLE
from llenergymeasure.orchestration.studies.claiming.holders import Holders
from llenergymeasure.results.study.directory import StudyDirectory
from llenergymeasure.results.study.rows import rows
from llenergymeasure.results.study.summary import Summing
from nvmlsim import Gpu, Scenario, Trace
from tests.fakes.claiming import takings
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment, finished
from tests.faults.test_chaos import check_whole, wait_for_nobody

# A toy that computes on the first GPU that it sees, or as its label says; it takes half a second to load.
ON_A_GPU = TOY.replace('engine_version="1.0")', 'engine_version="1.0", devices=self.devices)').replace(
    '        yield ToyModel(plan.config.section_of("toy").n_tokens)',
    """        time.sleep(0.5)
        model = ToyModel(plan.config.section_of("toy").n_tokens)
        model.devices = plan.devices
        yield model

    def select_devices(self, config, visible):
        label = config.section_of("toy").label
        return tuple(visible) if label in ("all", "both") else tuple(visible)[:1]

    def problems(self, config):
        from llenergymeasure.core.gpu.machine import visible_gpus
        if config.section_of("toy").label == "both" and len(visible_gpus().gpus) < 2:
            return ["toy.label: it is for two GPUs"]
        return []""",
)
KINDS = ("NVIDIA A", "NVIDIA B")


class Machine:
    """Two simulated GPUs, and ``llem`` on them in a folder of its own."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.folder = folder
        self.scenario = Scenario(gpus=tuple(Gpu(power_w=Trace.constant(60), name=name) for name in KINDS))
        self.scenario.write(folder / "scenario.txt")
        own = environment(folder, ON_A_GPU, **{FOLDER_VARIABLE: str(folder / "shared")})
        self.env = {**own, **nvmlsim.environment(library, folder / "scenario.txt")}

    def study(self, n_cycles: int = 4, labels: tuple[str | None, ...] = (None, None), **more: object) -> Path:
        """A study file of a configuration for each label, in blocks."""
        one = {
            "backend": "toy", "model": "any", "precision": "fp32", "n": 4, "energy": {"backend": None},
            "warmup": {"enabled": False}, **more,
        }  # fmt: skip
        experiments = [
            {**one, "name": f"config {i}", "random_seed": i, "toy": {"n_tokens": 64, "label": label}}
            for i, label in enumerate(labels)
        ]
        execution = {"cycles": n_cycles, "order": "blocks", "workers": "per_gpu"}
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump({"execution": execution, "experiments": experiments}), encoding="utf-8")
        return path

    def begun(self, *args: object, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*LLEM, *map(str, args)], cwd=self.folder, env={**self.env, **env}, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def run(self, *args: object, **env: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        process = self.begun(*args, **env)
        out, err = process.communicate(timeout=PATIENCE_S)
        return process.returncode, out, err

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def path(self) -> Path:
        (path,) = self.out.iterdir()
        return path

    def working(self, n: int = 2) -> dict[int, str]:
        """The workers that run a slot, by process, once there are so many: each with that slot."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            found = {pid: path.name for folder in self.out.glob("*/claims") for pid, path in takings(folder).items()}
            if len(found) >= n:
                return found
            time.sleep(0.02)
        raise AssertionError("they do not begin")


@pytest.fixture
def machine(library: Path, tmp_path: Path) -> Machine:
    return Machine(library, tmp_path)


def gpus_of_blocks(path: Path) -> dict[int, list[tuple[str, ...]]]:
    """The GPUs of the runs of each block, every one once."""
    found: dict[int, set[tuple[str, ...]]] = {}
    for result in finished(path):
        assert result.run_key is not None
        found.setdefault(result.run_key.block, set()).add(result.model.devices)
    return {block: sorted(gpus) for block, gpus in found.items()}


def test_every_run_is_made_once_blocks_stay_on_a_gpu_and_kinds_are_kept_apart(machine: Machine) -> None:
    code, out, err = machine.run("run", machine.study(4, ("all", None)), "-o", machine.out, "--export-csv", "all.csv")
    assert code == 0, err
    path = machine.path()
    check_whole(path)
    wait_for_nobody(machine.folder)
    blocks = gpus_of_blocks(path)
    assert sorted(blocks) == [0, 1, 2, 3]
    assert all(len(gpus) == 1 for gpus in blocks.values())
    assert {gpu for (gpus,) in blocks.values() for gpu in gpus} == {machine.scenario.uuid(0), machine.scenario.uuid(1)}
    # What the workers say is told with their GPU, and the table is one.
    assert "llem: 2 workers, each on a GPU of its own: 0 NVIDIA A, 1 NVIDIA B" in err
    assert all(f"llem: GPU {i}: experiment " in err for i in (0, 1))
    assert out.count("8 experiments, 0 failed") == 1
    assert len((machine.folder / "all.csv").read_text(encoding="utf-8").splitlines()) == 1 + 8
    # Each configuration has a row for each kind of card, and is compared on the same kind only.
    plan = StudyDirectory(path).plan()
    summary = Summing(plan).of(rows(StudyDirectory(path), plan))
    both = ", ".join(KINDS)
    assert [(row.configuration, row.machine) for row in summary.rows] == [
        (i, f"{kind} of {both}") for i in (0, 1) for kind in KINDS
    ]
    n_blocks = [sum(gpus == [(machine.scenario.uuid(i),)] for gpus in blocks.values()) for i in (0, 1)]
    assert [row.n_finished for row in summary.rows] == n_blocks * 2
    assert "machine" in out


def test_of_a_worker_that_is_killed_the_other_takes_over(machine: Machine) -> None:
    process = machine.begun("run", machine.study(2), "-o", machine.out)
    killed = next(iter(machine.working()))
    os.kill(killed, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "was killed by SIGKILL; the others take over what it was running" in err
    assert out.count("4 experiments, 0 failed") == 1
    wait_for_nobody(machine.folder)
    check_whole(machine.path())


def test_where_all_are_killed_there_is_a_table_and_exit_code_1(machine: Machine) -> None:
    process = machine.begun("run", machine.study(2), "-o", machine.out)
    for pid in machine.working():
        os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1, err
    assert "it was the last" in err
    assert "stopped: no worker is left: the worker on GPU " in out
    wait_for_nobody(machine.folder)


def test_an_interruption_ends_all_workers_and_going_on_finishes(machine: Machine) -> None:
    process = machine.begun("run", machine.study(2), "-o", machine.out)
    workers = machine.working()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    wait_for_nobody(machine.folder)
    path = machine.path()
    assert not any(psutil.pid_exists(pid) for pid in workers)
    assert Holders(path / "claims").all() == {}
    assert all((attempt / "DONE").exists() for attempt in path.glob("runs/*/attempt-*"))
    assert all(f"llem: GPU {i}: ended by SIGTERM; " in err for i in (0, 1))
    code, out, err = machine.run("run", "--resume", path)
    assert code == 0, err
    assert "llem: 2 workers" in err
    assert out.count("4 experiments, 0 failed") == 1
    check_whole(path)


def test_workers_do_not_outlive_who_started_them(machine: Machine) -> None:
    process = machine.begun("run", machine.study(2), "-o", machine.out)
    machine.working()
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    wait_for_nobody(machine.folder)


def test_a_study_that_is_stopped_ends_all_workers(machine: Machine) -> None:
    study = machine.study(3)
    given = yaml.safe_load(study.read_text(encoding="utf-8"))
    given["execution"]["on_failure"] = "stop"
    given["experiments"][1]["toy"]["label"] = "fails"
    study.write_text(yaml.safe_dump(given), encoding="utf-8")
    engine = machine.folder / "engine" / "llem_toy.py"
    engine.write_text(
        engine.read_text(encoding="utf-8").replace(
            "time.sleep(0.5)", 'assert plan.config.section_of("toy").label != "fails", "no such weights"'
        ),
        encoding="utf-8",
    )
    code, out, _ = machine.run("run", study, "-o", machine.out)
    assert code == 1
    assert "stopped: an experiment failed, and execution.on_failure is stop" in out
    wait_for_nobody(machine.folder)
    assert Holders(machine.path() / "claims").all() == {}
    # Each has failed once at most; of six runs the rest was not begun, or is removed.
    assert len(list(machine.path().glob("runs/*/attempt-*/failure.json"))) in (1, 2)
    assert len(list(machine.path().glob("runs/*"))) < 6


def test_of_one_visible_gpu_llem_is_the_worker(machine: Machine) -> None:
    code, _, err = machine.run("run", machine.study(1, (None,)), "-o", machine.out, CUDA_VISIBLE_DEVICES="1")
    assert code == 0, err
    assert gpus_of_blocks(machine.path()) == {0: [(machine.scenario.uuid(1),)]}
    assert "workers, each on" not in err


def test_worker_starts_one_for_each_gpu_too(machine: Machine) -> None:
    process = machine.begun("run", machine.study(2, (None,)), "-o", machine.out, "--workers", "1")
    machine.working(1)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    wait_for_nobody(machine.folder)
    code, out, err = machine.run("worker", machine.path(), "--workers", "per_gpu", "-q")
    assert code == 0, err
    assert out == "2 finished and 0 failed here; of all 2 runs 2 have finished and 0 failed\n"
    check_whole(machine.path())


def test_what_is_for_two_gpus_is_refused_by_name(machine: Machine) -> None:
    code, _, err = machine.run("run", machine.study(1, (None, "both")), "-o", machine.out)
    said = " ".join(err.split())
    assert code == 2, err
    assert "execution.workers: per_gpu gives each worker one GPU" in said
    assert "experiment 2 of 2 (config 1): with one GPU it cannot be run: toy.label: it is for two GPUs" in said
    assert not machine.out.exists() or not list(machine.out.iterdir())


def test_workers_share_a_folder_or_there_are_none(machine: Machine) -> None:
    study = f"run_study({yaml.safe_load(machine.study(1).read_text(encoding='utf-8'))!r})"
    process = subprocess.run(
        [sys.executable, "-P", "-c", f"from llenergymeasure import run_study; {study}"], env=machine.env,
        cwd=machine.folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert "ConfigError: execution.workers: per_gpu takes a folder that the workers share; give output_dir" in (
        process.stderr
    )
