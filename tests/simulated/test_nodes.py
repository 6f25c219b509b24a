"""One experiment over two nodes: two real workers, each seeing one of two simulated GPUs of known power."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import nvmlsim
from llenergymeasure._machine_folder import FOLDER_VARIABLE
from nvmlsim import Gpu, Scenario, Trace
from tests.fakes.distributions import TOY
from tests.fakes.effort import PATIENCE_S
from tests.fakes.faulty import LLEM, environment, finished

# A toy that is on the first GPU that it sees.
ON_A_GPU = TOY.replace(
    '        yield ToyModel(plan.config.section_of("toy").n_tokens)',
    """        model = ToyModel(plan.config.section_of("toy").n_tokens)
        model.describe = lambda: ModelDescription(engine="toy", engine_version="1.0", devices=plan.devices)
        yield model

    def select_devices(self, config, visible):
        return tuple(visible)[:1]""",
)
POWERS_W = (60, 90)


class Nodes:
    """Two nodes with a GPU each, which share a folder."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.folder, self.out = folder, folder / "out"
        self.scenario = Scenario(gpus=tuple(Gpu(power_w=Trace.constant(watts)) for watts in POWERS_W))
        self.scenario.write(folder / "scenario.txt")
        own = environment(folder, ON_A_GPU, **{FOLDER_VARIABLE: str(folder / "shared")})
        self._env = {**own, **nvmlsim.environment(library, folder / "scenario.txt")}
        self._started: list[subprocess.Popen[str]] = []

    def study(self, **nodes: object) -> Path:
        """A study of one run of four seconds."""
        one = {
            "backend": "toy", "model": "any", "n": 64, "toy": {"n_tokens": 64}, "nodes": {"n": 2, **nodes},
            "energy": {"backend": "nvml"}, "baseline": {"duration_seconds": 1},
            "warmup": {"enabled": False, "thermal_floor_seconds": 30},
        }  # fmt: skip
        path = self.folder / "study.yaml"
        path.write_text(yaml.safe_dump({"experiments": [one], "execution": {"cycles": 1}}), encoding="utf-8")
        return path

    def begin(self, node: int, *args: object) -> "subprocess.Popen[str]":
        """``llem`` on a node, which sees its own GPU alone."""
        env = {**self._env, "CUDA_VISIBLE_DEVICES": self.scenario.uuid(node)}
        process = subprocess.Popen(
            [*LLEM, *map(str, args)], cwd=self.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip
        self._started.append(process)
        return process

    def planned(self) -> Path:
        """The folder of the study, once its plan is there."""
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            for plan in self.out.glob("*/plan.json"):
                return plan.parent
            time.sleep(0.05)
        raise AssertionError("no study is planned")

    def end(self) -> None:
        for process in self._started:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def nodes(library: Path, tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(library, tmp_path)
    yield made
    made.end()


def test_both_nodes_are_measured_in_one_window(nodes: Nodes) -> None:
    # The other one's command leaves its number and says who leads, and is ended afterwards.
    says = "sh -c 'echo {node} of {n} with {first} > attended; exec sleep 600'"
    first = nodes.begin(0, "run", nodes.study(command=says), "-o", nodes.out, "--cycles", "1")
    path = nodes.planned()
    second = nodes.begin(1, "worker", path)
    _, err = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0, err
    _, told = second.communicate(timeout=PATIENCE_S)
    assert second.returncode == 0, told
    assert "attending experiment 1 as node 1" in told
    (result,) = finished(path)
    uuids = [nodes.scenario.uuid(i) for i in (0, 1)]
    assert {row.device for row in result.energy_devices if row.kind == "gpu"} == set(uuids)
    assert result.model.devices == tuple(uuids)
    # 60 W and 90 W for as long as the window was; the bound has what the edges leave open.
    truth_j = sum(POWERS_W) * result.duration_sec
    assert result.total_energy_j is not None
    assert result.energy_uncertainty_j is not None
    assert abs(result.total_energy_j - truth_j) <= result.energy_uncertainty_j
    assert result.energy_uncertainty_j < 0.1 * truth_j
    # Requests are those of the node that leads, once.
    assert (result.n_requests, result.output_tokens) == (64, 64 * 64)
    assert [row.host for row in result.process_results] == [result.process_results[0].host] * 2
    assert result.idle_loaded_power_w == pytest.approx(sum(POWERS_W), rel=0.02)
    assert (nodes.folder / "attended").read_text().startswith("1 of 2 with ")
    verified = subprocess.run([*LLEM, "verify", str(path)], capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_node_that_never_comes_makes_no_result(nodes: Nodes) -> None:
    first = nodes.begin(0, "run", nodes.study(wait_s=2), "-o", nodes.out)
    _, err = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 1
    assert "node 1 of 2 did not come within 2 s (nodes.wait_s)" in err
    assert finished(nodes.planned()) == []


def test_a_command_that_ends_ends_the_run_with_its_reason(nodes: Nodes) -> None:
    fails = "sh -c 'echo no such cluster >&2; exit 3'"
    first = nodes.begin(0, "run", nodes.study(command=fails), "-o", nodes.out)
    nodes.begin(1, "worker", nodes.planned())
    _, err = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 1
    assert "node 1 of 2" in err
    assert "nodes.command (sh) ended with exit code 3: no such cluster" in err
    failures = [json.loads(file.read_text()) for file in nodes.out.rglob("failure.json")]
    assert ["gave up" in failure["message"] for failure in failures] == [True]
